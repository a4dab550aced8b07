use simqat::kernel::counter::freeze;

use super::{family, tensor};

#[test]
fn counters() {
    family("counters");
}

#[test]
fn what_is_no_counter_is_refused() {
    assert!(freeze(&tensor([1], &[0.0]), true).is_err());
}
