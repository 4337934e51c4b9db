//! A dashboard as one page with all of its data inside, for where nothing can lie beside a page.

use std::path::{Path, PathBuf};

use super::page;
use crate::base::files::Files;
use crate::base::{Result, Task, json};
use crate::err;

/// Largest number of bytes of the data of such a page.
const LARGEST: usize = 8 << 20;

/// Script before the data, which are kept, since they cannot be loaded again.
const BEFORE: &str = "window.inside = Object.assign(new Map(), { delete: () => false });\n\
                      window.microtome = (kind, name, value) => inside.set(`${kind} ${name}`, value);\n";

/// Script behind the data: pages of circuits are files beside the page, which this one has not.
const BEHIND: &str = "inside.get(\"about \").circuits = [];\n";

/// Returns the page of the dashboard in a folder; None if its data are too large for one.
pub fn single_page(dir: &Path, files: &Files, task: &Task) -> Result<Option<String>> {
    let mark = files.bytes(&dir.join(super::write::MARK))?;
    let mark: serde_json::Value = json::read(&mark, |e| err!(Format, "this is no dashboard: {e}"))?;
    let data = mark["data"].as_str().ok_or_else(|| err!(Format, "this is no dashboard: it names no data"))?;
    let mut scripts = Vec::new();
    below(files, &dir.join(data), &mut scripts);
    scripts.sort();
    let mut all = String::from(BEFORE);
    for script in &scripts {
        task.check()?;
        all.push_str(&files.text(script)?);
        if all.len() > LARGEST {
            return Ok(None);
        }
    }
    Ok(Some(page::index_with(data, &format!("{all}{BEHIND}"))))
}

/// Finds the scripts in a folder and those below.
fn below(files: &Files, folder: &Path, found: &mut Vec<PathBuf>) {
    for name in files.names(folder) {
        match name.strip_suffix('/') {
            Some(inside) => below(files, &folder.join(inside), found),
            None if name.ends_with(".js") => found.push(folder.join(name)),
            None => {}
        }
    }
}
