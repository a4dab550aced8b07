//! Quantized networks as they are printed.

use super::*;

#[test]
fn a_network_of_convolutions_and_normalizations_prints_in_each_form() {
    let network = convbn(10).build(&Gpu::noop(), 1).unwrap();
    insta::assert_snapshot!("convbn_float", network);
    for (name, fold) in [
        ("convbn_without_fold", BnFold::Without),
        ("convbn_one_conv", BnFold::OneConv),
        ("convbn_two_conv", BnFold::TwoConv),
    ] {
        let simqat = changed(SimQat::default().fold(fold).quant_delay(900), |o| o.freeze_bn = 4000);
        insta::assert_snapshot!(name, simqat.apply(&network).unwrap());
    }
    let golden = SimQat::golden_stick();
    insta::assert_snapshot!("convbn_golden_stick", golden.apply(&network).unwrap());
    let learned = SimQat::default().bits(4, 4).observer(Observer::LearnedStep, Observer::LearnedStep);
    insta::assert_snapshot!("convbn_learned_step", learned.apply(&network).unwrap());
}
