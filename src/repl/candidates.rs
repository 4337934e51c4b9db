//! Candidates of completion, and the names from outside of the line: those of the reference, for `?`, and those of
//! files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::Result;
use crate::report::visible_text::harmless;
use crate::script::Session;
use crate::script::docs::Role;

/// Returns whether a name can be offered: nothing in it would have to be escaped in a string, or is a code to the
/// terminal.
pub fn is_speakable(name: &str) -> bool {
    !name.contains(['"', '\\', '`', '\n', '\r', '\t']) && harmless(name) == name
}

/// A candidate of completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The text that is written into the line, from the start that `complete` gives.
    pub replacement: String,
    /// The text in the list of candidates.
    pub shown: String,
}

impl Candidate {
    pub fn new(replacement: impl Into<String>, shown: impl Into<String>) -> Self {
        Self { replacement: replacement.into(), shown: shown.into() }
    }

    pub fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { shown: text.clone(), replacement: text }
    }
}

/// Lists paths of the reference that begin as written, or whose last part does.
pub fn of_reference(written: &str, session: &Session) -> Vec<Candidate> {
    let docs = session.docs();
    let mut names: Vec<String> = session.variables().into_iter().map(|(name, _)| name.to_string()).collect();
    names.extend(docs.modules().into_iter().map(String::from));
    for entry in docs.entries().iter().filter(|e| !matches!(e.role, Role::Index | Role::Operator)) {
        names.push(entry.path());
        names.push(entry.name.clone());
        names.push(entry.receiver.clone());
    }
    names.retain(|name| !name.is_empty() && name.starts_with(written));
    names.sort();
    names.dedup();
    names.into_iter().map(|name| Candidate::new(&name, &name)).collect()
}

/// Lists files and folders for the path that is being written, below the working folder and below the output folder,
/// and returns where its last part begins. Folders may hold millions; an error of `check` between two names ends it.
pub fn of_files(written: &str, session: &Session, check: &dyn Fn() -> Result<()>) -> Result<(usize, Vec<Candidate>)> {
    let start = written.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, stem) = written.split_at(start);
    let files = &session.env().files;
    let mut places = vec![PathBuf::from(if folder.is_empty() { "." } else { folder })];
    if Path::new(folder).is_relative() {
        places.push(files.access().out().join(folder));
    }
    let mut names = BTreeSet::new();
    for place in &places {
        for name in files.names_while(place, check)? {
            check()?;
            if name.starts_with(stem) && name.starts_with('.') == stem.starts_with('.') && is_speakable(&name) {
                names.insert(name);
            }
        }
    }
    let candidate = |name: String| -> Result<Candidate> {
        check()?;
        Ok(Candidate::plain(name))
    };
    Ok((start, names.into_iter().map(candidate).collect::<Result<Vec<Candidate>>>()?))
}
