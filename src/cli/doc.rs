//! `microtome doc [NAME]`: the reference in the terminal, as a page, and as definition files.

use std::path::Path;

use super::Exit;
use super::args::{Doc, Options};
use super::setup::{self, Wants};
use crate::base::{Result, names};
use crate::err;
use crate::script::{Session, reference};

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
        save(&session, file, &reference::markdown(&session.docs(), &[]))?;
        return Ok(Exit::Done);
    }
    let docs = session.docs();
    let Some(name) = &doc.name else {
        return Ok(super::run::to_stdout(overview(&session).as_bytes()));
    };
    let entries = docs.lookup(name);
    if entries.is_empty() {
        let paths: Vec<String> = docs.entries().iter().flat_map(|e| [e.path(), e.name.clone()]).collect();
        return Err(err!(Name, "nothing is called `{name}`").maybe_hint(
            names::nearest(name, paths.iter().map(String::as_str)).map(|n| format!("did you mean `{n}`?")),
        ));
    }
    Ok(Exit::Done)
}

/// Relative to the current folder, not to the output folder.
fn save(session: &Session, path: &Path, content: &str) -> Result<()> {
    let here = std::path::absolute(path).map_err(|e| crate::base::Error::io("write", path, &e))?;
    session.env().files.save(&here, |file| {
        file.write_all(content.as_bytes()).map_err(|e| err!(File, "cannot write {}: {e}", path.display()))
    })?;
    Ok(())
}

fn overview(session: &Session) -> String {
    let docs = session.docs();
    let mut text = String::new();
    for entry in docs.own() {
        text.push_str(&format!("{:<36} {}\n", entry.path(), entry.doc.summary));
    }
    text
}
