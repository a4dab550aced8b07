//! A recipe, whole and as an assignment over the defaults. What is written of it is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use simqat::train::Recipe;

fuzz_target!(|text: &str| {
    let _ = Recipe::parse_with("", &[text.to_string()]);
    if let Ok(recipe) = Recipe::parse(text)
        && let Ok(written) = recipe.to_toml()
    {
        let again = Recipe::parse(&written).expect("what was written is a recipe");
        assert_eq!(again.to_toml().unwrap(), written);
    }
});
