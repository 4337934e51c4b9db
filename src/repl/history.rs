//! The lines of earlier sessions: a file of the user's that every session adds to as it goes.
//!
//! An entry is one line of it, line breaks and backslashes escaped. It is only ever added to, so that sessions side by
//! side lose nothing of each other.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::files;

/// Number of entries that are remembered.
pub const ENTRIES: usize = 10_000;
/// Number of bytes of the file's end that are read, so that the prompt comes at once however old the file is.
const READ: u64 = 1 << 20;

/// Returns the path of the history: `MICROTOME_HISTORY`, or the user's folder for state.
pub fn place() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    if let Some(place) = std::env::var_os("MICROTOME_HISTORY") {
        return (!place.is_empty()).then(|| place.into());
    }
    let strategy = etcetera::choose_base_strategy().ok()?;
    let folder = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Some(folder.join("microtome/history"))
}

/// Reads the entries, oldest first, each once, at its last use.
pub fn read(place: &Path) -> io::Result<Vec<String>> {
    let bytes = files::end_of(place, READ)?;
    let text = String::from_utf8_lossy(&bytes);
    // What was skipped may end within an entry; the rest of that one is of no use.
    let whole = if bytes.len() < READ as usize { &text } else { text.split_once('\n').map_or("", |(_, whole)| whole) };
    Ok(latest(whole.lines().filter(|line| !line.is_empty()).map(unescaped).collect()))
}

/// Keeps each entry once, where it stands last, and no more of them than are remembered.
fn latest(entries: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut kept: Vec<String> = entries.into_iter().rev().filter(|entry| seen.insert(entry.clone())).collect();
    kept.truncate(ENTRIES);
    kept.reverse();
    kept
}

/// Adds an entry.
pub fn append(place: &Path, entry: &str) -> io::Result<()> {
    files::append(place, (escaped(entry) + "\n").as_bytes())
}

fn escaped(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(line: &str) -> String {
    let mut entry = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => entry.push('\n'),
                Some('r') => entry.push('\r'),
                Some(other) => entry.push(other),
                None => entry.push('\\'),
            },
            letter => entry.push(letter),
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_many_lines_survive_and_each_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("made/history");
        assert_eq!(read(&place).unwrap(), [""; 0]);
        for entry in ["1 + 1", "fn f() {\n  \"a\\n\"\n}", "2", "1 + 1"] {
            append(&place, entry).unwrap();
        }
        assert_eq!(read(&place).unwrap(), ["fn f() {\n  \"a\\n\"\n}", "2", "1 + 1"]);
    }

    #[test]
    fn an_old_file_is_read_from_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("history");
        let long = "x".repeat(READ as usize);
        append(&place, &long).unwrap();
        append(&place, "last").unwrap();
        assert_eq!(read(&place).unwrap(), ["last"]);
        assert!(std::fs::metadata(&place).unwrap().len() > READ);
    }

    #[test]
    fn sessions_side_by_side_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("history");
        std::thread::scope(|scope| {
            for session in 0..4 {
                let place = &place;
                scope.spawn(move || (0..50).for_each(|line| append(place, &format!("{session} {line}")).unwrap()));
            }
        });
        assert_eq!(read(&place).unwrap().len(), 200);
    }

    proptest::proptest! {
        #[test]
        fn escaping_can_be_undone(entry in "[a\\\\n\n\r ]{0,20}") {
            assert_eq!(unescaped(&escaped(&entry)), entry);
            assert!(!escaped(&entry).contains('\n'));
        }
    }
}
