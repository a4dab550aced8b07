use simqat::kernel::momentum::{Settings, update};
use simqat::optim::{Momentum, MomentumOptions};

use super::common::assert_close;
use super::{tensor, values, words};

#[test]
fn momentum_over_several_steps() {
    // The last size takes the variant that repeats its body, and ends in the middle of a workgroup: nothing
    // may be updated twice.
    for count in [1, 7, 64, 1000, 33_001] {
        let mut p = values(count, 1);
        let mut v = vec![0.0f32; count];
        let (parameter, velocity) = (tensor([count], &p), tensor([count], &v));
        for (i, decay) in [0.0, 1e-2, 1e-2].into_iter().enumerate() {
            let g = values(count, 10 + i as u64);
            let rate = 0.1 / (i + 1) as f32;
            let settings = Settings {
                rate: &tensor([1], &[rate]),
                progress: &words(&[0, 0, 0]),
                momentum: 0.9,
                weight_decay: decay,
            };
            update(&parameter, &velocity, &tensor([count], &g), &settings).unwrap();
            for ((p, v), g) in p.iter_mut().zip(&mut v).zip(&g) {
                *v = 0.9 * *v + (g + decay * *p);
                *p -= rate * *v;
            }
        }
        // A few units in the last place: the device may contract a product and a sum.
        assert_close(&format!("velocity of {count}"), &velocity.read_f32().unwrap(), &v, 1e-6, 1e-6);
        assert_close(&format!("parameter of {count}"), &parameter.read_f32().unwrap(), &p, 1e-6, 1e-6);
    }
}

#[test]
fn only_what_decays_is_pulled_to_zero() {
    let parameters = [tensor([2, 2], &[1.0; 4]), tensor([4], &[1.0; 4])];
    let options = MomentumOptions { learning_rate: 0.5, momentum: 0.0, weight_decay: 0.5 };
    let optimizer = Momentum::new(&parameters, options).unwrap().decaying(|p| p.shape().len() > 1);
    for (index, parameter) in parameters.iter().enumerate() {
        optimizer.update(index, &tensor(parameter.shape(), &[0.0; 4])).unwrap();
    }
    assert_eq!(parameters.map(|p| p.read_f32().unwrap()), [vec![0.75; 4], vec![1.0; 4]]);
}

#[test]
fn a_raised_flag_leaves_everything_as_it_is() {
    let (p, v) = (values(33, 1), values(33, 2));
    let (parameter, velocity) = (tensor([33], &p), tensor([33], &v));
    let settings = Settings {
        rate: &tensor([1], &[0.1]),
        progress: &words(&[0, 0, 1]),
        momentum: 0.9,
        weight_decay: 0.1,
    };
    update(&parameter, &velocity, &tensor([33], &[f32::NAN; 33]), &settings).unwrap();
    assert_eq!((parameter.read_f32().unwrap(), velocity.read_f32().unwrap()), (p, v));
    assert!(update(&parameter, &velocity, &tensor([32], &[0.0; 32]), &settings).is_err());
}
