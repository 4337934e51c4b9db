//! The word lists of the language: the text files of `assets/grammar`, each a module here.
//!
//! A file has sections, `[name]`, with one entry on each line; a line that begins with `#` is a comment. An entry in
//! double quotes keeps the spaces at its ends. The order of entries is part of the language: it decides which are
//! drawn, and every sixth is held out.

use std::sync::LazyLock;

/// A list of words or templates.
pub type List = LazyLock<&'static [&'static str]>;

/// A file, section by section.
pub struct Sections(Vec<(&'static str, Vec<&'static str>)>);

impl Sections {
    fn of(text: &'static str) -> Self {
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

    /// The entries of a section, by its name in any case; none if there is no such section.
    pub fn list(&self, name: &str) -> &[&'static str] {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, entries)| entries.as_slice()).unwrap_or_default()
    }

    /// The entries of a section of pairs, `one = other`.
    pub fn pairs(&self, name: &str) -> Vec<(&'static str, &'static str)> {
        self.list(name).iter().filter_map(|entry| entry.split_once(" = ")).collect()
    }
}

/// A module for each file, and in it a list for each of these sections.
macro_rules! files {
    ($($file:ident { $($list:ident)* })*) => {
        $(pub mod $file {
            use std::sync::LazyLock;

            use super::Sections;

            pub static SECTIONS: LazyLock<Sections> = LazyLock::new(|| {
                Sections::of(include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/assets/grammar/",
                    stringify!($file),
                    ".txt"
                )))
            });

            $(pub static $list: super::List = LazyLock::new(|| SECTIONS.list(stringify!($list)));)*
        })*

        /// All files, with the lists that are taken from them.
        #[cfg(test)]
        static FILES: &[(&str, &LazyLock<Sections>, &[(&str, &List)])] =
            &[$((stringify!($file), &$file::SECTIONS, &[$((stringify!($list), &$file::$list)),*])),*];
    };
}

files! {
    acronyms { TEMPLATES AGAIN }
    agreement { TEMPLATES NEAR }
    apostrophes { TEMPLATES }
    code { NAMES VERBS OBJECTS COMMENTS KEYS VALUES }
    facts {}
    filler { GENERAL }
    gender { TEMPLATES }
    gifts { OPENINGS BETWEEN CLOSINGS }
    hosts { OF_ITEMS OF_MANY OF_GROUPS OF_PEOPLE CITATIONS GROUPS }
    ioi { TEMPLATES }
    lists { TEMPLATES }
    names {
        FEMALE MALE SURNAME_HEADS SURNAME_TAILS
        INVENTED_ONSETS INVENTED_VOWELS INVENTED_OPENINGS INVENTED_MIDDLES INVENTED_TAILS
    }
    parentheses { TEMPLATES }
    phrases {
        ADJECTIVES TIMES DURATIONS OPENINGS JOINTS STATES HAPPENINGS SEEMINGS COUNTS BODY_HEADS BODY_MATTERS BODY_KINDS
        DEEDS
    }
    places {}
    questions { TEMPLATES ANSWERS }
    quotes { SAYINGS SAYS }
    topics {}
    trades { FEMALE_ROLES MALE_ROLES KNOWN_SURNAMES }
    years { TEMPLATES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read_and_no_list_is_empty() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/grammar");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len());
        for (file, sections, lists) in FILES {
            assert!(!sections.0.is_empty(), "{file}");
            for (at, (name, entries)) in sections.0.iter().enumerate() {
                assert!(!entries.is_empty() && entries.iter().all(|entry| !entry.is_empty()), "{file}: {name}");
                assert!(sections.0.iter().skip(at + 1).all(|(other, _)| other != name), "{file}: {name} twice");
            }
            for (name, list) in *lists {
                assert!(!list.is_empty(), "{file}: {name}");
            }
        }
    }

    #[test]
    fn comments_are_skipped_and_quotes_keep_spaces() {
        let sections = Sections::of("# a comment\n\n[one]\nword\n\", and \"\n[two]\nbaker = bread\n");
        assert_eq!(sections.list("ONE"), ["word", ", and "]);
        assert_eq!(sections.pairs("two"), [("baker", "bread")]);
        assert!(sections.list("three").is_empty());
    }
}
