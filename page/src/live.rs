//! A live report: the questions of its items, answered from the files that the page was given.

use std::path::Path;

use microtome::base::files::Files;
use microtome::base::settings::Settings;
use microtome::base::{Result, Task, disk};
use microtome::err;
use microtome::report::live::{self, ROOT};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

/// The live report of a page.
#[wasm_bindgen]
pub struct LiveReport {
    core: live::LiveReport,
}

#[wasm_bindgen]
impl LiveReport {
    /// Loads the model and the dictionaries that the page was given.
    #[wasm_bindgen(constructor)]
    pub fn new() -> std::result::Result<LiveReport, JsError> {
        let files = Files::unrecorded(&Settings::default().out)?;
        let core = live::LiveReport::load(&files, Path::new(ROOT), &Task::default())?;
        // All that is in them is in memory now.
        disk::remove_dir_all(ROOT)?;
        Ok(Self { core })
    }

    /// Answers a question, `{ item, text, changes, head }`, in plain data; what is refused is `{ error: { message, hint } }`.
    pub fn answer(&self, question: &str) -> String {
        let refused = |e: microtome::base::Error| json!({ "error": { "message": e.message, "hint": e.hint } });
        self.answered(question).unwrap_or_else(refused).to_string()
    }

    fn answered(&self, question: &str) -> Result<Value> {
        let question: Value =
            serde_json::from_str(question).map_err(|e| err!(Format, "expected a question in JSON, found: {e}"))?;
        self.core.answer(&question, &Task::default())
    }
}
