use simqat::kernel::gradient::{accumulate, partial_sums, square_sums};
use simqat::kernel::momentum::{Settings, update};
use simqat::optim::GradientClip;

use super::{family, tensor, words};

#[test]
fn optimizer() {
    family("optimizer");
}

#[test]
fn gradients_of_another_shape_are_refused() {
    let (parameter, velocity) = (tensor([33], &[0.0; 33]), tensor([33], &[0.0; 33]));
    let settings = Settings {
        rate: &tensor([1], &[0.1]),
        progress: &words(&[0, 0, 0]),
        factor: None,
        momentum: 0.9,
        weight_decay: 0.1,
        place: 0,
    };
    assert!(update(&parameter, &velocity, &tensor([32], &[0.0; 32]), &settings).is_err());
    assert!(accumulate(&tensor([3], &[0.0; 3]), &tensor([4], &[0.0; 4]), &words(&[0; 4])).is_err());
}

#[test]
fn clipping_that_makes_no_sense_is_refused() {
    let parameter = tensor([5], &[0.0; 5]);
    for limit in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = GradientClip::new(std::slice::from_ref(&parameter), limit).err().unwrap().to_string();
        assert!(error.contains(&format!("optimizer.clip_norm = {limit}")), "{error}");
    }
    assert!(GradientClip::new(&[], 1.0).is_err());
    let partials = tensor([partial_sums(5)], &[0.0]);
    assert!(square_sums(&parameter, &partials, 1).is_err(), "there is no second place");
}
