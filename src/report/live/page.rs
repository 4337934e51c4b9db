//! One page that holds a live report: what was printed, engine, model and dictionaries, and the script that asks.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::files::LiveFile;
use super::plan::LivePlan;
use crate::base::{Result, Task};
use crate::err;
use crate::report::html::escape;
use crate::report::html::page::{self as frame, LivePage};
use crate::report::items::{Item, made};
use crate::report::page_engine::{GLUE, PageEngine, element};

/// The script of the items, and their look.
const SCRIPT: &str = include_str!("live.js");
const STYLE: &str = include_str!("live.css");

/// Maximum number of bytes of a page beside what is printed: those of the engine, and 1.4 for each byte of weights, of which
/// base64 takes a third.
const MOST_OF_ENGINE: usize = 12_000_000;
const MOST_PER_BYTE: f64 = 1.4;

/// Writes the page of a report whose items answer. Refuses one that is too large.
pub fn page(
    name: &str,
    items: &[Rc<dyn Item>],
    plan: &LivePlan,
    files: &[LiveFile],
    engine: &PageEngine,
    task: &Task,
) -> Result<String> {
    let parts = engine.elements();
    let mut ids = Map::new();
    let mut weights = String::new();
    for (number, file) in files.iter().enumerate() {
        let id = format!("live-{number}");
        weights.push_str(&element(&id, &file.packed));
        ids.insert(file.path.clone(), id.into());
    }
    check_size(parts.len(), weights.len(), files.iter().map(|file| file.size).sum())?;
    let mut content = format!("<h1>{}</h1>\n", escape::text(name));
    for (number, item) in items.iter().enumerate() {
        task.check()?;
        let printed = made(item.as_ref(), task, |item| item.html())?;
        let answers = plan.items.get(number).is_some_and(Option::is_some);
        if !answers {
            content.push_str(&printed);
            continue;
        }
        content.push_str(&format!("<section class=\"live\" data-item=\"{number}\">\n"));
        content.push_str(&format!("<div class=\"printed\">\n{printed}</div>\n</section>\n"));
    }
    let files = format!("<script type=\"application/json\" id=\"live-files\">{}</script>\n", Value::Object(ids));
    let live = LivePage { style: STYLE, parts: &(files + parts.as_str() + weights.as_str()), scripts: &[GLUE, SCRIPT] };
    Ok(frame::live(name, &content, &live))
}

/// Refuses an engine and weights that take more of a page than they may.
fn check_size(engine: usize, weights: usize, unpacked: usize) -> Result<()> {
    let most = MOST_OF_ENGINE + (MOST_PER_BYTE * unpacked as f64) as usize;
    if engine + weights <= most {
        return Ok(());
    }
    let [most, found, engine] =
        [most, engine + weights, engine].map(|bytes| format!("{:.1} MB", bytes as f64 / 1_000_000.0));
    Err(err!(Argument, "expected an engine and weights of at most {most} in the page, found {found}")
        .hint(format!("the engine takes {engine} of it: `page/build` makes one for size")))
}
