//! The architecture, checked on the parsed sources: imports go down only, also within the script floor; some crates are
//! used on one floor only; files are opened in one place; there are no cycles between files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// Lowest first; the kernels are a crate of their own.
const FLOORS: &[&str] = &[
    "kernels",
    "base",
    "options",
    "net",
    "questions",
    "tensor",
    "training",
    "probes",
    "tokenizer",
    "model",
    "checkpoint",
    "data",
    "sae",
    "intervene",
    "features",
    "circuit",
    "diff",
    "decomposition",
    "report",
    "explorer",
    "sweep",
    "script",
    "repl",
    "jupyter",
    "mcp",
    "lsp",
    "serve",
    "cli",
];

/// Crates, and the floors that may use them; [`THROWN`] may use rhai, too.
const AT_HOME: &[(&str, &[&str])] = &[
    ("rhai", &["script", "repl", "jupyter", "mcp"]),
    ("plotters", &["report"]),
    ("plotters_backend", &["report"]),
    ("rustyline", &["repl"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("reqwest", &["net"]),
    ("axum", &["explorer", "mcp", "serve"]),
    ("hmac", &["jupyter"]),
    ("rmcp", &["mcp"]),
    ("lsp_server", &["lsp"]),
    ("lsp_types", &["lsp"]),
    ("hf_hub", &["checkpoint"]),
    ("candle_transformers", &["model", "checkpoint"]),
    ("pulldown_cmark", &["report", "script"]),
];

/// Errors as scripts catch them, where the crate of their type is.
const THROWN: &str = "base/error/thrown.rs";

/// Functions that open files and sockets, by the ends of their paths, and the files that may use them.
const OPENING: &[&[&str]] = &[
    &["File", "open"],
    &["File", "create"],
    &["File", "options"],
    &["fs", "write"],
    &["fs", "read"],
    &["fs", "read_to_string"],
    &["OpenOptions"],
    &["TcpStream"],
    &["TcpListener"],
    &["UdpSocket"],
    &["reqwest"],
];
const MAY_OPEN: &[&str] = &[
    "base/disk.rs",
    "base/files.rs",
    "base/files/lock.rs",
    "base/files/own.rs",
    "base/files/plain.rs",
    "base/memory_disk.rs",
    "net/listen.rs",
    "net/mod.rs",
    "net/objects/connection.rs",
    "net/partial.rs",
];

/// The parts of the language, a folder for one floor of the core or several, lowest first. The folders `engine`, `docs`,
/// `language` and `session` are below them.
const PARTS: &[&str] = &[
    "tensor",
    "probes",
    "model",
    "data",
    "sae",
    "features",
    "decomposition",
    "hooks",
    "optim",
    "intervene",
    "circuit",
    "diff",
    "report",
    "plot",
];

/// The list of all parts, from which the engine is built.
const LIST_OF_PARTS: &str = "script/session/build.rs";

/// The folders of the kernels, lowest first; `lib.rs` hands on what they make.
const ROOMS: &[&str] = &[
    "base",
    "numbers",
    "tape",
    "arguments",
    "device",
    "linear",
    "rows",
    "norm",
    "attention",
    "recurrence",
    "losses",
    "optimiser",
    "sparse",
];

/// A Rust path in segments; that of another crate begins with `::`.
type Parts = Vec<String>;

/// A file of the library, without its tests.
struct SourceFile {
    /// From `src`, `methods/src` or `core/src`; `kernels/..` from `kernels/src`.
    file: String,
    module: Parts,
    /// Every path that the file names, from the root of the crate or of another one.
    named: BTreeSet<Parts>,
    /// Its re-exports, `pub use`: the name here, and the path.
    handed_on: Vec<(String, Parts)>,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The sources of all crates, with the names that the floors know them by.
fn all_files() -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    for (sources, before) in [("src", ""), ("methods/src", ""), ("core/src", ""), ("kernels/src", "kernels/")] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources);
        let mut found = Vec::new();
        files(&root, &mut found);
        assert!(found.len() > 20, "{sources}");
        let name = |path: &PathBuf| format!("{before}{}", path.strip_prefix(&root).unwrap().display());
        all.extend(found.into_iter().map(|path| (name(&path), path)));
    }
    all.sort();
    all
}

/// `src/sae/fit/mod.rs` is the module sae::fit.
fn module_of(file: &str) -> Parts {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" | "main" => Vec::new(),
        "kernels/lib" => vec!["kernels".into()],
        path => path.split('/').map(String::from).collect(),
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// The library's sources; tests and what only they use are left out.
fn sources() -> &'static [SourceFile] {
    static READ: OnceLock<Vec<SourceFile>> = OnceLock::new();
    READ.get_or_init(read)
}

fn read() -> Vec<SourceFile> {
    let mut parsed = Vec::new();
    let mut tests: BTreeSet<Parts> = BTreeSet::new();
    for (file, path) in all_files() {
        let syntax = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let module = module_of(&file);
        for item in &syntax.items {
            if let Item::Mod(item) = item
                && is_test(&item.attrs)
            {
                tests.insert(child(&module, &item.ident.to_string()));
            }
        }
        parsed.push((file, module, syntax));
    }
    parsed.retain(|(_, module, _)| !(1..=module.len()).any(|length| tests.contains(&module[..length])));
    let read = |(file, module, syntax): (String, Parts, syn::File)| {
        let mut reader = PathCollector { here: module.clone(), children: BTreeSet::new(), ..PathCollector::default() };
        reader.visit_file(&syntax);
        SourceFile { file, module, named: reader.named, handed_on: reader.handed_on }
    };
    parsed.into_iter().map(read).collect()
}

fn child(module: &[String], name: &str) -> Parts {
    module.iter().cloned().chain([name.to_string()]).collect()
}

/// Collects the paths that a file names.
#[derive(Default)]
struct PathCollector {
    here: Parts,
    /// Modules within the current module.
    children: BTreeSet<String>,
    named: BTreeSet<Parts>,
    handed_on: Vec<(String, Parts)>,
}

impl PathCollector {
    /// A path from the root of a crate; None if it begins with a local name.
    fn absolute(&self, path: &[String]) -> Option<Parts> {
        let (first, rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" if self.here.first().is_some_and(|first| first == "kernels") => vec!["kernels".into()],
            "crate" | "microtome" | "microtome_methods" | "microtome_core" => Vec::new(),
            "kernels" => vec!["kernels".into()],
            "self" => self.here.clone(),
            "super" => self.here.split_last()?.1.to_vec(),
            own if self.children.contains(own) => child(&self.here, own),
            other => vec![format!("::{other}")],
        };
        for part in rest {
            match part.as_str() {
                "super" => drop(at.pop()),
                part => at.push(part.into()),
            }
        }
        Some(at)
    }

    fn name(&mut self, path: &[String]) {
        let found = self.absolute(path);
        self.named.extend(found);
    }

    fn imports(&self, tree: &UseTree, before: &Parts, found: &mut Vec<(String, Parts)>) {
        match tree {
            UseTree::Path(path) => self.imports(&path.tree, &child(before, &path.ident.to_string()), found),
            UseTree::Name(name) if name.ident == "self" => {
                found.push((before.last().cloned().unwrap_or_default(), before.clone()));
            }
            UseTree::Name(name) => found.push((name.ident.to_string(), child(before, &name.ident.to_string()))),
            UseTree::Rename(name) => found.push((name.rename.to_string(), child(before, &name.ident.to_string()))),
            UseTree::Glob(_) => found.push(("*".into(), before.clone())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.imports(tree, before, found)),
        }
    }
}

impl<'ast> Visit<'ast> for PathCollector {
    fn visit_file(&mut self, file: &'ast syn::File) {
        self.children = modules(&file.items);
        visit::visit_file(self, file);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let Some((_, items)) = &module.content else { return };
        let inside = child(&self.here, &module.ident.to_string());
        let here = std::mem::replace(&mut self.here, inside);
        let children = std::mem::replace(&mut self.children, modules(items));
        items.iter().for_each(|item| self.visit_item(item));
        (self.here, self.children) = (here, children);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        self.imports(&item.tree, &Vec::new(), &mut found);
        for (name, path) in found {
            let Some(path) = self.absolute(&path) else { continue };
            match item.vis {
                Visibility::Inherited => drop(self.named.insert(path)),
                _ => self.handed_on.push((name, path)),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Parts = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.name(&parts);
        }
        visit::visit_path(self, path);
    }

    /// The tokens of a macro are not parsed, only split into words.
    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        let text = mac.tokens.to_string();
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || "(){}[],;<>&!.".contains(c)).collect();
        let mut path: Parts = Vec::new();
        for word in words.iter().flat_map(|word| word.split_inclusive("::")).filter(|word| !word.is_empty()) {
            let joint = word.ends_with("::");
            let name = word.trim_end_matches("::");
            let follows = path.last().is_some_and(String::is_empty);
            if !name.is_empty() {
                if follows {
                    path.pop();
                } else {
                    path.clear();
                }
                path.push(name.into());
            }
            if joint && !path.is_empty() {
                path.push(String::new());
            } else if path.len() > 1 {
                self.name(&path);
            }
        }
        visit::visit_macro(self, mac);
    }
}

fn modules(items: &[Item]) -> BTreeSet<String> {
    let name = |item: &Item| match item {
        Item::Mod(item) if !is_test(&item.attrs) => Some(item.ident.to_string()),
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

fn floor_of(module: &[String]) -> Option<usize> {
    FLOORS.iter().position(|floor| module.first().is_some_and(|first| first == floor))
}

/// Everything that a file names, its re-exports included.
fn spoken(source: &SourceFile) -> impl Iterator<Item = &Parts> {
    source.named.iter().chain(source.handed_on.iter().map(|(_, path)| path))
}

#[test]
fn imports_go_down_only() {
    let mut arrows = Vec::new();
    for source in sources() {
        let Some(floor) = floor_of(&source.module) else { continue };
        for path in spoken(source).filter(|path| floor_of(path).is_some_and(|above| above > floor)) {
            arrows.push(format!("{} names {}", source.file, path.join("::")));
        }
    }
    assert!(arrows.is_empty(), "\n{}", arrows.join("\n"));
}

fn part_of(module: &[String]) -> Option<usize> {
    match module {
        [floor, part, ..] if floor == "script" => PARTS.iter().position(|known| known == part),
        _ => None,
    }
}

/// The engine imports no part of the language, and each part only those below it.
#[test]
fn parts_of_the_language_import_from_those_below_only() {
    let mut arrows = BTreeSet::new();
    for source in sources() {
        if source.module.first().is_none_or(|floor| floor != "script") || source.file == LIST_OF_PARTS {
            continue;
        }
        let here = part_of(&source.module);
        for path in spoken(source) {
            if part_of(path).is_some_and(|above| here.is_none_or(|here| above > here)) {
                arrows.insert(format!("{} names {}", source.file, path.join("::")));
            }
        }
    }
    let arrows: Vec<String> = arrows.into_iter().collect();
    assert!(arrows.is_empty(), "\n{}", arrows.join("\n"));
}

fn room_of(module: &[String]) -> Option<usize> {
    match module {
        [floor, room, ..] if floor == "kernels" => ROOMS.iter().position(|known| known == room),
        _ => None,
    }
}

/// Each folder of the kernels imports from those below only, and from `lib.rs` nothing that it hands on.
#[test]
fn rooms_of_the_kernels_import_from_those_below_only() {
    let mut arrows = BTreeSet::new();
    for source in sources().iter().filter(|source| source.module.len() > 1 && source.module[0] == "kernels") {
        let Some(here) = room_of(&source.module) else {
            arrows.insert(format!("{} is in no room", source.file));
            continue;
        };
        for path in spoken(source).filter(|path| path.len() > 1 && path[0] == "kernels") {
            if room_of(path).is_none_or(|above| above > here) {
                arrows.insert(format!("{} names {}", source.file, path.join("::")));
            }
        }
    }
    let arrows: Vec<String> = arrows.into_iter().collect();
    assert!(arrows.is_empty(), "\n{}", arrows.join("\n"));
}

#[test]
fn crates_stay_on_their_floor() {
    let mut strays = BTreeSet::new();
    for source in sources().iter().filter(|source| source.file != THROWN) {
        let floor = floor_of(&source.module).map_or("", |floor| FLOORS[floor]);
        for (name, homes) in AT_HOME {
            let is_named = spoken(source).any(|path| path.first().is_some_and(|first| *first == format!("::{name}")));
            if is_named && !homes.contains(&floor) {
                strays.insert(format!("{} names {name}, which is at home in {homes:?}", source.file));
            }
        }
    }
    let strays: Vec<String> = strays.into_iter().collect();
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

/// Whether a path contains these consecutive segments.
fn holds(path: &[String], parts: &[&str]) -> bool {
    path.windows(parts.len()).any(|window| window.iter().zip(parts).all(|(a, b)| a.trim_start_matches("::") == *b))
}

#[test]
fn files_and_sockets_are_opened_in_one_place() {
    let mut strays = Vec::new();
    for source in sources().iter().filter(|source| !MAY_OPEN.contains(&source.file.as_str())) {
        for path in spoken(source).filter(|path| OPENING.iter().any(|way| holds(path, way))) {
            strays.push(format!("{} uses {}", source.file, path.join("::")));
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

/// Untrusted JSON is parsed within a memory budget, which serde does not have.
#[test]
fn json_is_read_in_one_place() {
    let ways = ["from_str", "from_slice", "from_reader"];
    let mut strays = Vec::new();
    for source in sources().iter().filter(|source| source.file != "base/json.rs") {
        for way in ways.iter().filter(|way| spoken(source).any(|path| holds(path, &["serde_json", way]))) {
            strays.push(format!("{} uses serde_json::{way}", source.file));
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = all_files().into_iter();
    let silent: Vec<_> = files.filter(|(_, p)| !std::fs::read_to_string(p).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

/// The files that each file depends on: those that define what it names, re-exports resolved.
fn arrows(sources: &[SourceFile]) -> Vec<BTreeSet<usize>> {
    let of_module: BTreeMap<&[String], usize> =
        sources.iter().enumerate().map(|(number, source)| (source.module.as_slice(), number)).collect();
    let target = |path: &[String]| {
        let mut path = path.to_vec();
        // Chains of re-exports are followed up to this depth, so that a cycle of them ends.
        for _ in 0..8 {
            let length = (1..=path.len()).rev().find(|length| of_module.contains_key(&path[..*length]))?;
            let number = of_module[&path[..length]];
            let handed_on = path.get(length).and_then(|name| {
                let known = sources[number].handed_on.iter();
                known.clone().find(|(known, _)| known == name).map(|(_, to)| [to, &path[length + 1..]].concat())
            });
            match handed_on {
                Some(next) if next != path => path = next,
                _ => return Some(number),
            }
        }
        None
    };
    let needs = |source: &SourceFile| {
        // A folder's mod.rs and its files are one module.
        let is_own = |other: &usize| source.module.starts_with(&sources[*other].module);
        source.named.iter().filter_map(|path| target(path)).filter(|other| !is_own(other)).collect()
    };
    sources.iter().map(needs).collect()
}

/// The strongly connected components of more than one file (Tarjan 1972).
fn circles(arrows: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    struct Search<'a> {
        arrows: &'a [BTreeSet<usize>],
        order: Vec<Option<(usize, usize)>>,
        open: Vec<usize>,
        next: usize,
        found: Vec<Vec<usize>>,
    }
    impl Search<'_> {
        fn from(&mut self, node: usize) -> usize {
            let index = self.next;
            self.next += 1;
            let mut low = index;
            self.order[node] = Some((index, usize::MAX));
            self.open.push(node);
            let arrows = self.arrows;
            for other in &arrows[node] {
                match self.order[*other] {
                    None => low = low.min(self.from(*other)),
                    Some((seen, _)) if self.open.contains(other) => low = low.min(seen),
                    Some(_) => {}
                }
            }
            if low == index {
                let at = self.open.iter().position(|open| *open == node).unwrap();
                let part = self.open.split_off(at);
                if part.len() > 1 {
                    self.found.push(part);
                }
            }
            low
        }
    }
    let none = vec![None; arrows.len()];
    let mut search = Search { arrows, order: none, open: Vec::new(), next: 0, found: Vec::new() };
    for node in 0..arrows.len() {
        if search.order[node].is_none() {
            search.from(node);
        }
    }
    search.found
}

#[test]
fn files_need_each_other_in_no_circle() {
    let sources = sources();
    let arrows = arrows(sources);
    let mut found: Vec<String> = Vec::new();
    for circle in circles(&arrows) {
        let inside = |number: &&usize| circle.contains(number);
        let line = |from: &usize| {
            let to: Vec<&str> = arrows[*from].iter().filter(inside).map(|to| sources[*to].file.as_str()).collect();
            format!("  {} needs {}", sources[*from].file, to.join(", "))
        };
        let mut lines: Vec<String> = circle.iter().map(line).collect();
        lines.sort();
        found.push(format!("a circle of {} files:\n{}", circle.len(), lines.join("\n")));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
