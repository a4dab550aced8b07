//! Files of trainings: what is kept, what is refused, what is never lost.

use std::path::Path;

use simqat::Result;
use simqat::gpu::Gpu;
use simqat::nn::{Dense, Network};
use simqat::train::checkpoint::{Checkpoint, save_network, save_training};
use simqat::train::{Callback, Evaluation, ModelCheckpoint, StopFlag, Trainer, TrainerOptions, evaluate};

use super::watching::Watch;
use super::{
    assert_same_bits, bits, device, digits, few_digits, listed, mnist_feed, network, options, steps, told,
    trainer,
};

#[test]
fn the_newest_few_checkpoints_are_kept() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let mut trainer = trainer(&gpu, Some(5), TrainerOptions { epochs: 2, ..options() });
    let metadata = vec![("recipe".to_string(), "mine".to_string())];
    let mut checkpoints =
        ModelCheckpoint::new(folder.path().join("deep/er"), "lenet5", 8, 3, metadata).unwrap();
    trainer.fit(&test, &mut [&mut checkpoints], &StopFlag::default()).unwrap();
    let folder = folder.path().join("deep/er");
    // 8, 16, ..., 56 and the end at 60.
    let kept = ["lenet5-48.safetensors", "lenet5-56.safetensors", "lenet5-60.safetensors"];
    assert_eq!(listed(&folder), kept);
    assert_eq!(checkpoints.newest().unwrap(), folder.join(kept[2]));
    let last = Checkpoint::read(checkpoints.newest().unwrap()).unwrap();
    assert_eq!((last.step(), last.metadata("recipe"), last.is_quantized()), (Some(60), Some("mine"), true));
}

/// What an evaluation would have found.
fn right(correct: usize) -> Evaluation {
    Evaluation { correct, in_top5: None, images: 100, loss: 1.0 }
}

#[test]
fn the_best_checkpoint_stays() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x-best.safetensors");
    let mut trainer = trainer(&gpu, None, options());
    let new = || ModelCheckpoint::new(folder.path(), "x", 1, 1, vec![]).unwrap().keeping_best(true);
    let best = || Checkpoint::read(&file).unwrap();
    let mut checkpoints = new();
    for (correct, step) in [(50, 1), (40, 1), (50, 1), (60, 4), (55, 4)] {
        steps(&mut trainer, 1);
        checkpoints.after_step(&trainer).unwrap();
        checkpoints.keep_if_best(&trainer, &right(correct)).unwrap();
        assert_eq!(best().step(), Some(step), "{correct}");
    }
    assert_eq!(listed(folder.path()), ["x-5.safetensors", "x-best.safetensors"]);
    assert_eq!(best().metadata("top1"), Some("0.6"));

    // A training that goes on behind it knows it.
    let mut later = new().going_on_from(5).unwrap();
    later.keep_if_best(&trainer, &right(60)).unwrap();
    assert_eq!(best().step(), Some(4));
    later.keep_if_best(&trainer, &right(61)).unwrap();
    assert_eq!(best().step(), Some(5));
    // One that goes on before it will find its own, and so will one that begins.
    for step in [4, 0] {
        let mut earlier = new().going_on_from(step).unwrap();
        earlier.keep_if_best(&trainer, &right(10)).unwrap();
        assert_eq!(best().metadata("top1"), Some("0.1"));
        earlier.keep_if_best(&trainer, &right(61)).unwrap();
    }
    // Nobody asked for it here.
    std::fs::remove_file(&file).unwrap();
    let mut plain = ModelCheckpoint::new(folder.path(), "x", 1, 1, vec![]).unwrap();
    plain.keep_if_best(&trainer, &right(99)).unwrap();
    assert!(!file.exists());
}

#[test]
fn a_training_keeps_its_best_epoch() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let test = mnist_feed(&gpu, &digits().test.first(200), 200);
    let mut trainer = trainer(&gpu, None, TrainerOptions { epochs: 3, ..options() });
    let mut checkpoints =
        ModelCheckpoint::new(folder.path(), "x", 1000, 1, vec![]).unwrap().keeping_best(true);
    let mut watch = Watch::default();
    trainer.fit(&test, &mut [&mut checkpoints, &mut watch], &StopFlag::default()).unwrap();
    let tested: Vec<f64> = watch.epochs.iter().map(|epoch| epoch.evaluation.unwrap().top1()).collect();
    let highest = tested.iter().copied().fold(0.0, f64::max);
    let first = tested.iter().position(|&top1| top1 == highest).unwrap();
    let best = Checkpoint::read(checkpoints.best_path()).unwrap();
    assert_eq!(best.step(), Some(30 * (first + 1)));
    let again = network(&gpu, None);
    best.load_into(&again).unwrap();
    assert_eq!(evaluate(&again, &test).unwrap().top1(), highest);
}

/// A checkpoint of a float training after 3 steps.
pub fn saved(gpu: &Gpu, folder: &Path, delay: Option<u32>) -> std::path::PathBuf {
    let file = folder.join(format!("{delay:?}.safetensors"));
    let mut trainer = trainer(gpu, delay, options());
    steps(&mut trainer, 3);
    save_training(&trainer, &file, &[]).unwrap();
    file
}

#[test]
fn damaged_files_are_refused_by_name() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(saved(&gpu, folder.path(), None)).unwrap();
    let file = folder.path().join("damaged");
    let refused = |content: &[u8], parts: &[&str]| {
        std::fs::write(&file, content).unwrap();
        let error = Checkpoint::read(&file).err().unwrap();
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)) && text.contains("damaged"), "{text}");
    };
    for length in [0, 5, 8, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length], &["truncated"]);
    }
    refused(b"no checkpoint at all, but text of some length", &[]);
    let broken = |bits: u32| {
        let mut bytes = whole.clone();
        let end = bytes.len() - 4;
        bytes[end..].copy_from_slice(&bits.to_le_bytes());
        bytes
    };
    refused(&broken(0x7fc0_0000), &["NaN", "earlier"]);
    refused(&broken(0xff80_0000), &["infinity", "earlier"]);
    let foreign = safetensors_of_another_program();
    refused(&foreign, &["not a checkpoint of this program"]);
    let missing = Checkpoint::read(folder.path().join("nowhere")).err().unwrap();
    assert!(missing.is_bad_input() && missing.to_string().contains("nowhere"));
}

/// An empty file of the format.
fn safetensors_of_another_program() -> Vec<u8> {
    let mut bytes = 8u64.to_le_bytes().to_vec();
    bytes.extend(b"{}      ");
    bytes
}

#[test]
fn checkpoints_that_do_not_fit_change_nothing() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let float = Checkpoint::read(saved(&gpu, folder.path(), None)).unwrap();
    let quantized = Checkpoint::read(saved(&gpu, folder.path(), Some(0))).unwrap();
    let alone_file = folder.path().join("alone");
    let small = |width| {
        Network::builder("Small", [1, 32, 32])
            .max_pool2d("pool", 4)
            .flatten("flatten")
            .dense("fc1", Dense::new(64, width))
            .dense("fc3", Dense::new(width, 10))
            .build(&gpu, 1)
            .unwrap()
    };
    save_network(&small(7), &alone_file).unwrap();
    let other = Checkpoint::read(&alone_file).unwrap();
    let more = network(&gpu, None);
    let more_file = folder.path().join("more");
    save_network(&more, &more_file).unwrap();

    let unchanged = |trainer: &mut Trainer, act: &dyn Fn(&mut Trainer) -> Result<()>, parts: &[&str]| {
        let before = bits(trainer);
        let error = act(trainer).unwrap_err();
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)) && error.is_bad_input(), "{parts:?}: {text}");
        assert_same_bits(&text, &bits(trainer), &before);
    };
    let mut float_training = trainer(&gpu, None, options());
    let mut quantized_training = trainer(&gpu, Some(0), options());
    // Another network: a layer is missing, has another shape, or is too many.
    unchanged(&mut float_training, &|t| other.load_into(t.network()), &["another network", "conv1.weight"]);
    let mut narrow = Trainer::new(small(8), few_digits(&gpu), options()).unwrap();
    unchanged(&mut narrow, &|t| other.load_into(t.network()), &["another network", "fc1", "[7, 64]"]);
    unchanged(&mut narrow, &|t| float.load_into(t.network()), &["another network", "fc1"]);
    // A network alone is no training.
    unchanged(&mut float_training, &|t| Checkpoint::read(&more_file)?.resume(t), &["network alone"]);
    // Values go from quantized to float and back; trainings do not.
    quantized.load_into(float_training.network()).unwrap();
    float.load_into(quantized_training.network()).unwrap();
    unchanged(&mut float_training, &|t| quantized.resume(t), &["another training", "_quantizer"]);
    unchanged(&mut quantized_training, &|t| float.resume(t), &["_quantizer"]);
    // Another seed would go on with another order.
    let mut seeded = trainer(&gpu, None, TrainerOptions { seed: 2, ..options() });
    unchanged(&mut seeded, &|t| float.resume(t), &["seed 1", "2"]);
}

#[test]
fn values_that_are_no_numbers_are_not_saved_over_good_ones() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let file = saved(&gpu, folder.path(), None);
    let before = std::fs::read(&file).unwrap();
    let broken = network(&gpu, None);
    let bias = &broken.parameter("fc2.bias").unwrap().tensor;
    bias.write_f32(&vec![f32::NAN; bias.count()]).unwrap();
    let error = told(save_network(&broken, &file));
    assert!(error.contains("fc2.bias"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(listed(folder.path()).len(), 1, "nothing is left beside it");
}

#[cfg(unix)]
#[test]
fn checkpoints_may_be_read_by_whom_other_files_may() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let [ours, other] = ["ours", "other"].map(|name| folder.path().join(name));
    save_network(&network(&Gpu::noop(), None), &ours).unwrap();
    std::fs::write(&other, "").unwrap();
    let [ours, other] = [ours, other].map(|file| std::fs::metadata(file).unwrap().permissions().mode());
    assert_eq!(ours, other);
}

/// A disk that is full: this test starts itself again in a process that may write no more than a few blocks.
#[cfg(unix)]
#[test]
fn a_write_that_fails_leaves_the_old_file() {
    /// Set for a process whose files may not grow.
    const LIMITED: &str = "SIMQAT_TEST_LIMITED";
    if let Some(file) = std::env::var_os(LIMITED) {
        // A software driver keeps its memory in files too, so this process has a device of nothing.
        let error = save_network(&network(&Gpu::noop(), None), &file).unwrap_err();
        assert!(matches!(error, simqat::Error::Io { .. }) && error.is_bad_input(), "{error}");
        return;
    }
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let file = saved(&gpu, folder.path(), None);
    let before = std::fs::read(&file).unwrap();
    // Ignored, the signal of the limit becomes an error of the write.
    let script =
        "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact checkpoint::a_write_that_fails_leaves_the_old_file";
    // Its words come through a pipe: a file that they went to would be limited too.
    let child = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, &file)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(listed(folder.path()).len(), 1, "nothing is left beside it");
}
