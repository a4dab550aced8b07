use super::family;

#[test]
fn random_numbers() {
    family("random numbers");
}
