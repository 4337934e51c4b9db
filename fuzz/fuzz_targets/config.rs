//! Any JSON as the config of a model: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microtome::checkpoint::family;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = serde_json::from_slice(bytes) else { return };
    if let Ok(layout) = family::read(&config, &[]) {
        let _fits = layout.config.parameters();
    }
});
