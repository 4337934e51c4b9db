//! Progress in a notebook: one output of the cell, which is updated in place while it works.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::cell::Cell;
use crate::base::locked;
use crate::repl::stages::{ShownStage, StageDisplay};
use crate::report::html::escape;

/// The stages of the cell that runs, in an output of its own.
pub struct CellStages {
    cell: Arc<Cell>,
    /// The name of the output, once there is one.
    output: Mutex<Option<String>>,
}

impl CellStages {
    pub fn new(cell: Arc<Cell>) -> Self {
        Self { cell, output: Mutex::default() }
    }

    fn output(&self) -> MutexGuard<'_, Option<String>> {
        locked(&self.output)
    }

    /// Leaves the output to the cell before.
    pub fn begin_cell(&self) {
        *self.output() = None;
    }
}

impl StageDisplay for CellStages {
    fn show(&self, stages: &[ShownStage]) {
        let lines: Vec<&str> = stages.iter().map(|stage| stage.line.as_str()).collect();
        let html: String = stages.iter().map(html).collect();
        let data = json!({ "text/plain": lines.join("\n"), "text/html": html });
        let mut output = self.output();
        let kind = if output.is_some() { "update_display_data" } else { "display_data" };
        let name = output.get_or_insert_with(|| self.cell.display()).clone();
        let content: Value = json!({ "data": data, "metadata": {}, "transient": { "display_id": name } });
        self.cell.publish(kind, &content);
    }

    fn say(&self, line: &str) {
        self.cell.remark(line);
    }
}

fn html(stage: &ShownStage) -> String {
    let bar = match (stage.has_ended, stage.total) {
        (true, _) => String::new(),
        (false, Some(total)) => format!("<progress value=\"{}\" max=\"{}\"></progress> ", stage.done, total.max(1)),
        (false, None) => "<progress></progress> ".into(),
    };
    format!("<div>{bar}{}</div>", escape::text(&stage.line))
}
