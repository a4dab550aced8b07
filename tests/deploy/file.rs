//! The file: what is written comes back, and what was damaged is named.

use simqat::deploy::{Int8Model, Op};

use super::models::{lenet5, mixed};

fn refused(bytes: &[u8]) -> String {
    Int8Model::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn what_was_written_comes_back() {
    for mut model in [lenet5(1), mixed(2)] {
        model.metadata.insert("recipe".into(), "name = \"x\"\n".into());
        let bytes = model.to_bytes().unwrap();
        assert_eq!(Int8Model::from_bytes(&bytes).unwrap(), model);
        // Nothing depends on the order of a hash map.
        assert!(model.to_bytes().unwrap() == bytes);
    }
}

#[test]
fn lenet5_takes_less_than_70_kb() {
    assert!(lenet5(1).to_bytes().unwrap().len() < 70_000);
}

#[test]
fn every_flipped_bit_and_every_missing_byte_is_found() {
    let bytes = mixed(3).to_bytes().unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        let message = refused(&damaged);
        assert!(!message.is_empty());
    }
    for length in (0..bytes.len()).step_by(101) {
        let message = refused(&bytes[..length]);
        assert!(message.contains("truncated"), "{length}: {message}");
    }
    // Among the weights, nothing but the checksum can tell.
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(refused(&damaged).contains("checksum"));
}

#[test]
fn a_newer_version_says_what_to_do() {
    let bytes = lenet5(1).to_bytes().unwrap();
    let mut newer = bytes.clone();
    let place = bytes.windows(13).position(|w| w == b"simqat-int8-1").unwrap();
    newer[place + 12] = b'2';
    let message = refused(&newer);
    assert!(message.contains("simqat-int8-2") && message.contains("newer simqat"), "{message}");
}

#[test]
fn scales_that_are_no_distances_name_layer_and_value() {
    for scale in [0.0, -0.5, f32::NAN, f32::INFINITY] {
        let mut model = lenet5(1);
        model.layers[3].grid.scale = scale;
        let message = model.to_bytes().unwrap_err().to_string();
        assert!(message.contains("\"layer3\"") && message.contains(&scale.to_string()), "{message}");

        let mut model = lenet5(1);
        let Op::Dense(linear) = &mut model.layers[6].op else { panic!("a dense layer") };
        linear.scale[2] = scale;
        let message = model.to_bytes().unwrap_err().to_string();
        assert!(message.contains("\"layer6\"") && message.contains(&scale.to_string()), "{message}");
    }
}

#[test]
fn shapes_that_do_not_follow_are_refused() {
    let mut model = lenet5(1);
    model.layers[1].shape = vec![6, 27, 28];
    assert!(model.check().unwrap_err().to_string().contains("[6, 28, 28]"));
    let mut model = lenet5(1);
    model.layers[2].inputs = vec![5];
    assert!(model.check().unwrap_err().to_string().contains("layer2"));
}
