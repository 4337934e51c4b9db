//! Contents of a site: pages, the sources, pictures and reports that they link to, and their order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{REFERENCE, links, markdown};
use crate::base::Result;
use crate::base::files::{Files, utf8};
use crate::err;
use crate::report::html::page::is_sealed;
use crate::script::docs::guide::EmbeddedFile;

/// Pages that are there without a link.
const ROOTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "scripts/README.md"];
/// Page that says in which order pages come: headings, and lists of links below them.
const CONTENTS: &str = "docs/README.md";
const PICTURES: &[&str] = &["png", "svg", "jpg", "jpeg", "gif", "webp"];
/// End of the names of saved reports, which go along as they are.
const REPORT: &str = "html";
/// Address of reports that pages inside the program link to: they are too large to be inside, too.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
/// Texts that become pages of code: the end of their names, and the language.
const SOURCES: &[(&str, &str)] = &[
    ("rhai", "rhai"),
    ("rs", "rust"),
    ("py", "python"),
    ("toml", "toml"),
    ("ipynb", "json"),
    ("json", "json"),
    ("txt", "text"),
    ("LICENSE", "text"),
];

pub enum SiteContent {
    /// A page of Markdown.
    Page(String),
    /// A text in a language.
    Source(&'static str, String),
}

/// Pages by their paths from the folder, as links name them.
pub struct SiteSource {
    pub pages: BTreeMap<String, SiteContent>,
    pub assets: Vec<(String, Vec<u8>)>,
    /// Reports that are in the repository and not in the program.
    left_out: BTreeSet<String>,
    /// The title of each page of Markdown, and the anchors on it.
    headings: BTreeMap<String, (String, Vec<String>)>,
}

/// The source of pages.
pub enum PageFolder<'a> {
    Folder(&'a Path, &'a Files),
    /// Files that the program has inside.
    Inside(&'static [EmbeddedFile]),
}

/// Gathers all pages that can be reached, and those given.
pub fn pages(place: &PageFolder, given: Vec<(String, String)>) -> Result<SiteSource> {
    let mut found =
        SiteSource { pages: BTreeMap::new(), assets: Vec::new(), left_out: BTreeSet::new(), headings: BTreeMap::new() };
    let mut waiting = place.roots()?;
    for (path, text) in given {
        waiting.extend(found.add_page(&path, text));
    }
    while let Some(path) = waiting.pop() {
        if !found.pages.contains_key(&path) && found.assets.iter().all(|(known, _)| *known != path) {
            waiting.extend(place.add(&mut found, &path)?);
        }
    }
    if !found.pages.contains_key("README.md") {
        let _no_links = found.add_page("README.md", "# Contents\n".into());
    }
    for (path, _) in &found.assets {
        if let Some(page) = found.pages.keys().find(|page| links::file(page) == *path) {
            return Err(err!(Format, "expected a name of its own, found {path}, which the page of {page} has, too")
                .hint("give one of the two files another name"));
        }
    }
    Ok(found)
}

impl PageFolder<'_> {
    /// Lists the pages that are there without a link.
    pub fn roots(&self) -> Result<Vec<String>> {
        let mut roots: Vec<String> = self.names("docs").iter().map(|name| format!("docs/{name}")).collect();
        roots.retain(|path| path.ends_with(".md"));
        for root in ROOTS {
            if self.has(root)? {
                roots.push(root.to_string());
            }
        }
        Ok(roots)
    }

    /// Returns whether there is a file or a folder that belongs to the site.
    fn has(&self, path: &str) -> Result<bool> {
        match self {
            Self::Folder(folder, files) => {
                let place = folder.join(path);
                // A link of the file system may lead out of the folder, whatever its name says.
                let access = files.access();
                let is_inside = access.to_read(&place)?.starts_with(access.to_read(folder)?);
                Ok(is_inside && files.has(&place)?)
            }
            Self::Inside(files) => Ok(files.iter().any(|(known, _)| below(known, path).is_some())),
        }
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        match self {
            Self::Folder(folder, files) => files.bytes(&folder.join(path)),
            Self::Inside(files) => {
                let file = files.iter().find(|(known, _)| *known == path);
                file.map(|(_, content)| content.to_vec()).ok_or_else(|| err!(Bug, "there is no file {path} inside"))
            }
        }
    }

    fn text(&self, path: &str) -> Result<String> {
        utf8(self.bytes(path)?).map_err(|e| e.within(path))
    }

    /// Lists the names in a folder, those of folders with a slash at the end.
    fn names(&self, folder: &str) -> Vec<String> {
        match self {
            Self::Folder(root, files) => files.names(&root.join(folder)),
            Self::Inside(files) => {
                let inside = files.iter().filter_map(|(known, _)| below(known, folder));
                inside.filter_map(|rest| rest.split_inclusive('/').next()).map(String::from).collect()
            }
        }
    }

    /// Adds what is at a path; gives back what it links to. What is not there is left to the check of links.
    fn add(&self, found: &mut SiteSource, path: &str) -> Result<Vec<String>> {
        let ending = path.rsplit(['.', '/']).next().unwrap_or_default();
        let is_there = self.has(path)?;
        if !is_there && ending == REPORT && matches!(self, Self::Inside(_)) {
            found.left_out.insert(path.into());
        }
        if !is_there || path.starts_with(REFERENCE) {
            return Ok(Vec::new());
        }
        let source = SOURCES.iter().find(|(known, _)| *known == ending);
        Ok(match (ending, source) {
            ("md", _) => found.add_page(path, self.text(path)?),
            (_, Some(&(_, language))) => {
                found.pages.insert(path.into(), SiteContent::Source(language, self.text(path)?));
                Vec::new()
            }
            (ending, None) if PICTURES.contains(&ending) => {
                found.assets.push((path.into(), self.bytes(path)?));
                Vec::new()
            }
            (REPORT, None) => {
                found.assets.push((path.into(), self.report(path)?));
                Vec::new()
            }
            _ => self.listing(found, path),
        })
    }

    /// Reads a saved report. Other pages, which libraries of others may have, could run and load anything.
    fn report(&self, path: &str) -> Result<Vec<u8>> {
        let bytes = self.bytes(path)?;
        if is_sealed(&bytes) {
            return Ok(bytes);
        }
        Err(err!(Format, "{path}: expected a saved report, whose policy allows no connection, found another page")
            .hint("a site takes no other pages of HTML along; link to them by https://"))
    }

    /// Shows a folder as the list of its sources, unless it has a README of its own.
    fn listing(&self, found: &mut SiteSource, path: &str) -> Vec<String> {
        let mut names = self.names(path);
        names.sort();
        if names.iter().any(|name| name == "README.md") {
            return vec![format!("{path}/README.md")];
        }
        names.retain(|name| SOURCES.iter().any(|(ending, _)| name.rsplit('.').next() == Some(*ending)));
        let lines: String = names.iter().map(|name| format!("- [{name}]({name})\n")).collect();
        found.add_page(&format!("{path}/README.md"), format!("# {path}\n\n{lines}"))
    }
}

/// Returns what a path has behind a folder, or nothing for the path itself.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

impl SiteSource {
    fn add_page(&mut self, path: &str, text: String) -> Vec<String> {
        let sections = markdown::sections(&text);
        let title = sections.iter().find(|section| section.level == 1).map_or(path, |section| &section.heading);
        let anchors = sections.iter().map(|section| section.anchor.clone()).collect();
        self.headings.insert(path.into(), (title.into(), anchors));
        let local = markdown::targets(&text).into_iter().filter(|target| !is_outside(target));
        let named = local.filter_map(|target| links::joined(path, target.split('#').next().unwrap_or_default()));
        let links = named.filter(|target| !target.is_empty()).collect();
        self.pages.insert(path.into(), SiteContent::Page(text));
        links
    }

    /// Returns where a link of a page leads: an address, or a file of the site with its anchor; none if nowhere.
    pub fn place(&self, page: &str, target: &str) -> Option<String> {
        if is_outside(target) {
            return ["https://", "http://"].iter().any(|start| target.starts_with(start)).then(|| target.into());
        }
        let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
        let path = if path.is_empty() { page.to_string() } else { links::joined(page, path)? };
        if self.assets.iter().any(|(known, _)| *known == path) {
            return Some(path);
        }
        if self.left_out.contains(&path) {
            return Some(format!("{REPOSITORY}{path}"));
        }
        let inside = if path.is_empty() { "README.md".into() } else { format!("{path}/README.md") };
        let path = [path, inside].into_iter().find(|path| self.pages.contains_key(path))?;
        match anchor {
            None => Some(links::file(&path)),
            Some(anchor) if self.headings.get(&path)?.1.iter().any(|known| known == anchor) => {
                Some(format!("{}#{anchor}", links::file(&path)))
            }
            Some(_) => None,
        }
    }

    /// Returns the first heading of a page, or its path.
    pub fn title(&self, path: &str) -> String {
        self.headings.get(path).map_or(path, |(title, _)| title).into()
    }

    /// Lists pages of Markdown in the order in which they are read, in named groups; the reference comes last.
    pub fn order(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = vec![(String::new(), vec!["README.md".into()])];
        if let Some(SiteContent::Page(text)) = self.pages.get(CONTENTS) {
            groups.extend(self.listed(text));
        }
        let reference = format!("{REFERENCE}README.md");
        let taken: Vec<&String> = groups.iter().flat_map(|(_, paths)| paths).collect();
        let rest = self.pages.iter().filter(|(path, content)| {
            matches!(content, SiteContent::Page(_)) && !taken.contains(path) && *path != CONTENTS && **path != reference
        });
        let (described, more): (Vec<String>, Vec<String>) =
            rest.map(|(path, _)| path.clone()).partition(|path| path.starts_with(REFERENCE));
        groups.push(("More".into(), more));
        groups.push(("Reference".into(), [vec![reference], described].concat()));
        groups.retain(|(_, paths)| !paths.is_empty());
        groups
    }

    /// Lists the groups of a page of contents: its headings of the second level, and the pages that are linked below
    /// them.
    fn listed(&self, text: &str) -> Vec<(String, Vec<String>)> {
        let mut groups = Vec::new();
        for part in text.split("\n## ").skip(1) {
            let (heading, below) = part.split_once('\n').unwrap_or((part, ""));
            let targets = markdown::targets(below).into_iter().filter(|target| !is_outside(target));
            let named =
                targets.filter_map(|target| links::joined(CONTENTS, target.split('#').next().unwrap_or_default()));
            let pages = named.filter(|path| !path.starts_with(REFERENCE) && self.pages.contains_key(path));
            groups.push((heading.trim().to_string(), pages.collect()));
        }
        groups
    }
}

/// Returns whether a link leads out of the folder, by its scheme.
fn is_outside(target: &str) -> bool {
    target.split(['/', '#']).next().is_some_and(|start| start.contains(':'))
}
