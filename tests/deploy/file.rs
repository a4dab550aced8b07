//! The file: what is written comes back, and what was damaged is named.

use simqat::deploy::{Function, Int8Model, Op};

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

/// A file whose header says nothing but the format, and that checksum.
#[test]
fn a_checksum_of_another_length_is_refused() {
    for digits in ["", "0", "é", &"0".repeat(65)] {
        let mut header = format!(r#"{{"__metadata__":{{"sha256":"{digits}","format":"simqat-int8-1"}}}}"#);
        while header.len() % 8 != 0 {
            header.push(' ');
        }
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let message = refused(&bytes);
        assert!(message.contains("checksum"), "{message}");
    }
}

/// What `check` says of a network that is whole but for one thing.
fn unsound(change: impl FnOnce(&mut Int8Model)) -> String {
    let mut model = mixed(4);
    change(&mut model);
    model.check().unwrap_err().to_string()
}

#[test]
fn what_engines_would_not_see_is_refused() {
    let place = |model: &Int8Model, is: fn(&Op) -> bool| model.layers.iter().position(|l| is(&l.op)).unwrap();
    let message = unsound(|model| model.layers[3].name = "layer1".into());
    assert!(message.contains("\"layer1\"") && message.contains("rename"), "{message}");
    let message = unsound(|model| model.layers[0].shape = vec![3, 13, 11, 1]);
    assert!(message.contains("\"input\"") && message.contains("[3, 13, 11, 1]"), "{message}");
    let message = unsound(|model| model.layers[0].shape = vec![]);
    assert!(message.contains("\"input\"") && message.contains("[]"), "{message}");
    // An activation where nothing is added up, and codes that the layer says it has not.
    let message = unsound(|model| {
        let pool = place(model, |op| matches!(op, Op::MaxPool2d(_)));
        model.layers[pool].activation = Function::Relu;
    });
    assert!(message.contains("Relu") && message.contains("add up"), "{message}");
    let message = unsound(|model| {
        let table = place(model, |op| matches!(op, Op::Table(_)));
        let Op::Table(looked_up) = &mut model.layers[table].op else { panic!("a table") };
        looked_up.codes[7] = 100;
        model.layers[table].grid.high = 99;
        model.layers[table].grid.zero_point = 0;
    });
    assert!(message.contains("code 100") && message.contains("99"), "{message}");
    // Numbers whose products no count holds.
    let message = unsound(|model| model.layers[0].shape = vec![usize::MAX, 2, 0]);
    assert!(message.contains("too large"), "{message}");
    let message = unsound(|model| {
        let Op::Conv2d(conv) = &mut model.layers[1].op else { panic!("a convolution") };
        conv.dilation = [usize::MAX, 1];
    });
    assert!(message.contains("\"layer1\"") && message.contains("too large"), "{message}");
    let message = unsound(|model| {
        let Op::Conv2d(conv) = &mut model.layers[1].op else { panic!("a convolution") };
        conv.stride = [0, 1];
    });
    assert!(message.contains("stride [0, 1]"), "{message}");
    // Windows that could lie in the padding alone.
    let message = unsound(|model| {
        let pool = place(model, |op| matches!(op, Op::MaxPool2d(_)));
        let Op::MaxPool2d(window) = &mut model.layers[pool].op else { panic!("a pooling") };
        window.padding = [2, 0];
    });
    assert!(message.contains("padding alone"), "{message}");
    let message = unsound(|model| model.output = 99);
    assert!(message.contains("99"), "{message}");
    let message = unsound(|model| model.layers.clear());
    assert!(message.contains("0 layers"), "{message}");
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
