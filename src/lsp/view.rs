//! An open text as the answers of the server look at it: with its lines, its definitions, and what it imports.

use std::path::Component;
use std::rc::Rc;

use lsp_types::Range;

use super::documents::Document;
use super::positions::Lines;
use super::scene::{Scene, StandIns};
use super::scopes::Scopes;
use crate::common::*;
use crate::repl::cursor::Callee;
use crate::repl::signature;
use crate::script::Session;
use crate::script::docs::stdlib::{stdlib_name, stdlib_path};
use crate::script::docs::{ReferenceEntry, Role};
use crate::script::library::project::cleaned;
use crate::script::session::imports::ImportedLibrary;

/// Folder of the cache for texts that are in no file, below one for each version of the program.
const SOURCES: &str = "sources";

pub struct View<'a> {
    pub session: &'a Session,
    pub document: &'a Document,
    pub lines: Lines<'a>,
    pub scopes: Rc<Scopes>,
    stand_ins: &'a StandIns,
}

impl<'a> View<'a> {
    pub fn new(session: &'a Session, document: &'a Document, stand_ins: &'a StandIns) -> Self {
        Self { session, document, lines: Lines::new(&document.text), scopes: document.scopes(), stand_ins }
    }

    pub fn text(&self) -> &'a str {
        &self.document.text
    }

    /// Returns what is known of the variables around a byte.
    pub fn scene(&self, byte: usize) -> Scene<'_> {
        let folder = self.document.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        Scene::new(self.session, &self.scopes, self.stand_ins, folder, byte)
    }

    /// Returns the range of a token, of a string without its quotes.
    pub fn range(&self, token: usize) -> Range {
        self.lines.range(self.scopes.bytes(token))
    }

    /// Reads the library that the text imports under a name, or the module of the stdlib of that name.
    pub fn library(&self, name: &str) -> Option<ImportedLibrary> {
        match self.scopes.import_path(name) {
            Some(path) => self.session.imported(&self.document.name, path),
            None => self.session.imported(&self.document.name, &stdlib_path(name)?),
        }
    }

    /// Lists the functions of a module, or of the library that is imported under this name.
    pub fn members(&self, module: &str) -> Vec<ReferenceEntry> {
        let docs = self.session.docs();
        let of_reference = |name: &str| -> Vec<ReferenceEntry> {
            let found = docs.entries().iter().filter(|entry| entry.module == name && entry.role == Role::Function);
            found.map(|entry| ReferenceEntry { module: module.into(), ..entry.clone() }).collect()
        };
        let Some(path) = self.scopes.import_path(module) else { return of_reference(module) };
        match stdlib_name(path) {
            Some(name) => of_reference(name),
            None => self.library(module).map(|found| self.session.functions_of(&found, module)).unwrap_or_default(),
        }
    }

    /// Lists the entries that a call may mean, those of the receiver's type where that is known.
    pub fn called(&self, callee: &Callee, receiver: Option<&str>) -> Vec<ReferenceEntry> {
        if callee.module.is_empty() {
            return signature::called(self.session.docs().entries(), callee, receiver).cloned().collect();
        }
        let mut members = self.members(callee.module);
        members.retain(|entry| entry.name == callee.name);
        members
    }

    /// Returns the file of a library. What is inside the program, or in an archive, is written into a file of the
    /// cache, for editors to open.
    pub fn file_of(&self, library: &ImportedLibrary) -> Option<PathBuf> {
        let place = cleaned(&std::path::absolute(&library.source).ok()?);
        // A file of the name of what an archive has is another one.
        let is_it = |place: &Path| {
            let text = self.session.env().files.script_if_there(place);
            text.is_ok_and(|text| text.is_some_and(|text| *text == *library.text))
        };
        if is_it(&place) {
            return Some(place);
        }
        let folder = sources(self.session)?;
        let name = Path::new(&library.source);
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        let mut place = folder.join(name);
        if place.extension().is_none_or(|extension| extension != "rhai") {
            place.as_mut_os_string().push(".rhai");
        }
        kept(self.session, &folder, &place, &library.text).ok()?;
        Some(place)
    }
}

/// Returns the folder of texts that are in no file.
fn sources(session: &Session) -> Option<PathBuf> {
    let cache = session.env().settings.cache.as_ref()?;
    let folder = cache.join(SOURCES).join(env!("CARGO_PKG_VERSION"));
    Some(cleaned(&std::path::absolute(folder).ok()?))
}

/// Returns whether an open text is a copy of one that is in no file: changes there change nothing.
pub fn is_copy(session: &Session, document: &Document) -> bool {
    let path_and_folder = document.path.as_ref().zip(sources(session));
    path_and_folder.is_some_and(|(path, folder)| path.starts_with(folder))
}

/// Writes a text into a file below a folder of ours, unless it is there.
fn kept(session: &Session, folder: &Path, place: &Path, text: &str) -> Result<()> {
    let access = session.env().files.access().within(folder)?;
    let files = Files::new(access, false);
    let is_kept = || -> Result<bool> { Ok(files.script_if_there(place)?.is_some_and(|known| known == text)) };
    if is_kept()? {
        return Ok(());
    }
    // The server of another client may write the same at this moment.
    files.lock_in_turn(place)?;
    let saved = match is_kept() {
        Ok(false) => files.save_whole(place, text).map(drop),
        kept => kept.map(drop),
    };
    files.release();
    saved
}

#[cfg(test)]
pub mod tests {
    use std::str::FromStr;

    use lsp_types::{TextDocumentItem, Uri};

    use super::*;
    use crate::lsp::documents::Documents;

    /// Looks at an open text at the byte that `¦` marks, or at its end.
    pub fn look<T>(marked: &str, look: impl FnOnce(&View, usize) -> T) -> T {
        look_in(Path::new("/nowhere"), marked, look)
    }

    /// Looks at an open text of a folder.
    pub fn look_in<T>(folder: &Path, marked: &str, look: impl FnOnce(&View, usize) -> T) -> T {
        let byte = marked.find('¦').unwrap_or(marked.len());
        let session = Session::for_tests();
        let uri = Uri::from_str(&format!("file://{}/a.rhai", folder.display())).unwrap();
        let mut documents = Documents::default();
        documents.open(TextDocumentItem::new(uri.clone(), "rhai".into(), 1, marked.replace('¦', "")));
        let stand_ins = StandIns::default();
        look(&View::new(&session, documents.get(&uri).unwrap(), &stand_ins), byte)
    }
}
