//! `microtome fmt FILE..`: formats scripts and the code of notebooks in place, or says with `--check` what would change.

use super::prelude::*;
use super::run::{STDIN, standard_input, to_stdout};
use crate::script::engine::failure::Failure;
use crate::script::session::{line_changes, notebook};

#[derive(Args)]
pub struct FmtArguments {
    /// Scripts, folders of them, notebooks (.ipynb), or - for standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,

    /// Write nothing; print what would change, and exit with 1 if something would.
    #[arg(long)]
    pub check: bool,
}

pub fn run(options: &CommonArguments, fmt: &FmtArguments) -> Result<Exit> {
    let session = Session::for_reading(setup::env(options, SessionNeeds::default())?);
    let mut seen = 0;
    let mut changed = 0;
    let mut failed = 0;
    for file in &fmt.files {
        for (name, text) in texts(&session, file)? {
            session.env().task.check()?;
            seen += 1;
            let (new, failures) = formatted(&session, &name, &text)?;
            failures.iter().for_each(|failure| show_failure(&session, failure));
            failed += failures.len();
            changed += usize::from(new != text);
            let written = if fmt.check {
                let changes = line_changes::between(&text, &new);
                to_stdout(&changes.iter().map(|change| change.shown(&name)).collect::<String>())
            } else if name == STDIN {
                to_stdout(&new)
            } else {
                if new != text {
                    save(Path::new(&name), &new)?;
                }
                Exit::Done
            };
            if written != Exit::Done {
                return Ok(written);
            }
        }
    }
    if !options.quiet && fmt.files != ["-"] {
        let would = if fmt.check { "would be " } else { "" };
        tell(&format!("{} of {} {would}changed", changed, count(seen, "script")));
    }
    let is_well = failed == 0 && !(fmt.check && changed > 0);
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

/// Formats a script or the code cells of a notebook; what cannot be read stays as it is.
fn formatted(session: &Session, name: &str, text: &str) -> Result<(String, Vec<Failure>)> {
    if notebook::is_notebook(name) {
        let formatted = notebook::formatted(name, text, |cell, text| session.formatted(cell, text))?;
        return Ok((formatted.text, formatted.failures));
    }
    Ok(match session.formatted(name, text) {
        Ok(new) => (new, Vec::new()),
        Err(failure) => (text.into(), vec![failure]),
    })
}

/// Reads the scripts that a word of the command line means, with their texts.
fn texts(session: &Session, file: &str) -> Result<Vec<(String, String)>> {
    if file == "-" {
        return Ok(vec![(STDIN.into(), standard_input(session)?)]);
    }
    let mut files = Vec::new();
    below(&session.env().files, Path::new(file), &mut files)?;
    if files.is_empty() {
        return Err(err!(File, "there are no scripts in {file}"));
    }
    let read = |path: PathBuf| Ok((path.display().to_string(), session.env().files.script(&path)?));
    files.into_iter().map(read).collect()
}

/// Finds all scripts of a folder and of those in it, in alphabetical order, hidden ones left out; a file alone.
fn below(files: &Files, path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        found.push(path.to_path_buf());
        return Ok(());
    }
    let mut names = files.names(path);
    names.sort();
    for name in names.iter().filter(|name| !name.starts_with('.')) {
        match name.strip_suffix('/') {
            // A link may lead back to where it stands.
            Some(folder) if !path.join(folder).is_symlink() => below(files, &path.join(folder), found)?,
            None if name.ends_with(".rhai") => found.push(path.join(name)),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a file that the user named, whole or not at all.
fn save(path: &Path, text: &str) -> Result<()> {
    let place = crate::base::access::resolve(path)?;
    let folder = place.parent().unwrap_or(Path::new("/"));
    let mode = std::fs::metadata(&place).map_err(|e| Error::io("read", path, &e))?.permissions();
    let files = Files::unrecorded(folder)?;
    let place = files.save_whole(&place, text)?;
    std::fs::set_permissions(&place, mode).map_err(|e| Error::io("write", path, &e))
}
