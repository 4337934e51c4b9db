//! Resources: the guide, the reference, the glossary, experiments with their figures, records and reports of runs.

use std::path::Component;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};

use super::desk::Desk;
use crate::base::memory::human;
use crate::common::*;
use crate::script::docs::guide;
use crate::script::session::record;

/// The scheme of all addresses.
const SCHEME: &str = "microtome://";

/// Largest number of bytes of a resource.
const MOST_RESOURCE: usize = 1 << 20;

/// Largest number of runs that are listed, and how deep folders are searched for reports.
const MOST_RUNS: usize = 200;
const DEEPEST: usize = 4;

/// A kind of resource: its address with the name left open.
struct ResourceKind {
    folder: &'static str,
    name: &'static str,
    about: &'static str,
    mime: &'static str,
}

const KINDS: [ResourceKind; 6] = [
    ResourceKind { folder: "guide", name: "page", about: "A page of the guide", mime: "text/markdown" },
    ResourceKind {
        folder: "reference",
        name: "name",
        about: "A module or type of the reference",
        mime: "text/markdown",
    },
    ResourceKind {
        folder: "experiments",
        name: "name",
        about: "The script of an experiment (NAME.rhai), or its figure (NAME.png)",
        mime: "text/plain",
    },
    ResourceKind { folder: "examples", name: "name", about: "An example of the guide", mime: "text/plain" },
    ResourceKind {
        folder: "runs",
        name: "folder",
        about: "The record of a run in the output folder",
        mime: "application/json",
    },
    ResourceKind {
        folder: "reports",
        name: "path",
        about: "A page or picture in the output folder",
        mime: "text/html",
    },
];

/// Lists addresses whose names are left open.
pub fn templates() -> Vec<ResourceTemplate> {
    let template = |kind: &ResourceKind| {
        let address = format!("{SCHEME}{}/{{{}}}", kind.folder, kind.name);
        ResourceTemplate::new(address, kind.folder).with_description(kind.about).with_mime_type(kind.mime)
    };
    KINDS.iter().map(template).collect()
}

/// Lists what can be read by now.
pub fn list(desk: &Desk) -> Vec<Resource> {
    let mut all = vec![
        resource(
            "skill",
            "skill",
            "How to work honestly with this tool, and a cheat sheet of its calls",
            "text/markdown",
        ),
        resource("glossary", "glossary", "The words of the field, each with one meaning", "text/markdown"),
    ];
    for page in guide::pages().filter(|page| page.path.starts_with("docs/")) {
        let title = page.text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(page.path);
        let name = stem(page.path);
        all.push(resource(&format!("guide/{name}"), name, title, "text/markdown"));
    }
    for (name, _) in desk.reference() {
        let name = stem(&name);
        all.push(resource(&format!("reference/{name}"), name, "A part of the reference", "text/markdown"));
    }
    for (path, bytes) in guide::files() {
        let Some((folder, file)) = path.rsplit_once('/') else { continue };
        match (folder, file.rsplit_once('.')) {
            ("scripts", Some((_, "rhai"))) => {
                all.push(resource(&format!("experiments/{file}"), file, &question(bytes), "text/plain"));
            }
            ("scripts/gallery", Some((name, "png"))) => {
                let about = format!("The figure of {name}");
                all.push(resource(&format!("experiments/{file}"), file, &about, "image/png"));
            }
            ("examples" | "examples/tasks", Some((_, "rhai"))) => {
                all.push(resource(&format!("examples/{file}"), file, &question(bytes), "text/plain"));
            }
            _ => {}
        }
    }
    let files = desk.files();
    let mut found = Vec::new();
    written(&files, Path::new(""), 0, &mut found);
    for path in found {
        let shown = path.display().to_string();
        all.push(match path.parent().filter(|_| path.ends_with(record::FILE)) {
            Some(run) => {
                let run = run.display().to_string();
                resource(&format!("runs/{run}"), &run, "The record of a run", "application/json")
            }
            None => resource(&format!("reports/{shown}"), &shown, "A page of a report", mime_of(&shown)),
        });
    }
    all
}

fn resource(address: &str, name: &str, about: &str, mime: &str) -> Resource {
    Resource::new(format!("{SCHEME}{address}"), name).with_description(about).with_mime_type(mime)
}

/// Returns the first line of a script, which says what it asks.
fn question(script: &[u8]) -> String {
    let text = String::from_utf8_lossy(script);
    text.lines().next().unwrap_or_default().trim_start_matches(['/', ' ']).to_string()
}

/// Returns the name of a file without its folder and ending.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Finds records and pages below a folder of the output folder.
fn written(files: &Files, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let mut names = files.names(&files.access().out().join(folder));
    names.sort();
    for name in names {
        if found.len() >= MOST_RUNS {
            return;
        }
        match name.strip_suffix('/') {
            Some(inner) if depth < DEEPEST => written(files, &folder.join(inner), depth + 1, found),
            None if name == record::FILE || name == "index.html" => found.push(folder.join(name)),
            _ => {}
        }
    }
}

/// Reads a resource.
pub fn read(desk: &Desk, address: &str) -> Result<ReadResourceResult> {
    let unknown = || {
        err!(Name, "there is no resource {address}")
            .hint("resources/list has all of them, and resources/templates/list their kinds")
    };
    let path = address.strip_prefix(SCHEME).ok_or_else(unknown)?;
    let (folder, name) = path.split_once('/').unwrap_or((path, ""));
    let embedded = |paths: &[String]| {
        let found = guide::files().iter().find(|(path, _)| paths.iter().any(|one| one == path));
        found.map(|(path, bytes)| ((*path).to_string(), bytes.to_vec())).ok_or_else(unknown)
    };
    let text = |text: String, kind: &str| (format!("x.{kind}"), text.into_bytes());
    let (path, bytes) = match (folder, name) {
        ("skill", "") => text(desk.skill(), "md"),
        ("glossary", "") => text(glossary().ok_or_else(unknown)?, "md"),
        ("guide", "") => embedded(&["docs/README.md".into()])?,
        ("guide", name) => embedded(&[format!("docs/{name}.md"), format!("docs/{name}")])?,
        ("reference", name) => {
            let pages = desk.reference();
            let wanted = if name.is_empty() { "README" } else { name };
            let found = pages.into_iter().find(|(page, _)| stem(page).eq_ignore_ascii_case(wanted));
            text(found.ok_or_else(unknown)?.1, "md")
        }
        ("experiments", "") => embedded(&["scripts/README.md".into()])?,
        ("experiments", name) => {
            embedded(&[format!("scripts/{name}"), format!("scripts/{name}.rhai"), format!("scripts/gallery/{name}")])?
        }
        ("examples", name) => {
            embedded(&[format!("examples/{name}"), format!("examples/{name}.rhai"), format!("examples/tasks/{name}")])?
        }
        ("runs", run) if !run.is_empty() => {
            let file = Path::new(run).join(record::FILE);
            of_output(desk, &file, address)?
        }
        ("reports", file) if !file.is_empty() => of_output(desk, Path::new(file), address)?,
        _ => return Err(unknown()),
    };
    Ok(ReadResourceResult::new(vec![contents(&path, bytes, address)?]))
}

/// Reads a file below the output folder.
fn of_output(desk: &Desk, file: &Path, address: &str) -> Result<(String, Vec<u8>)> {
    if !file.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(err!(Access, "{address} leads out of the output folder"));
    }
    let files = desk.files();
    let bytes = files.bytes(&files.access().out().join(file)).map_err(|error| shown_without_folder(error, file))?;
    Ok((file.display().to_string(), bytes))
}

/// Names a file in an error as the address does.
fn shown_without_folder(error: Error, file: &Path) -> Error {
    err!(File, "cannot read {} in the output folder", file.display()).maybe_hint(error.hint)
}

fn contents(path: &str, bytes: Vec<u8>, address: &str) -> Result<ResourceContents> {
    if bytes.len() > MOST_RESOURCE {
        return Err(err!(Memory, "{address} has {}", human(bytes.len() as u128)).hint(format!(
            "a resource is read up to {}; look into the file with a script",
            human(MOST_RESOURCE as u128)
        )));
    }
    let mime = mime_of(path);
    Ok(match String::from_utf8(bytes) {
        Ok(text) => ResourceContents::text(text, address).with_mime_type(mime),
        Err(other) => ResourceContents::blob(STANDARD.encode(other.into_bytes()), address).with_mime_type(mime),
    })
}

fn mime_of(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("md") => "text/markdown",
        Some("html") => "text/html",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => "text/plain",
    }
}

/// Returns the glossary, which is a part of the page on how the program is made.
fn glossary() -> Option<String> {
    let (_, bytes) = guide::files().iter().find(|(path, _)| *path == "ARCHITECTURE.md")?;
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, after) = text.split_once("\n## Glossary\n")?;
    let end = after.find("\n## ").unwrap_or(after.len());
    Some(format!("# Glossary\n{}", &after[..end]))
}
