//! Figures in pages and in the headers of experiments are computed: between marks stands what a program wrote.
//!
//! In a page of Markdown a mark is `<!-- KEY -->` and ends at `<!-- / -->`; in the header of an experiment each line that
//! begins with `//=` is of one, whose key is the experiment. A test compares what the code and the files of benchmarks know
//! ([`counts`], [`speed`]); what runs of experiments came to ([`runs`]) is compared where they are run.

#![allow(dead_code, reason = "the tests and the example use their own parts")]

pub mod counts;
pub mod marks;
pub mod ranges;
pub mod runs;
pub mod session;
pub mod speed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runs::Runs;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands under a key; `shown` is what the page has there. Nothing if the key is of runs that are not there.
fn figure(key: &str, shown: &str, runs: &Runs) -> Result<Option<String>, String> {
    let (kind, about) = key.split_once(' ').unwrap_or((key, ""));
    match kind {
        "count" => counts::of(about).map(Some),
        "speed" => speed::table(about).map(Some),
        "bench" => speed::figure(about).map(Some),
        "made" => Ok(runs.made(shown)),
        "checks" if about.is_empty() => Ok(runs.summary(shown)),
        "on" => runs.on(about, shown),
        "header" => runs.checks(about, shown),
        // In a page a list stands apart from what is above it.
        "checks" => {
            let block = runs.checks(about, &shown.replacen("\n\n", "\n", 1))?;
            Ok(block.map(|block| block.replacen('\n', "\n\n", 1)))
        }
        "figure" => runs.figure(about, shown),
        "printed" => runs.printed(about),
        "session" => runs.sessions().answer(about),
        // A benchmark writes these into its own page.
        "measured" => Ok(None),
        _ => Err(format!("no figure has the key `{key}`")),
    }
}

/// The page that `scripts/all.rhai` makes of headers, checks and pictures.
const GALLERY: &str = "scripts/README.md";

/// A page or a script, as it is and with the figures of today.
pub struct FigurePage {
    pub path: PathBuf,
    pub shown: String,
    pub computed: String,
    /// A line for each figure that differs.
    pub differences: Vec<String>,
}

/// All pages and experiments of the repository.
pub fn all(runs: &Runs) -> Result<Vec<FigurePage>, String> {
    paths().into_iter().map(|path| figured(path, runs)).collect()
}

fn paths() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "scripts/README.md"].map(PathBuf::from).into();
    for (folder, extension) in [("docs", "md"), ("scripts", "rhai")] {
        let entries = std::fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
        let names = entries.map(|entry| Path::new(folder).join(entry.file_name()));
        found.extend(names.filter(|path| path.extension().is_some_and(|found| found == extension)));
    }
    found.sort();
    found
}

fn figured(path: PathBuf, runs: &Runs) -> Result<FigurePage, String> {
    let shown = std::fs::read_to_string(root().join(&path)).map_err(|e| format!("{}: {e}", path.display()))?;
    // The gallery is made of headers and pictures by `scripts/all.rhai`, figures apart.
    let made = runs.gallery().filter(|_| path == Path::new(GALLERY)).unwrap_or(&shown);
    let mut known = BTreeMap::new();
    let mut differences = Vec::new();
    if path.extension().is_some_and(|extension| extension == "md") {
        let bare = |page: &str| marks::of_page(page, |_, _| Ok(String::new()));
        if bare(made)? != bare(&shown)? {
            differences.push(format!("{}: what stands beside its figures is not what was made", path.display()));
        }
        marks::of_page(&shown, |key, inside| {
            known.insert(key.to_string(), inside.to_string());
            Ok(String::new())
        })?;
    }
    let mut of = |key: &str, inside: &str| -> Result<String, String> {
        let before = known.get(key).map_or(inside, String::as_str);
        let now = figure(key, before, runs)?.unwrap_or_else(|| before.to_string());
        // Figures may be compared on another machine than the one that made them.
        if now != before && key != "made" {
            differences.push(format!("{}, {key}:\n  shown     {before}\n  computed  {now}", path.display()));
        }
        Ok(now)
    };
    let computed = match path.extension() {
        Some(extension) if extension == "rhai" => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            marks::of_header(&shown, |before| of(&format!("header {name}"), before))
        }
        _ => marks::of_page(made, of),
    }
    .map_err(|why| format!("{}: {why}", path.display()))?;
    let ranged =
        if path == Path::new("README.md") { runs.sessions().in_comments(&computed)? } else { computed.clone() };
    let changed = ranged.lines().zip(computed.lines()).filter(|(now, before)| now != before);
    differences
        .extend(changed.map(|(now, before)| format!("{}:\n  shown     {before}\n  computed  {now}", path.display())));
    let computed = ranged;
    Ok(FigurePage { path, shown, computed, differences })
}
