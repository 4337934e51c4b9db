//! The behaviour of the language: every `.rhai` file in `tests/suite`, section by section, against the values and errors
//! that its comments state.

use std::path::{Path, PathBuf};

use crate::support;
use microtome::tensor::Device;

/// A section begins with `// == name` and runs in a session of its own.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("// == ") {
            Some(name) => sections.push((name.trim().to_string(), String::new())),
            None => {
                if let Some((_, code)) = sections.last_mut() {
                    code.push_str(line);
                    code.push('\n');
                }
            }
        }
    }
    sections
}

/// What differs from what a file states, with sessions on a device.
pub fn complaints(file: &Path, device: &Device) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let stem = file.file_stem().unwrap().to_string_lossy().to_string();
    let sections = sections(&text);
    let mut complaints = Vec::new();
    assert!(!sections.is_empty(), "{stem} has no section");
    for (name, code) in sections {
        assert!(code.contains("//=>") || code.contains("// Error:"), "{stem}, {name}: nothing is stated");
        let folder = tempfile::tempdir().unwrap();
        let mut session = support::session_on(folder.path(), device);
        complaints.extend(support::run_stated(&mut session, &format!("{stem}: {name}"), &code));
    }
    complaints
}

#[test]
fn values_and_errors_are_as_stated() {
    let files = support::files("tests/suite", "rhai");
    assert!(files.len() >= 3, "the suite is missing");
    // The longest test of all: in halves side by side, since nothing else is left to run when it is.
    let halves = [0, 1].map(|half| {
        let files: Vec<PathBuf> = files.iter().skip(half).step_by(2).cloned().collect();
        let all = move || files.iter().flat_map(|file| complaints(file, &Device::Cpu)).collect::<Vec<_>>();
        std::thread::spawn(move || support::on_large_stack(all))
    });
    let complaints = halves.map(|half| half.join().unwrap()).concat();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
