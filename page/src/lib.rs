//! The engine of a page, to be held by a worker of the page: a session of scripts, and what answers for live reports and exported
//! explorers. What happens on the way to an answer is told at once, as JSON, to the function that the page gives; `docs/live.md` has
//! the forms.

#![cfg(target_arch = "wasm32")]

mod explorer;
mod live;
#[cfg(feature = "scripts")]
mod patience;
#[cfg(feature = "scripts")]
mod session;

use std::panic;
use std::path::Path;

use microtome::base::disk;
use microtome::base::memory::CountingAllocator;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[wasm_bindgen]
extern "C" {
    /// Takes what is told, on the global object of the worker.
    #[wasm_bindgen(js_name = microtomeTells)]
    fn tells(json: &str);
}

/// Tells panics from the beginning on.
#[wasm_bindgen(start)]
pub fn start() {
    panic::set_hook(Box::new(|panic| tell(&json!({ "kind": "panic", "text": panic.to_string() }))));
}

fn tell(output: &Value) {
    tells(&output.to_string());
}

/// Puts a file into the page: one that belongs inside the program (`model.safetensors`, `config.json`, `tokenizer.json` and
/// `sample.bin` of the model `tiny`) by its name, any other by a path that scripts read.
#[wasm_bindgen]
pub fn put(path: &str, bytes: Vec<u8>) -> std::result::Result<(), JsError> {
    if path.contains('/') {
        let place = disk::absolute(Path::new(path))?;
        return Ok(disk::put(&place, bytes)?);
    }
    disk::put_inside(path, bytes);
    Ok(())
}

/// Returns the bytes of a file, such as one that a script has written.
#[wasm_bindgen]
pub fn file(path: &str) -> std::result::Result<Vec<u8>, JsError> {
    let place = disk::absolute(Path::new(path))?;
    Ok(disk::map(&disk::File::options().read(true).open(place)?)?.to_vec())
}
