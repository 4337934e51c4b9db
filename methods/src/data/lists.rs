//! Lists of words and templates in text files, `assets/FOLDER/FILE.txt`.
//!
//! A file has sections, `[name]`, with one entry on each line; a line that begins with `#` is a comment. An entry in
//! double quotes keeps the spaces at its ends.

use std::sync::LazyLock;

/// A list of words or templates.
pub type List = LazyLock<&'static [&'static str]>;

/// A file, section by section.
pub struct Sections(Vec<(&'static str, Vec<&'static str>)>);

impl Sections {
    pub fn of(text: &'static str) -> Self {
        let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                sections.push((name, Vec::new()));
            } else if let Some((_, entries)) = sections.last_mut() {
                let quoted = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
                entries.push(quoted.unwrap_or(line));
            }
        }
        Self(sections)
    }

    /// Returns the entries of a section, by its name in any case; none if there is no such section.
    pub fn list(&self, name: &str) -> &[&'static str] {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, entries)| entries.as_slice()).unwrap_or_default()
    }

    /// Returns every section with its name and entries.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &[&'static str])> {
        self.0.iter().map(|(name, entries)| (*name, entries.as_slice()))
    }

    /// Fails if a section is empty or occurs twice.
    #[cfg(test)]
    pub fn check(&self, file: &str) {
        assert!(!self.0.is_empty(), "{file}");
        for (at, (name, entries)) in self.0.iter().enumerate() {
            assert!(!entries.is_empty() && entries.iter().all(|entry| !entry.is_empty()), "{file}: {name}");
            assert!(self.0.iter().skip(at + 1).all(|(other, _)| other != name), "{file}: {name} twice");
        }
    }

    /// Returns the entries of a section of pairs, `one = other`.
    pub fn pairs(&self, name: &str) -> Vec<(&'static str, &'static str)> {
        self.list(name).iter().filter_map(|entry| entry.split_once(" = ")).collect()
    }
}

/// Makes a module for each file of a folder, with a list for each of its sections.
macro_rules! word_lists {
    ($folder:literal: $($file:ident { $($list:ident)* })*) => {
        $(pub mod $file {
            use std::sync::LazyLock;

            use $crate::data::lists::Sections;

            pub static SECTIONS: LazyLock<Sections> = LazyLock::new(|| {
                Sections::of(include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/assets/",
                    $folder,
                    "/",
                    stringify!($file),
                    ".txt"
                )))
            });

            $(pub static $list: $crate::data::lists::List = LazyLock::new(|| SECTIONS.list(stringify!($list)));)*
        })*

        #[test]
        fn every_file_is_read_and_no_list_is_empty() {
            use $crate::data::lists::{List, Sections};

            let files: &[(&str, &Sections, &[(&str, &List)])] =
                &[$((stringify!($file), &*$file::SECTIONS, &[$((stringify!($list), &$file::$list)),*])),*];
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $folder);
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), files.len());
            for (file, sections, lists) in files {
                sections.check(file);
                for (name, list) in *lists {
                    assert!(!list.is_empty(), "{file}: {name}");
                }
            }
        }
    };
}

pub(super) use word_lists;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_skipped_and_quotes_keep_spaces() {
        let sections = Sections::of("# a comment\n\n[one]\nword\n\", and \"\n[two]\nbaker = bread\n");
        assert_eq!(sections.list("ONE"), ["word", ", and "]);
        assert_eq!(sections.pairs("two"), [("baker", "bread")]);
        assert!(sections.list("three").is_empty());
    }
}
