//! Any bytes as a `.pt` file: it is read or refused, and nothing is called.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microtome::checkpoint::formats::lens;
use microtome::checkpoint::formats::pickle::PickleFile;
use microtome::model::layout::TensorSource;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = PickleFile::new(bytes) else { return };
    for name in file.names() {
        let _tensor = file.tensor(&name);
    }
    if let Ok(weights) = file.weights() {
        let _model = lens::layout(&weights, &serde_json::Map::new());
    }
});
