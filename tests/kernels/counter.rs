use simqat::kernel::counter::{FROZEN, NEVER, freeze};

use super::{tensor, words};

#[test]
fn freezing_marks_and_unmarks_and_keeps_the_counts() {
    let counts = [0, 1, 900, NEVER];
    // More than a workgroup, and no multiple of one.
    let many: Vec<u32> = (0..131).map(|i| counts[i % 4]).collect();
    let counters = words(&many);
    let marked: Vec<u32> = many.iter().map(|c| c | FROZEN).collect();
    for (frozen, expected) in [(true, &marked), (true, &marked), (false, &many), (false, &many)] {
        freeze(&counters, frozen).unwrap();
        assert_eq!(&counters.read_u32().unwrap(), expected);
    }
    assert!(freeze(&tensor([1], &[0.0]), true).is_err());
}
