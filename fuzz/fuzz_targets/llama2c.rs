//! Any bytes as a checkpoint of llama2.c: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microtome::checkpoint::formats::llama2c::Checkpoint;
use microtome::model::layout::TensorSource;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Checkpoint::new(bytes) else { return };
    let _model = file.layout();
    for name in file.names() {
        let _tensor = file.tensor(&name);
    }
});
