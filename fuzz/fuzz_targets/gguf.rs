//! Any bytes as a GGUF file: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microtome::checkpoint::formats::gguf::GgufFile;
use microtome::model::layout::TensorSource;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = GgufFile::new(bytes) else { return };
    let _model = file.layout();
    for name in file.names() {
        let _tensor = file.tensor(&name);
    }
});
