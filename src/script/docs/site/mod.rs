//! The site: the pages of a folder and the reference, for a browser, without a server and without a network.
//!
//! A folder is the repository or a library. Its pages are README.md, those in docs/, and what these link to; scripts that
//! they link to become pages, too, and pictures and saved reports go along. docs/README.md says which pages come in which
//! order. A link that leads nowhere is an error. Where a folder has no pages, and is no library, the site is of those inside
//! the program, whose links to reports, which are large, lead to the repository.

mod code;
mod links;
mod live;
mod markdown;
mod page_frame;
mod search;
mod site_sources;

use std::collections::BTreeMap;
use std::path::Path;

use rhai::Engine;

pub use self::links::anchors;
pub use self::live::ExampleForm;
pub use self::markdown::{unescaped, without_comments};

use self::code::FunctionLinks;
use self::live::LiveSite;
use self::site_sources::{PageFolder, SiteContent, SiteSource};
use crate::base::Result;
use crate::base::files::Files;
use crate::err;
use crate::report::html::{escape, page};
use crate::report::page_engine::PageEngine;
use crate::script::docs::{Docs, ReferenceEntry, guide, reference};
use crate::script::library::manifest::Manifest;
use crate::script::library::{MAIN, MANIFEST};

/// Folder of the pages of the reference.
const REFERENCE: &str = "docs/reference/";

/// The files of a site by their paths below its folder, and the number of pages.
pub struct SiteFiles {
    pub files: Vec<(String, Vec<u8>)>,
    pub pages: usize,
}

/// Builds the site of a folder, or of the guide where the folder has no pages. `docs` and `commands` are microtome's
/// own, which the site of a library leaves out. With an engine for pages its examples can be run.
pub fn of(
    folder: &Path,
    engine: &Engine,
    docs: &Docs,
    files: &Files,
    commands: &[(String, String)],
    live: Option<&PageEngine>,
) -> Result<SiteFiles> {
    let is_library = files.has(&folder.join(MANIFEST))?;
    let modules = if is_library { modules(folder, files)? } else { Vec::new() };
    let own = is_library.then(|| Docs::of_library(engine, &modules));
    let described = own.as_ref().unwrap_or(docs);
    let reference = reference::markdown(described, if is_library { &[] } else { commands });
    let pages = reference.into_iter().map(|(name, text)| (format!("{REFERENCE}{name}"), text)).collect();
    let here = PageFolder::Folder(folder, files);
    let place = if is_library || !here.roots()?.is_empty() { here } else { PageFolder::Inside(guide::files()) };
    let gathered = site_sources::pages(&place, pages)?;
    dead(&gathered)?;
    let live = live.map(|page_engine| LiveSite { page_engine, engine, modules });
    written(&gathered, described, docs, live.as_ref())
}

/// Lists the modules of a library by the names under which they are imported: `lib.rhai` by that of the library.
fn modules(folder: &Path, files: &Files) -> Result<Vec<(String, String)>> {
    let manifest = Manifest::parse(&files.text(&folder.join(MANIFEST))?, MANIFEST)?;
    let library = manifest.name.as_deref().unwrap_or(MAIN);
    let mut names = files.names(folder);
    names.sort();
    let called = |module| if module == MAIN { library } else { module };
    let modules = names.iter().filter_map(|name| name.strip_suffix(".rhai").map(|module| (called(module), name)));
    modules.map(|(module, name)| Ok((module.to_string(), files.text(&folder.join(name))?))).collect()
}

/// Refuses links that lead nowhere.
fn dead(gathered: &SiteSource) -> Result<()> {
    let mut found = Vec::new();
    for (path, content) in &gathered.pages {
        let SiteContent::Page(text) = content else { continue };
        let targets = markdown::targets(text).into_iter();
        let dead = targets.filter(|target| gathered.place(path, target).is_none());
        found.extend(dead.map(|target| format!("{path}: {target}")));
    }
    match found.as_slice() {
        [] => Ok(()),
        [one] => Err(err!(Format, "a link leads nowhere: {one}").hint(HINT)),
        many => Err(err!(Format, "{} links lead nowhere: {}", many.len(), many.join(", ")).hint(HINT)),
    }
}

const HINT: &str = "a link is to a file of this folder, with the anchor of a heading, or begins with https://";

/// Writes all files of the site. Code names functions of `docs`, of which `described` are on its pages.
fn written(gathered: &SiteSource, described: &Docs, docs: &Docs, live: Option<&LiveSite>) -> Result<SiteFiles> {
    let places = functions(described);
    let order = gathered.order();
    let mut files: Vec<(String, Vec<u8>)> = gathered.assets.clone();
    let mut index = Vec::new();
    for (path, content) in &gathered.pages {
        let file = links::file(path);
        let link_to = |name: &str| places.get(name).map(|place| links::link(&file, place));
        let known = FunctionLinks { docs, link: &link_to };
        let examples = live.map(|live| live.examples(path));
        let (title, inside, sections) = match content {
            SiteContent::Page(text) => {
                let link = |target: &str| {
                    gathered
                        .place(path, target)
                        .map(|place| if place.contains("://") { place } else { links::link(&file, &place) })
                };
                let sections = markdown::sections(text);
                search::add(&mut index, &gathered.title(path), &file, &sections);
                (gathered.title(path), markdown::html(text, &known, examples.as_ref(), &link), sections)
            }
            SiteContent::Source(language, text) => {
                let block = code::block(text, language, &known);
                let block = match &examples {
                    Some(examples) => examples.marked(block, text, language),
                    None => block,
                };
                let inside = format!("<h1>{}</h1>\n{block}", escape::text(path));
                (path.clone(), inside, Vec::new())
            }
        };
        let page = page_frame::PageFrame { path, title: &title, inside: &inside, sections: &sections };
        files.push((file.clone(), page_frame::page(&page, gathered, &order).into_bytes()));
    }
    let pages = gathered.pages.len();
    files.push(("site.css".into(), [page::STYLE, include_str!("site.css")].concat().into_bytes()));
    files.push(("site.js".into(), include_bytes!("site.js").to_vec()));
    files.push(("search.js".into(), search::script(&index).into_bytes()));
    files.extend(live.map(LiveSite::files).transpose()?.unwrap_or_default());
    Ok(SiteFiles { files, pages })
}

/// Returns the place of each function on the pages of the reference, by its path.
fn functions(docs: &Docs) -> BTreeMap<String, String> {
    let place = |entry: &ReferenceEntry| {
        let file = links::file(&format!("{REFERENCE}{}", reference::page_of(entry)));
        (entry.path(), format!("{file}#{}", links::anchor(&entry.path())))
    };
    docs.own().filter(|entry| entry.is_called()).map(place).collect()
}
