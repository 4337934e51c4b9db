//! Gemma 3 270M, whose terms do not let its file lie here.

use std::path::{Path, PathBuf};

/// The folder with its files, or a note that what needs it is skipped.
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("MICROTOME_GEMMA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: MICROTOME_GEMMA names no folder with Gemma 3 270M");
    }
    folder
}

/// The file of its quantised weights.
pub fn file(folder: &Path) -> String {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = names.into_iter().find(|path| path.to_string_lossy().ends_with("q4_k_m.gguf"));
    found.expect("a file *q4_k_m.gguf").display().to_string()
}
