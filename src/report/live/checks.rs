//! First questions to the items of a live report, with the answers of the program: a page asks them, too, and says by how much its
//! numbers are apart.

use serde::Serialize;
use serde_json::{Value, json};

use super::answers::LiveReport;
use super::part::LiveItem;
use crate::base::{Kind, Result, Task};

/// The text of an item that has none of its own.
const TEXT: &str = "The old house (which nobody wanted";

/// A question to an item, and the answer of the program, from the files that the page holds.
#[derive(Debug, Serialize)]
pub struct LiveCheck {
    question: Value,
    answer: Value,
}

/// Asks each item that answers in numbers. One that the model cannot answer is left out, as the page would refuse it, too.
pub fn of(report: &LiveReport, items: &[Option<LiveItem>], task: &Task) -> Result<Vec<LiveCheck>> {
    let mut checks = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let Some(question) = item.as_ref().and_then(|item| question(number, item)) else { continue };
        match report.answer(&question, task) {
            Err(error) if error.kind == Kind::Interrupted => return Err(error),
            answer => checks.extend(answer.ok().map(|answer| LiveCheck { question, answer })),
        }
    }
    Ok(checks)
}

/// Returns the first question to an item: of a circuit the first node that can be changed is ablated.
fn question(number: usize, item: &LiveItem) -> Option<Value> {
    match item {
        LiveItem::Circuit(circuit) => {
            let text = if circuit.text.is_empty() { TEXT } else { &circuit.text };
            let node = circuit.nodes.iter().position(|node| node.unit.is_some())?;
            Some(json!({ "item": number, "text": text, "changes": [{ "node": node, "factor": 0 }] }))
        }
        LiveItem::Heads => Some(json!({ "item": number, "text": TEXT, "head": [0, 0] })),
        LiveItem::Feature(_) => Some(json!({ "item": number, "text": TEXT })),
        // Its answer is drawn.
        LiveItem::Lenses(_) => None,
    }
}
