//! What a site is made of: pages, the sources and pictures that they link to, and their order.

use std::collections::BTreeMap;
use std::path::Path;

use super::{REFERENCE, markdown, places};
use crate::base::Result;
use crate::base::files::Files;

/// Pages that are there without a link.
const ROOTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "scripts/README.md"];
/// Says in which order pages come: headings, and lists of links below them.
const CONTENTS: &str = "docs/README.md";
const PICTURES: &[&str] = &["png", "svg", "jpg", "jpeg", "gif", "webp"];
/// Texts that become pages of code: the end of their names, and the language.
const SOURCES: &[(&str, &str)] = &[
    ("rhai", "rhai"),
    ("rs", "rust"),
    ("py", "python"),
    ("toml", "toml"),
    ("json", "json"),
    ("txt", "text"),
    ("LICENSE", "text"),
];

pub enum Content {
    /// Markdown.
    Page(String),
    /// A text in a language.
    Source(&'static str, String),
}

/// Pages by their paths from the folder, as links name them.
pub struct Gathered {
    pub pages: BTreeMap<String, Content>,
    pub assets: Vec<(String, Vec<u8>)>,
    /// The title of each page of Markdown, and the anchors on it.
    headings: BTreeMap<String, (String, Vec<String>)>,
}

/// All pages that can be reached, and those given.
pub fn pages(folder: &Path, files: &Files, given: Vec<(String, String)>) -> Result<Gathered> {
    let mut found = Gathered { pages: BTreeMap::new(), assets: Vec::new(), headings: BTreeMap::new() };
    let mut docs: Vec<String> = files.names(&folder.join("docs")).iter().map(|name| format!("docs/{name}")).collect();
    docs.retain(|path| path.ends_with(".md"));
    let mut waiting: Vec<String> = docs;
    for root in ROOTS {
        if files.has(&folder.join(root))? {
            waiting.push(root.to_string());
        }
    }
    for (path, text) in given {
        waiting.extend(found.add_page(&path, text));
    }
    let reading = Reading { folder, files };
    while let Some(path) = waiting.pop() {
        if !found.pages.contains_key(&path) && found.assets.iter().all(|(known, _)| *known != path) {
            waiting.extend(reading.add(&mut found, &path)?);
        }
    }
    if !found.pages.contains_key("README.md") {
        let _no_links = found.add_page("README.md", "# Contents\n".into());
    }
    Ok(found)
}

struct Reading<'a> {
    folder: &'a Path,
    files: &'a Files,
}

impl Reading<'_> {
    /// Adds what is at a path; gives back what it links to. What is not there is left to the check of links.
    fn add(&self, found: &mut Gathered, path: &str) -> Result<Vec<String>> {
        let place = self.folder.join(path);
        // A link of the file system may lead out of the folder, whatever its name says.
        let access = self.files.access();
        let is_inside = access.to_read(&place)?.starts_with(access.to_read(self.folder)?);
        if !is_inside || !self.files.has(&place)? || path.starts_with(REFERENCE) {
            return Ok(Vec::new());
        }
        let ending = path.rsplit(['.', '/']).next().unwrap_or_default();
        let source = SOURCES.iter().find(|(known, _)| *known == ending);
        Ok(match (ending, source) {
            ("md", _) => found.add_page(path, self.files.text(&place)?),
            (_, Some(&(_, language))) => {
                found.pages.insert(path.into(), Content::Source(language, self.files.text(&place)?));
                Vec::new()
            }
            (ending, None) if PICTURES.contains(&ending) => {
                found.assets.push((path.into(), self.files.bytes(&place)?));
                Vec::new()
            }
            _ => self.listing(found, path),
        })
    }

    /// A folder is shown as the list of its sources, unless it has a README of its own.
    fn listing(&self, found: &mut Gathered, path: &str) -> Vec<String> {
        let mut names = self.files.names(&self.folder.join(path));
        names.sort();
        if names.iter().any(|name| name == "README.md") {
            return vec![format!("{path}/README.md")];
        }
        names.retain(|name| SOURCES.iter().any(|(ending, _)| name.rsplit('.').next() == Some(*ending)));
        let lines: String = names.iter().map(|name| format!("- [{name}]({name})\n")).collect();
        found.add_page(&format!("{path}/README.md"), format!("# {path}\n\n{lines}"))
    }
}

impl Gathered {
    fn add_page(&mut self, path: &str, text: String) -> Vec<String> {
        let sections = markdown::sections(&text);
        let title = sections.iter().find(|section| section.level == 1).map_or(path, |section| &section.heading);
        let anchors = sections.iter().map(|section| section.anchor.clone()).collect();
        self.headings.insert(path.into(), (title.into(), anchors));
        let local = markdown::targets(&text).into_iter().filter(|target| !is_outside(target));
        let named = local.filter_map(|target| places::joined(path, target.split('#').next().unwrap_or_default()));
        let links = named.filter(|target| !target.is_empty()).collect();
        self.pages.insert(path.into(), Content::Page(text));
        links
    }

    /// Where a link of a page leads: an address, or a file of the site with its anchor; none if nowhere.
    pub fn place(&self, page: &str, target: &str) -> Option<String> {
        if is_outside(target) {
            return ["https://", "http://"].iter().any(|start| target.starts_with(start)).then(|| target.into());
        }
        let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
        let path = if path.is_empty() { page.to_string() } else { places::joined(page, path)? };
        if self.assets.iter().any(|(known, _)| *known == path) {
            return Some(path);
        }
        let inside = if path.is_empty() { "README.md".into() } else { format!("{path}/README.md") };
        let path = [path, inside].into_iter().find(|path| self.pages.contains_key(path))?;
        match anchor {
            None => Some(places::file(&path)),
            Some(anchor) if self.headings.get(&path)?.1.iter().any(|known| known == anchor) => {
                Some(format!("{}#{anchor}", places::file(&path)))
            }
            Some(_) => None,
        }
    }

    /// The first heading of a page, or its path.
    pub fn title(&self, path: &str) -> String {
        self.headings.get(path).map_or(path, |(title, _)| title).into()
    }

    /// Pages of Markdown in the order in which they are read, in named groups; the reference comes last.
    pub fn order(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = vec![(String::new(), vec!["README.md".into()])];
        if let Some(Content::Page(text)) = self.pages.get(CONTENTS) {
            groups.extend(self.listed(text));
        }
        let reference = format!("{REFERENCE}README.md");
        let taken: Vec<&String> = groups.iter().flat_map(|(_, paths)| paths).collect();
        let rest = self.pages.iter().filter(|(path, content)| {
            matches!(content, Content::Page(_)) && !taken.contains(path) && *path != CONTENTS && **path != reference
        });
        let (described, more): (Vec<String>, Vec<String>) =
            rest.map(|(path, _)| path.clone()).partition(|path| path.starts_with(REFERENCE));
        groups.push(("More".into(), more));
        groups.push(("Reference".into(), [vec![reference], described].concat()));
        groups.retain(|(_, paths)| !paths.is_empty());
        groups
    }

    /// The groups of a page of contents: its headings of the second level, and the pages that are linked below them.
    fn listed(&self, text: &str) -> Vec<(String, Vec<String>)> {
        let mut groups = Vec::new();
        for part in text.split("\n## ").skip(1) {
            let (heading, below) = part.split_once('\n').unwrap_or((part, ""));
            let targets = markdown::targets(below).into_iter().filter(|target| !is_outside(target));
            let named =
                targets.filter_map(|target| places::joined(CONTENTS, target.split('#').next().unwrap_or_default()));
            let pages = named.filter(|path| !path.starts_with(REFERENCE) && self.pages.contains_key(path));
            groups.push((heading.trim().to_string(), pages.collect()));
        }
        groups
    }
}

/// Whether a link leads out of the folder, by its scheme.
fn is_outside(target: &str) -> bool {
    target.split(['/', '#']).next().is_some_and(|start| start.contains(':'))
}
