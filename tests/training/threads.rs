//! Several trainings on one device, each in a thread of its own.

use simqat::train::{RunMode, TrainerOptions};

use super::{assert_same_bits, bits, device, options, steps, trainer};

#[test]
fn trainings_beside_each_other_give_the_bits_that_each_gives_alone() {
    let gpu = device();
    let run = |seed: u64, delay, mode| {
        let mut trainer = trainer(&gpu, delay, TrainerOptions { seed, mode, ..options() });
        steps(&mut trainer, 40);
        bits(&trainer)
    };
    let kinds = [(1, Some(10), RunMode::Graph), (2, None, RunMode::Graph), (3, Some(5), RunMode::Eager)];
    let alone = kinds.map(|(seed, delay, mode)| run(seed, delay, mode));
    // More than once, since recordings meet other work wherever the threads happen to be.
    for round in 0..3 {
        let together = std::thread::scope(|scope| {
            let threads = kinds.map(|(seed, delay, mode)| {
                let run = &run;
                scope.spawn(move || run(seed, delay, mode))
            });
            threads.map(|thread| thread.join().unwrap())
        });
        for ((kind, alone), together) in kinds.iter().zip(&alone).zip(&together) {
            assert_same_bits(&format!("{kind:?}, round {round}"), alone, together);
        }
    }
}
