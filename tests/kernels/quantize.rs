use simqat::kernel::counter::NEVER;
use simqat::kernel::quantize::Observation::Train;
use simqat::kernel::quantize::{GridRule, RangeObserver, RangeState, fake_quant, lay_grid, straight_through};

use super::{family, tensor, words};

/// The plainest of rules, and a fresh state for it.
pub const PLAIN: GridRule = GridRule {
    bits: 8,
    symmetric: false,
    narrow_range: false,
    observer: RangeObserver::LastBatch,
    delay: 0,
    freeze: NEVER,
};

fn state(channels: usize) -> RangeState {
    let of = |value: f32| tensor([channels], &vec![value; channels]);
    RangeState { min: of(-6.0), max: of(6.0), steps: words(&vec![0; channels]) }
}

#[test]
fn quantizers() {
    family("quantizers");
}

#[test]
fn states_and_grids_that_do_not_fit_are_refused() {
    let x = tensor([4, 2], &[0.0; 8]);
    assert!(lay_grid(&x, &state(3), &PLAIN, Train).is_err());
    assert!(lay_grid(&tensor([0], &[]), &state(1), &PLAIN, Train).is_err());
    let grids = lay_grid(&x, &state(4), &PLAIN, Train).unwrap();
    let other = tensor([3, 2], &[0.0; 6]);
    assert!(fake_quant(&other, &grids).is_err());
    assert!(straight_through(&other, &other, &grids).is_err());
    assert!(fake_quant(&x, &tensor([4], &[0.0; 4])).is_err());
    assert!(fake_quant(&words(&[0; 4]), &grids).is_err());
}
