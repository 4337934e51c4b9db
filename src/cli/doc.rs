//! `microtome doc [NAME]`: the reference in the terminal, as a page, and as definition files.

use std::path::Path;

use super::Exit;
use super::args::{Doc, Options};
use super::setup::{self, Wants};
use crate::base::{Result, names};
use crate::err;
use crate::script::{Session, docs_text, reference};

pub fn run(options: &Options, doc: &Doc) -> Result<Exit> {
    // What the user names on the command line is theirs to write, unlike what a script names.
    let mut options = options.clone();
    options.allow_write.extend(doc.definitions.clone());
    options.allow_write.extend(doc.markdown.clone());
    let session = Session::new(setup::env(&options, Wants::default())?);
    if let Some(folder) = &doc.definitions {
        for (name, content) in reference::definitions(session.engine()) {
            save(&session, &folder.join(name), &content)?;
        }
        return Ok(Exit::Done);
    }
    if let Some(file) = &doc.markdown {
        save(&session, file, &reference::markdown(&session.docs(), &crate::repl::commands::summaries()))?;
        return Ok(Exit::Done);
    }
    let text = match &doc.name {
        None => docs_text::everything(&session.docs(), &setup::screen(&std::io::stdout())),
        Some(name) => explained(&session, name)?,
    };
    Ok(super::run::to_stdout(text.as_bytes()))
}

/// What is called `name`: entries, a module, or a type; the nearest name if there is none.
fn explained(session: &Session, name: &str) -> Result<String> {
    let docs = session.docs();
    let screen = setup::screen(&std::io::stdout());
    let entries = docs.lookup(name);
    if !entries.is_empty() {
        return Ok(entries.iter().map(|entry| docs_text::entry(entry, &screen)).collect::<Vec<_>>().join("\n"));
    }
    if docs.modules().contains(&name) {
        return Ok(docs_text::module(&docs, name, &screen));
    }
    let members = docs_text::of_type(&docs, name, &screen);
    if !members.is_empty() {
        return Ok(members);
    }
    let paths: Vec<String> = docs.entries().iter().flat_map(|e| [e.path(), e.name.clone()]).collect();
    let near = names::nearest(name, paths.iter().map(String::as_str));
    Err(err!(Name, "nothing is called `{name}`").maybe_hint(near.map(|near| format!("did you mean `{near}`?"))))
}

/// Relative to the current folder, not to the output folder.
fn save(session: &Session, path: &Path, content: &str) -> Result<()> {
    let here = std::path::absolute(path).map_err(|e| crate::base::Error::io("write", path, &e))?;
    session.env().files.save(&here, |file| {
        file.write_all(content.as_bytes()).map_err(|e| err!(File, "cannot write {}: {e}", path.display()))
    })?;
    Ok(())
}
