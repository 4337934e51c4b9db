//! Rules for folders: which of them decides for a path, with names compared as the file system compares them.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use unicode_normalization_alignments::UnicodeNormalization;

use super::{RuleVerdict, resolve};
use crate::base::Result;
use crate::err;

/// The way in which a file system compares names in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Exact,
    /// Case-insensitive comparison, and insensitive to the encoding of accents.
    Folded,
}

impl Names {
    /// Returns whether two names are of the same file.
    fn same(self, one: &OsStr, other: &OsStr) -> bool {
        if one == other {
            return true;
        }
        match (self, one.to_str(), other.to_str()) {
            (Self::Folded, Some(one), Some(other)) => folded(one) == folded(other),
            _ => false,
        }
    }
}

/// Returns the case-folded form of a name, by way of upper case, since some lower-case letters are equal only there.
fn folded(name: &str) -> String {
    let large = name.nfd().flat_map(|(letter, _)| letter.to_uppercase());
    let small: String = large.flat_map(char::to_lowercase).collect();
    small.nfd().map(|(letter, _)| letter).collect()
}

/// The queries that tell how a file system compares names.
trait FileSystem {
    /// Returns whether two paths lead to one file.
    fn is_same(&self, one: &Path, other: &Path) -> bool;
    /// Returns the names in a folder, as far as they can be read.
    fn names(&self, folder: &Path) -> Vec<OsString>;
}

/// The file system itself.
struct RealFileSystem;

impl FileSystem for RealFileSystem {
    #[cfg(unix)]
    fn is_same(&self, one: &Path, other: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (std::fs::symlink_metadata(one), std::fs::symlink_metadata(other)) {
            (Ok(one), Ok(other)) => one.ino() == other.ino() && one.dev() == other.dev(),
            _ => false,
        }
    }

    #[cfg(not(unix))]
    fn is_same(&self, one: &Path, other: &Path) -> bool {
        matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
    }

    fn names(&self, folder: &Path) -> Vec<OsString> {
        // A few are enough to find one with letters.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.take(100).map(|entry| entry.file_name()).collect()
    }
}

/// Tells how names in a folder compare: whether some name there, with its case swapped, leads to the same file. None
/// where no name there has letters.
fn names_in(folder: &Path, name: &OsStr, look: &impl FileSystem) -> Option<Names> {
    let there = |name: &OsStr| look.is_same(&folder.join(name), &folder.join(name));
    let tried = |name: &OsStr| {
        let exchanged = exchanged(name.to_str()?)?;
        let is_same = there(name).then(|| look.is_same(&folder.join(name), &folder.join(exchanged)))?;
        Some(if is_same { Names::Folded } else { Names::Exact })
    };
    tried(name).or_else(|| look.names(folder).iter().find_map(|name| tried(name)))
}

/// Returns a name with its case swapped, if it has letters.
fn exchanged(name: &str) -> Option<String> {
    let exchanged: String = name
        .chars()
        .map(|letter| match letter {
            'a'..='z' => letter.to_ascii_uppercase(),
            'A'..='Z' => letter.to_ascii_lowercase(),
            other => other,
        })
        .collect();
    (exchanged != name).then_some(exchanged)
}

/// A folder with all that is in it, allowed or denied.
#[derive(Debug, Clone)]
struct FolderRule {
    folder: PathBuf,
    /// Comparison of names for each part of the folder's path.
    names: Vec<Names>,
    allowed: bool,
}

impl FolderRule {
    /// Builds a rule for a folder whose links are resolved.
    fn new(folder: PathBuf, allowed: bool, look: &impl FileSystem) -> Self {
        let mut above = PathBuf::new();
        // A folder for which this is unknown compares names like its parent folder.
        let mut last = if cfg!(windows) { Names::Folded } else { Names::Exact };
        let names = folder.components().map(|part| {
            if let Component::Normal(name) = part {
                last = names_in(&above, name, look).unwrap_or(last);
            }
            above.push(part);
            last
        });
        Self { names: names.collect(), folder, allowed }
    }

    fn holds(&self, path: &Path) -> bool {
        let mut parts = path.components();
        self.folder
            .components()
            .zip(&self.names)
            .all(|(part, names)| parts.next().is_some_and(|other| names.same(part.as_os_str(), other.as_os_str())))
    }

    fn length(&self) -> usize {
        self.names.len()
    }
}

/// Allowed and denied folders; what no rule contains is denied.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    built_in: Vec<FolderRule>,
    given: Vec<FolderRule>,
}

impl Folders {
    /// Adds a rule of the program's own, for a folder whose links are resolved.
    pub fn set(&mut self, folder: PathBuf, allowed: bool) {
        self.built_in.push(FolderRule::new(folder, allowed, &RealFileSystem));
    }

    /// Adds rules as the command line has them.
    pub fn add(&mut self, typed: &[PathBuf], option: &str, allowed: bool) -> Result<()> {
        for folder in typed {
            let place = resolve(folder)?;
            let written = folder.to_string_lossy();
            if (written.contains(['*', '?']) || written.starts_with('~')) && !place.exists() {
                return Err(err!(Argument, "expected a folder after {option}, found `{written}`")
                    .hint("a rule names one folder and everything in it; patterns and ~ are not expanded"));
            }
            self.given.push(FolderRule::new(place, allowed, &RealFileSystem));
        }
        Ok(())
    }

    /// Decides by the longest rule, and at equal length by a denial. Given rules override built-in ones; only a
    /// built-in denial holds against permission for a folder around it.
    pub fn judge(&self, path: &Path) -> RuleVerdict {
        match (longest(&self.given, path), longest(&self.built_in, path)) {
            (Some(given), _) if !given.allowed => RuleVerdict::Denied,
            (Some(given), Some(own)) if !own.allowed && own.length() > given.length() => RuleVerdict::NotAllowed,
            (Some(_), _) => RuleVerdict::Allowed,
            (None, Some(own)) if own.allowed => RuleVerdict::Allowed,
            (None, _) => RuleVerdict::NotAllowed,
        }
    }

    pub fn allows(&self, path: &Path) -> bool {
        self.judge(path) == RuleVerdict::Allowed
    }
}

fn longest<'a>(rules: &'a [FolderRule], path: &Path) -> Option<&'a FolderRule> {
    rules.iter().filter(|rule| rule.holds(path)).max_by_key(|rule| (rule.length(), !rule.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system of a few paths that is case-insensitive below some folder.
    struct ImaginedFileSystem {
        paths: &'static [&'static str],
        folding: &'static str,
    }

    impl ImaginedFileSystem {
        fn found(&self, path: &Path) -> Option<&'static str> {
            let path = path.to_str()?;
            self.paths
                .iter()
                .copied()
                .find(|known| *known == path || known.starts_with(self.folding) && known.eq_ignore_ascii_case(path))
        }
    }

    impl FileSystem for ImaginedFileSystem {
        fn is_same(&self, one: &Path, other: &Path) -> bool {
            self.found(one).is_some_and(|found| self.found(other) == Some(found))
        }

        fn names(&self, folder: &Path) -> Vec<OsString> {
            let below = |path: &&str| Path::new(path).parent() == Some(folder);
            self.paths
                .iter()
                .filter(|path| below(path))
                .filter_map(|path| Some(Path::new(path).file_name()?.into()))
                .collect()
        }
    }

    const DISK: ImaginedFileSystem = ImaginedFileSystem {
        paths: &[
            "/home",
            "/home/me",
            "/home/me/Data",
            "/mnt",
            "/mnt/usb",
            "/mnt/usb/Secret",
            "/mnt/usb/1",
            "/mnt/usb/2/3",
        ],
        folding: "/mnt/usb/",
    };

    fn holds(rule: &str, path: &str) -> bool {
        FolderRule::new(rule.into(), true, &DISK).holds(Path::new(path))
    }

    #[test]
    fn names_are_the_same_where_the_file_system_says_so() {
        let same = |one: &str, other: &str| Names::Folded.same(OsStr::new(one), OsStr::new(other));
        for (one, other) in
            [("Data", "dATA"), ("ÉTÉ", "e\u{301}te\u{301}"), ("K", "\u{212a}"), ("straße", "STRASSE"), ("ſ", "S")]
        {
            assert!(same(one, other), "{one} {other}");
            assert!(!Names::Exact.same(OsStr::new(one), OsStr::new(other)), "{one} {other}");
        }
        assert!(!same("data", "date") && !same("e", "é") && Names::Exact.same(OsStr::new("x"), OsStr::new("x")));
    }

    #[test]
    fn how_a_folder_compares_names_is_found_out_by_looking() {
        let of = |folder: &str, name: &str| names_in(Path::new(folder), OsStr::new(name), &DISK);
        assert_eq!(of("/home/me", "Data"), Some(Names::Exact));
        assert_eq!(of("/mnt/usb", "Secret"), Some(Names::Folded));
        // For missing names, and those without letters, their neighbours decide.
        assert_eq!(of("/mnt/usb", "new"), Some(Names::Folded));
        assert_eq!(of("/mnt/usb", "1"), Some(Names::Folded));
        assert_eq!(of("/home/me", "new"), Some(Names::Exact));
        assert_eq!(of("/mnt/usb/2", "new"), None);
        assert_eq!(exchanged("aB1"), Some("Ab1".into()));
        assert_eq!(exchanged("1"), None);
    }

    #[test]
    fn rules_compare_each_part_as_the_folder_around_it_does() {
        assert!(holds("/home/me/Data", "/home/me/Data/x") && !holds("/home/me/Data", "/home/me/data/x"));
        assert!(holds("/mnt/usb/Secret", "/mnt/usb/SECRET/x") && !holds("/mnt/usb/Secret", "/mnt/USB/Secret/x"));
        // A missing folder compares names like its future parent, and so does one in an empty folder.
        assert!(holds("/mnt/usb/new/deep", "/mnt/usb/NEW/Deep/x") && !holds("/home/me/new", "/home/me/New"));
        assert!(holds("/mnt/usb/2/new", "/mnt/usb/2/NEW"));
        assert!(!holds("/mnt/usb/Secret", "/mnt/usb/Secre") && !holds("/mnt/usb/Secret", "/mnt/usb"));
    }

    #[test]
    fn the_file_system_here_answers() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Name"), "").unwrap();
        let found = names_in(folder.path(), OsStr::new("Name"), &RealFileSystem);
        let folds = folder.path().join("nAME").exists();
        assert_eq!(found, Some(if folds { Names::Folded } else { Names::Exact }));
    }

    fn rules(built_in: &[(&str, bool)], given: &[(&str, bool)]) -> Folders {
        let rule = |(folder, allowed): &(&str, bool)| FolderRule::new(folder.into(), *allowed, &DISK);
        Folders { built_in: built_in.iter().map(rule).collect(), given: given.iter().map(rule).collect() }
    }

    #[test]
    fn a_denial_that_was_given_wins_over_what_is_built_in() {
        let of = |given: &[(&str, bool)], path: &str| rules(&[("/out", true)], given).judge(Path::new(path));
        assert_eq!(of(&[], "/out/x"), RuleVerdict::Allowed);
        assert_eq!(of(&[], "/x"), RuleVerdict::NotAllowed);
        assert_eq!(of(&[("/", false)], "/out/x"), RuleVerdict::Denied);
        assert_eq!(of(&[("/", false), ("/out/a", true)], "/out/a/x"), RuleVerdict::Allowed);
        assert_eq!(of(&[("/", false), ("/out/a", true), ("/out/a/b", false)], "/out/a/b/x"), RuleVerdict::Denied);
        assert_eq!(of(&[("/out", false), ("/out", true)], "/out/x"), RuleVerdict::Denied);
    }

    #[test]
    fn a_denial_that_is_built_in_wants_leave_of_its_own() {
        let of = |given: &[(&str, bool)], path: &str| {
            rules(&[("/", true), ("/proc", false), ("/proc/out", true)], given).judge(Path::new(path))
        };
        assert_eq!(of(&[], "/proc/1/environ"), RuleVerdict::NotAllowed);
        assert_eq!(of(&[("/", true)], "/proc/1/environ"), RuleVerdict::NotAllowed);
        assert_eq!(of(&[("/proc", true)], "/proc/1/environ"), RuleVerdict::Allowed);
        assert_eq!(of(&[("/proc/1", true)], "/proc/2"), RuleVerdict::NotAllowed);
        assert_eq!(of(&[], "/proc/out/x"), RuleVerdict::Allowed);
        assert_eq!(of(&[("/", false)], "/proc/out/x"), RuleVerdict::Denied);
    }
}
