use simqat::check::oracle::fake_quant::{Action, Grid, Range};
use simqat::gpu::KernelFamily;
use simqat::kernel::quantize::Observation::Train;
use simqat::kernel::quantize::{GridRule, RangeObserver, RangeState, quantize};
use simqat::tensor::{Shape, Tensor};

use super::common::{assert_bits, open};
use super::quantize::PLAIN;
use super::{family, values};

#[test]
fn observers() {
    family("observers");
}

/// On devices of their own: what other tests ask of a shared one would end up in the recording.
#[test]
fn replayed_steps_count_freeze_and_begin_to_round_on_the_device() {
    let rule = GridRule { observer: RangeObserver::MovingAverage, delay: 2, freeze: 3, ..PLAIN };
    for gpu in [KernelFamily::Auto, KernelFamily::Tiled].map(open) {
        let shape = Shape::from([2, 15]);
        // The values are the recording's; a range that follows them moves all the same, from -6 to 6 at first.
        let x = values(shape.count(), 2);
        let mut ranges = [Range { steps: 1, ..Range::START }; 2];
        let of = |v: f32| Tensor::from_f32(&gpu, [2], &[v; 2]).unwrap();
        let device = RangeState {
            min: of(ranges[0].min),
            max: of(ranges[0].max),
            steps: Tensor::from_u32(&gpu, [2], &[1; 2]).unwrap(),
        };
        let on_device = Tensor::from_f32(&gpu, &shape, &x).unwrap();
        let (recording, y) = gpu.record(|| Ok(quantize(&on_device, &device, &rule, Train)?.0)).unwrap();
        for step in 1..6 {
            recording.replay().unwrap();
            let host: Vec<Grid> =
                ranges.iter_mut().zip(x.chunks(15)).map(|(r, x)| r.observe(x, &rule)).collect();
            assert_eq!(host[0].action == Action::Passes, step < 2);
            let of = |f: fn(&Range) -> f32| ranges.iter().map(f).collect::<Vec<_>>();
            assert_bits("min", &device.min.read_f32().unwrap(), &of(|r| r.min));
            assert_bits("max", &device.max.read_f32().unwrap(), &of(|r| r.max));
            assert_eq!(device.steps.read_u32().unwrap(), [step + 1; 2]);
            let expected: Vec<f32> = x.iter().enumerate().map(|(i, &x)| host[i / 15].apply(x)).collect();
            assert_bits(&format!("step {step}"), &y.read_f32().unwrap(), &expected);
        }
    }
}
