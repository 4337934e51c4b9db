//! `microtome doc [WORDS]`: the reference and the guide in the terminal, as pages, as a site, and as definition files.

use std::path::Component;

use super::prelude::*;
use crate::report::page_engine::PageEngine;
use crate::script::docs::reference;
use crate::script::docs::site;
use crate::script::docs::text;

#[derive(Args)]
pub struct DocArguments {
    /// A name or a page, or words to search for; the whole reference if left out.
    pub words: Vec<String>,

    /// Write the whole reference as Markdown pages.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["words", "definitions", "html"])]
    pub markdown: Option<PathBuf>,

    /// Write a site: the pages of this folder, or else the guide; and the reference, of a library where there is a
    /// microtome.toml.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["words", "definitions"])]
    pub html: Option<PathBuf>,

    /// Let readers run the examples of the site in their browser (docs/live.md).
    #[arg(long, requires = "html")]
    pub live: bool,

    /// Write definition files for Rhai's language server.
    #[arg(long, value_name = "DIR", conflicts_with = "words")]
    pub definitions: Option<PathBuf>,
}

pub fn run(options: &CommonArguments, doc: &DocArguments) -> Result<Exit> {
    // What the user names on the command line is theirs to write, unlike what a script names.
    let mut options = options.clone();
    options.allow_write.extend(doc.definitions.clone());
    options.allow_write.extend(doc.markdown.clone());
    options.allow_write.extend(doc.html.clone());
    let session = Session::new(setup::env(&options, SessionNeeds::default())?);
    if let Some(folder) = &doc.definitions {
        for (name, content) in reference::definitions(session.engine()) {
            save(&session, &folder.join(name), &content)?;
        }
        return Ok(Exit::Done);
    }
    if let Some(folder) = &doc.markdown {
        for (name, content) in reference::markdown(&session.docs(), &crate::repl::commands::summaries()) {
            save(&session, &folder.join(name), &content)?;
        }
        return Ok(Exit::Done);
    }
    if let Some(folder) = &doc.html {
        let commands = crate::repl::commands::summaries();
        let page_engine = if doc.live { Some(PageEngine::find()?) } else { None };
        let files = &session.env().files;
        let site = site::of(Path::new("."), session.engine(), &session.docs(), files, &commands, page_engine.as_ref())?;
        publish(&session, folder, &site.files)?;
        return Ok(super::run::to_stdout(&format!(
            "{} pages, from {}\n",
            site.pages,
            folder.join("index.html").display()
        )));
    }
    let screen = setup::screen(&std::io::stdout());
    let words = doc.words.join(" ");
    let text = match crate::repl::commands::about(&words) {
        _ if words.is_empty() => text::everything(&session.docs(), &screen),
        Some(command) => command,
        None => text::answer(&session.docs(), &words, |name| format!("microtome doc {}", quoted(name)), &screen)?,
    };
    Ok(super::run::to_stdout(&text))
}

/// Quotes a name for a shell.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_:.#-/".contains(c);
    if name.chars().all(is_plain) { name.into() } else { format!("'{name}'") }
}

/// The file that lists what the last run wrote into the folder of a site, one name a line.
const LIST: &str = "pages.txt";

/// Writes the files of a site, and removes those of the last time that it no longer has. What others put there stays.
fn publish(session: &Session, folder: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let here = std::path::absolute(folder).map_err(|e| crate::base::Error::io("write", folder, &e))?;
    let before = session.env().files.script_if_there(&here.join(LIST))?.unwrap_or_default();
    for (name, content) in files {
        save(session, &folder.join(name), content)?;
    }
    let is_inside = |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    for gone in before.lines().filter(|name| is_inside(name) && !files.iter().any(|(file, _)| file == name)) {
        session.env().files.remove(&here.join(gone))?;
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    save(session, &folder.join(LIST), names.join("\n") + "\n")
}

/// Writes a file relative to the current folder, not to the output folder.
fn save(session: &Session, path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let here = std::path::absolute(path).map_err(|e| crate::base::Error::io("write", path, &e))?;
    session.env().files.save_whole(&here, content)?;
    Ok(())
}
