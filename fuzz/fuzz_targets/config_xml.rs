//! Configuration files.
#![no_main]

use hadron_env::config::Configuration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Files that others include are not ours to open here.
    if text.contains("include") {
        return;
    }
    let mut configuration = Configuration::new();
    if configuration.add_xml(text, "fuzz").is_ok() {
        let names: Vec<String> = configuration.iter().map(|(name, ..)| name.to_owned()).collect();
        for name in names {
            let _ = configuration.text(&name);
        }
    }
});
