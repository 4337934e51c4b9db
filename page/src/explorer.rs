//! The explorer of an exported page: its questions, answered by what answers those of the server.

use std::path::Path;
use std::sync::Arc;

use microtome::base::files::Files;
use microtome::base::settings::Settings;
use microtome::base::{Result, Task, disk};
use microtome::explorer::answers::{Question, fields};
use microtome::explorer::{self, FOLDER, reply};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use super::tell;

/// The explorer of a page.
#[wasm_bindgen]
pub struct Explorer {
    core: explorer::Explorer,
}

#[wasm_bindgen]
impl Explorer {
    /// Makes the explorer of the files that the page was given.
    #[wasm_bindgen(constructor)]
    pub fn new() -> std::result::Result<Explorer, JsError> {
        let files = Files::unrecorded(&Settings::default().out)?;
        let core = explorer::Explorer::unpacked(Path::new(FOLDER), &files, &Task::default())?;
        // The largest files are in memory now.
        disk::remove_dir_all(Path::new(FOLDER).join("model"))?;
        Ok(Self { core })
    }

    /// Answers the question of a name: tells its lines, `{ kind: "line", line }`, and returns the last one. `start` asks for what
    /// the page begins with.
    pub fn answer(&self, name: &str, question: &str) -> String {
        reply::last(self.answered(name, question)).to_string()
    }

    fn answered(&self, name: &str, question: &str) -> Result<Value> {
        if name == "start" {
            return Ok(self.core.start());
        }
        let question = Question::parse(name, fields(question.as_bytes())?)?;
        let carrier: reply::Carrier = Arc::new(|line: &Value| tell(&json!({ "kind": "line", "line": line })));
        reply::answer(&self.core, question, &carrier, &Arc::default())
    }
}
