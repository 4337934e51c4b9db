//! Any bytes as a GGUF file: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microtome::model::formats::gguf::File;
use microtome::model::layout::Source;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = File::new(bytes) else { return };
    let _model = file.layout();
    for name in file.names() {
        let _tensor = file.tensor(&name);
    }
});
