//! `simqat check`

use super::{Place, assert_says};

#[test]
fn check_tells_by_family_and_as_json_what_came_of_it() {
    let place = Place::new();
    let run = place.run(&["check", "--family", "counters", "--json"]).succeeded();
    let json = run.json();
    assert_eq!((&json["passed"], json["adapters"].as_array().unwrap().len()), (&true.into(), 1));
    let adapter = &json["adapters"][0];
    let names =
        ["adapter", "features", "limits", "variants", "kernels", "seed", "families", "cases", "seconds"];
    for name in names {
        assert!(!adapter[name].is_null(), "{name} is missing in {json}");
    }
    assert!(!adapter["adapter"]["driver"].as_str().unwrap().is_empty());
    assert!(adapter["limits"]["max_storage_buffers_per_shader_stage"].as_u64().unwrap() >= 8);
    let family = &adapter["families"][0];
    assert_eq!((&family["family"], &family["failed"]), (&"counters".into(), &0.into()));
    let runs = family["runs"].as_u64().unwrap();
    assert!(runs > 0);
    let cases = adapter["cases"].as_array().unwrap();
    assert!(cases.len() as u64 == runs && cases.iter().all(|case| case["state"] == "passed"), "{json}");

    let text = place.run(&["check", "--family", "counters", "--quiet"]).succeeded().stdout;
    assert_says(&text, &["counters", "worst error", "driver:", "checks passed"]);
}

#[test]
fn check_goes_over_all_adapters() {
    let place = Place::new();
    let done = place.run(&["check", "--adapter", "all", "--family", "counters", "--json"]);
    let json = done.json();
    let listed = place.run(&["info", "--json"]).succeeded().json()["adapters"].as_array().unwrap().len();
    let adapters = json["adapters"].as_array().unwrap();
    assert_eq!(adapters.len(), listed);
    // One that is listed may give no device, as NVIDIA's OpenGL; the others are checked all the same.
    assert!(adapters.iter().any(|adapter| adapter["passed"] == true), "{json}");
    let all_passed = adapters.iter().all(|adapter| adapter["passed"] == true);
    assert_eq!((done.code, &json["passed"]), (Some(if all_passed { 0 } else { 1 }), &all_passed.into()));
    assert!(
        adapters.iter().all(|adapter| adapter["passed"] == true || adapter["error"].is_string()),
        "{json}"
    );
}

#[test]
fn check_refuses_families_and_adapters_that_are_not_there() {
    let place = Place::new();
    place.refused(2, &["check", "--family", "poetry"], &["\"poetry\"", "convolutions"]);
    place.refused(2, &["check", "--adapter", "Voodoo 2"], &["Voodoo 2"]);
}
