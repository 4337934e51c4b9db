//! The texts that are open in the editor, as they are there and not as they are on disk.

use std::cell::OnceCell;
use std::rc::Rc;

use lsp_types::{TextDocumentContentChangeEvent, TextDocumentItem, Uri};

use super::positions::Lines;
use super::scopes::Scopes;
use super::uris;
use crate::common::*;

/// An open text.
pub struct Document {
    pub uri: Uri,
    /// The file that the text is saved in; none for one that was never saved.
    pub path: Option<PathBuf>,
    /// The name by which errors call it, and from whose folder it imports.
    pub name: String,
    pub version: i32,
    pub text: Rc<str>,
    /// Whether it was changed since it was checked.
    pub is_unchecked: bool,
    /// The words of this version and what they mean, told when they are first asked for.
    scopes: OnceCell<Rc<Scopes>>,
}

impl Document {
    fn new(item: TextDocumentItem) -> Self {
        let path = uris::path(&item.uri);
        let name = path.as_ref().map_or(item.uri.as_str().to_string(), |path| path.display().to_string());
        let text = item.text.into();
        Self { uri: item.uri, path, name, version: item.version, text, is_unchecked: true, scopes: OnceCell::new() }
    }

    /// Returns what the words of the text mean.
    pub fn scopes(&self) -> Rc<Scopes> {
        self.scopes.get_or_init(|| Scopes::new(self.text.clone()).into()).clone()
    }

    /// Applies changes one after the other, each to what the one before has left.
    fn change(&mut self, version: i32, changes: Vec<TextDocumentContentChangeEvent>) {
        let mut text = self.text.to_string();
        for change in changes {
            match change.range {
                Some(range) => {
                    let bytes = Lines::new(&text).bytes(range);
                    text.replace_range(bytes, &change.text);
                }
                None => text = change.text,
            }
        }
        self.text = text.into();
        self.scopes = OnceCell::new();
        self.version = version;
        self.is_unchecked = true;
    }
}

/// All open texts, by their URIs.
#[derive(Default)]
pub struct Documents(BTreeMap<String, Document>);

impl Documents {
    pub fn open(&mut self, item: TextDocumentItem) {
        self.0.insert(item.uri.as_str().to_string(), Document::new(item));
    }

    /// Applies changes to an open text; returns whether it is open.
    pub fn change(&mut self, uri: &Uri, version: i32, changes: Vec<TextDocumentContentChangeEvent>) -> bool {
        let Some(document) = self.0.get_mut(uri.as_str()) else { return false };
        document.change(version, changes);
        true
    }

    /// Closes a text, and returns it if it was open.
    pub fn close(&mut self, uri: &Uri) -> Option<Document> {
        self.0.remove(uri.as_str())
    }

    /// Iterates over all open texts.
    pub fn all(&self) -> impl Iterator<Item = &Document> {
        self.0.values()
    }

    pub fn get(&self, uri: &Uri) -> Option<&Document> {
        self.0.get(uri.as_str())
    }

    /// Marks all texts as to be checked: something that they import may have changed.
    pub fn doubt_all(&mut self) {
        self.0.values_mut().for_each(|document| document.is_unchecked = true);
    }

    /// Returns a text that was changed since it was checked, which it counts as from now on.
    pub fn next_unchecked(&mut self) -> Option<Uri> {
        let document = self.0.values_mut().find(|document| document.is_unchecked)?;
        document.is_unchecked = false;
        Some(document.uri.clone())
    }

    /// Counts a text as checked.
    pub fn settle(&mut self, uri: &Uri) {
        if let Some(document) = self.0.get_mut(uri.as_str()) {
            document.is_unchecked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use lsp_types::{Position, Range};

    use super::*;

    fn opened(text: &str) -> (Documents, Uri) {
        let uri = Uri::from_str("file:///a/b.rhai").unwrap();
        let mut documents = Documents::default();
        documents.open(TextDocumentItem::new(uri.clone(), "rhai".into(), 1, text.into()));
        (documents, uri)
    }

    fn change(range: Option<(u32, u32, u32, u32)>, text: &str) -> TextDocumentContentChangeEvent {
        let range = range.map(|(a, b, c, d)| Range::new(Position::new(a, b), Position::new(c, d)));
        TextDocumentContentChangeEvent { range, range_length: None, text: text.into() }
    }

    #[test]
    fn changes_are_applied_in_their_order() {
        let (mut documents, uri) = opened("let a = \"🙂\";\r\nb\n");
        assert!(documents.change(&uri, 2, vec![change(Some((0, 11, 0, 11)), "!"), change(Some((1, 0, 1, 1)), "c🙂")]));
        documents.change(&uri, 3, vec![change(Some((1, 1, 1, 3)), ""), change(Some((9, 0, 9, 9)), "end")]);
        let document = documents.get(&uri).unwrap();
        assert_eq!((&*document.text, document.version), ("let a = \"🙂!\";\r\nc\nend", 3));
        assert_eq!(document.name, "/a/b.rhai");
        documents.change(&uri, 4, vec![change(None, "new")]);
        assert_eq!(&*documents.get(&uri).unwrap().text, "new");
        assert!(documents.close(&uri).is_some() && documents.close(&uri).is_none());
        assert!(!documents.change(&uri, 5, vec![change(None, "gone")]));
        assert!(documents.get(&uri).is_none());
    }

    #[test]
    fn words_are_told_once_for_each_version() {
        let (mut documents, uri) = opened("let a = 1;");
        let first = documents.get(&uri).unwrap().scopes();
        assert!(Rc::ptr_eq(&first, &documents.get(&uri).unwrap().scopes()));
        documents.change(&uri, 2, vec![change(Some((0, 4, 0, 5)), "b")]);
        let document = documents.get(&uri).unwrap();
        assert_eq!((first.source(), document.scopes().source()), ("let a = 1;", "let b = 1;"));
    }

    #[test]
    fn each_change_is_checked_once() {
        let (mut documents, uri) = opened("1");
        assert_eq!(documents.next_unchecked(), Some(uri.clone()));
        assert_eq!(documents.next_unchecked(), None);
        documents.change(&uri, 2, Vec::new());
        documents.settle(&uri);
        assert_eq!(documents.next_unchecked(), None);
        documents.doubt_all();
        assert_eq!(documents.next_unchecked(), Some(uri));
    }
}
