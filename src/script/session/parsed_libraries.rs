//! Libraries that are looked into and not run, kept as they were parsed while a text imports them: a text that is being
//! written is checked after each key, and what it imports changes seldom.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, Position};

/// The owner of a library's code, and the name of its source.
pub type LibraryKey = (String, String);

/// A library as it was parsed.
#[derive(Clone)]
pub struct ParsedLibrary {
    pub text: Rc<str>,
    pub tree: Rc<AST>,
    /// The paths that it imports at its top, and where.
    pub imports: Rc<[(String, Position)]>,
}

/// The libraries that the texts of a session import.
#[derive(Clone, Default)]
pub struct ParsedLibraries(Rc<RefCell<KeptLibraries>>);

#[derive(Default)]
struct KeptLibraries {
    libraries: BTreeMap<LibraryKey, ParsedLibrary>,
    /// The libraries that each text imports, itself or through others, by the names of the texts.
    wanted: BTreeMap<String, BTreeSet<LibraryKey>>,
    /// Name of the text whose import is followed just now.
    text: String,
}

impl KeptLibraries {
    fn want(&mut self, key: &LibraryKey) {
        self.wanted.entry(self.text.clone()).or_default().insert(key.clone());
    }
}

impl ParsedLibraries {
    /// Begins to follow an import of a text.
    pub fn follow(&self, text: &str) {
        self.0.borrow_mut().text = text.into();
    }

    /// Returns a library that is kept, if its text is still this one.
    pub fn get(&self, key: &LibraryKey, text: &str) -> Option<ParsedLibrary> {
        let mut kept = self.0.borrow_mut();
        let known = kept.libraries.get(key).filter(|known| *known.text == *text)?.clone();
        kept.want(key);
        Some(known)
    }

    /// Keeps a library in place of what it was before.
    pub fn keep(&self, key: &LibraryKey, library: &ParsedLibrary) {
        let mut kept = self.0.borrow_mut();
        kept.libraries.insert(key.clone(), library.clone());
        kept.want(key);
    }

    /// Forgets which libraries a text imports, before it is looked at again.
    pub fn count_anew(&self, text: &str) {
        self.0.borrow_mut().wanted.remove(text);
    }

    /// Drops the libraries that no text imports any more, or not as they were.
    pub fn drop_unwanted(&self) {
        let mut kept = self.0.borrow_mut();
        let wanted: BTreeSet<LibraryKey> = kept.wanted.values().flatten().cloned().collect();
        kept.libraries.retain(|key, _| wanted.contains(key));
    }

    /// Lists the names of the libraries that are kept.
    #[cfg(test)]
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().libraries.keys().map(|(_, name)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(text: &str) -> ParsedLibrary {
        ParsedLibrary { text: text.into(), tree: AST::empty().into(), imports: Rc::default() }
    }

    #[test]
    fn a_library_is_kept_while_a_text_imports_it_as_it_is() {
        let kept = ParsedLibraries::default();
        let key = |name: &str| (String::new(), name.to_string());
        kept.follow("a");
        for name in ["x", "y"] {
            assert!(kept.get(&key(name), "1").is_none());
            kept.keep(&key(name), &library("1"));
        }
        kept.follow("b");
        assert!(kept.get(&key("y"), "1").is_some() && kept.get(&key("y"), "2").is_none());
        kept.drop_unwanted();
        assert_eq!(kept.names(), ["x", "y"]);
        // The first text imports nothing any more, the second what it did.
        kept.count_anew("a");
        kept.drop_unwanted();
        assert_eq!(kept.names(), ["y"]);
        kept.count_anew("b");
        kept.drop_unwanted();
        assert_eq!(kept.names(), [] as [String; 0]);
    }
}
