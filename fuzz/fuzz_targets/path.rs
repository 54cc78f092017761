//! Paths as clients send them.
#![no_main]

use hadron_types::FsPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(path) = FsPath::parse(text) {
        assert_eq!(
            FsPath::parse(path.as_str()),
            Ok(path.clone()),
            "a normal path stays as it is"
        );
        assert!(
            path.components()
                .all(|name| !name.is_empty() && name != "." && name != "..")
        );
        if let (Some(parent), Some(name)) = (path.parent(), path.name()) {
            assert!(path.is_at_or_below(&parent));
            assert_eq!(parent.join(name), path);
        }
    }
});
