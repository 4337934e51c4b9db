//! Names that a script has for those who import it: its functions, what it exports, and what it imports at its top.
//! Others write them behind the name of their import, and what that means is told as where the script runs.

use lsp_types::{Location, TextEdit, Uri};

use super::diagnostics::MOST_BYTES;
use super::positions::Lines;
use super::project::{Project, ProjectText, place_of};
use super::scopes::{DefinitionKind, Scopes};
use super::view::View;
use crate::common::*;
use crate::script::Session;
use crate::script::docs::stdlib::PREFIX;
use crate::script::library::project::cleaned;
use crate::script::session::resolver::{FoundModule, Resolver};

/// A script that has a name for others.
#[derive(Clone)]
enum Home {
    File {
        /// Path by which people know the file.
        path: PathBuf,
        place: PathBuf,
    },
    /// A script inside the program or in an archive, by the name of its source.
    Inside(String),
}

/// A name that a script has for those who import it.
#[derive(Clone)]
pub struct SharedName {
    home: Home,
    name: String,
    /// Whether it is that of an import, behind which another name stands.
    is_import: bool,
}

/// Places that mean a name, and in words what was not looked at.
#[derive(Default)]
pub struct FoundPlaces {
    pub places: Vec<Location>,
    pub left_out: Vec<String>,
}

/// A text, and what changes in it.
pub struct ChangedText {
    pub uri: Uri,
    /// The version of an open text.
    pub version: Option<i32>,
    pub edits: Vec<TextEdit>,
}

/// A place to which the names of modules before a word lead.
enum Lead {
    Module(FoundModule),
    /// An import whose path is known only when the script runs.
    Computed,
    /// No import, such as a module of the language.
    Nowhere,
}

/// Words of a text that mean a name behind those of modules.
#[derive(Default)]
struct Uses {
    tokens: BTreeSet<usize>,
    /// The first word that may mean it when the script runs.
    perhaps: Option<usize>,
}

/// A way through names of modules, as it leads to the script of a name or not.
#[derive(Clone, Copy)]
enum Way {
    There,
    Perhaps,
    Elsewhere,
}

/// Says that a word would mean something else than a name in a place.
pub fn misfit(name: &str, word: &str, place: &str) -> Error {
    err!(Name, "`{word}` would mean something else than `{name}` in some places of {place}")
        .hint("choose a name that nothing else has here")
}

/// Returns whether another word can stand at these tokens of a text: all others mean what they meant, and a text that
/// can be read still can.
pub fn fits(session: &Session, scopes: &Scopes, tokens: &[usize], word: &str) -> bool {
    let Some(renamed) = scopes.renamed(tokens, word) else { return false };
    let is_defined = tokens.iter().any(|token| scopes.is_definition(*token));
    !is_defined || !session.is_readable(scopes.source()) || session.is_readable(renamed.source())
}

/// Follows the names of modules before a word of a text that is called `from`.
fn lead(resolver: &Resolver, scopes: &Scopes, from: &str, token: usize) -> Result<Lead> {
    let modules = scopes.modules_before(token);
    let Some((first, others)) = modules.split_first() else { return Ok(Lead::Nowhere) };
    let is_import = |number: &usize| scopes.definitions[*number].kind == DefinitionKind::Import;
    let Some(import) = scopes.meant(*first).filter(is_import) else { return Ok(Lead::Nowhere) };
    let Some(path) = scopes.imported(import) else { return Ok(Lead::Computed) };
    let mut found = resolver.module(path, from)?;
    for module in others {
        if found.text.len() > MOST_BYTES {
            return Ok(Lead::Nowhere);
        }
        let inner = Scopes::new(found.text.as_str());
        let Some(path) = inner.import_path(scopes.text().word(*module)) else { return Ok(Lead::Nowhere) };
        found = resolver.module_within(path, &found)?;
    }
    Ok(Lead::Module(found))
}

impl Home {
    fn of_file(path: &Path) -> Self {
        let place = place_of(path);
        let whole = cleaned(&std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
        // Behind a link `..` leads elsewhere than it is written.
        let path = if place_of(&whole) == place { whole } else { place.clone() };
        Self::File { path, place }
    }

    fn of(module: &FoundModule) -> Self {
        match module.file() {
            Some(file) => Self::of_file(&file),
            None => Self::Inside(module.name().into()),
        }
    }

    fn has(&self, module: &FoundModule) -> bool {
        match (self, module.file()) {
            (Self::File { place, .. }, Some(file)) => *place == place_of(&file),
            (Self::Inside(source), None) => source == module.name(),
            _ => false,
        }
    }
}

impl SharedName {
    /// Returns the shared name that a word of an open text means; none where it means something of this text alone, or
    /// nothing that is known.
    pub fn at(view: &View, token: usize) -> Result<Option<Self>> {
        let words = view.scopes.text();
        let (home, name, is_import) = match view.scopes.meant(token) {
            Some(meant) => {
                let Some(path) = view.document.path.as_ref().filter(|_| view.scopes.is_shared(meant)) else {
                    return Ok(None);
                };
                // Nobody imports a file that is not there.
                if !view.session.env().files.has(path)? {
                    return Ok(None);
                }
                let is_import = view.scopes.definitions[meant].kind == DefinitionKind::Import;
                (Home::of_file(path), view.scopes.name(meant), is_import)
            }
            None => {
                let found = lead(&view.session.modules(), &view.scopes, &view.document.name, token)?;
                let Lead::Module(found) = found else { return Ok(None) };
                (Home::of(&found), words.word(token), words.is_symbol(token + 1, &["::"]))
            }
        };
        Ok(Some(Self { home, name: name.into(), is_import }))
    }

    /// Returns whether the script that has the name is in no file.
    pub fn is_inside(&self) -> bool {
        matches!(self.home, Home::Inside(_))
    }

    /// Refuses a name whose script is in no file, and so cannot be changed.
    pub fn expect_file(&self) -> Result<()> {
        let Home::Inside(source) = &self.home else { return Ok(()) };
        let place = if source.starts_with(PREFIX) { "inside this program" } else { "in an archive" };
        Err(err!(Name, "`{}` is defined in {source}, which is {place} and stays as it is", self.name)
            .hint("a function of your own that calls it can have any name"))
    }

    /// Lists the places of the project that mean the name.
    pub fn references(&self, view: &View, project: &Project, with_definition: bool) -> Result<FoundPlaces> {
        let found = project.texts(&[self.name.as_str()], &self.files(view))?;
        let resolver = project.session.modules();
        let mut places = Vec::new();
        for text in &found.texts {
            (project.check)()?;
            let mut tokens = self.uses(&resolver, text).tokens;
            let own = self.own(text).into_iter();
            tokens.extend(own.filter(|token| with_definition || !text.scopes.is_definition(*token)));
            let lines = Lines::new(text.scopes.source());
            let place = |token| Location { uri: text.uri.clone(), range: lines.range(text.scopes.bytes(token)) };
            places.extend(tokens.into_iter().map(place));
        }
        Ok(FoundPlaces { places, left_out: found.left_out })
    }

    /// Returns the changes that give the name another word in all texts of the project; one that would mean something
    /// else in any of them is refused.
    pub fn renamed(&self, view: &View, project: &Project, word: &str) -> Result<Vec<ChangedText>> {
        self.expect_file()?;
        let name = self.name.as_str();
        let found = project.texts(&[name, word], &self.files(view))?;
        if let Some(why) = found.left_out.first() {
            return Err(err!(Name, "`{name}` may be used in a script that was not looked at: {why}")
                .hint("open a smaller folder, or a project with a microtome.toml"));
        }
        let resolver = project.session.modules();
        let other = Self { name: word.into(), ..self.clone() };
        let mut is_defined = false;
        let mut changed = Vec::new();
        for text in &found.texts {
            (project.check)()?;
            let uses = self.uses(&resolver, text);
            if let Some(token) = uses.perhaps {
                let line = Lines::new(text.scopes.source()).range(text.scopes.bytes(token)).start.line + 1;
                return Err(err!(Name, "`{name}` may be what {}:{line} means, whose import is computed", text.name)
                    .hint("write the path of that import as a string"));
            }
            let own = self.own(text);
            is_defined |= !own.is_empty();
            let is_taken = !other.own(text).is_empty() || !other.uses(&resolver, text).tokens.is_empty();
            let mut tokens: Vec<usize> = uses.tokens.into_iter().chain(own).collect();
            tokens.sort_unstable();
            if is_taken || !fits(project.session, &text.scopes, &tokens, word) {
                return Err(misfit(name, word, &text.name));
            }
            if !tokens.is_empty() {
                changed.push(text.changed(&tokens, word));
            }
        }
        match &self.home {
            Home::File { path, .. } if !is_defined => Err(err!(Name, "{} has no `{name}`", path.display())),
            _ => Ok(changed),
        }
    }

    /// Lists the files around which the project is: that of the text that asks, and that of the name.
    fn files<'p>(&'p self, view: &'p View) -> Vec<&'p Path> {
        let home = match &self.home {
            Home::File { path, .. } => Some(path.as_path()),
            Home::Inside(_) => None,
        };
        view.document.path.as_deref().into_iter().chain(home).collect()
    }

    /// Lists the words of the script that has the name which mean it.
    fn own(&self, text: &ProjectText) -> BTreeSet<usize> {
        let Home::File { place, .. } = &self.home else { return BTreeSet::new() };
        if text.place.as_ref() != Some(place) {
            return BTreeSet::new();
        }
        let scopes = &text.scopes;
        let shared = scopes.shared(&self.name, self.is_import).into_iter();
        shared.flat_map(|number| scopes.alike(scopes.definitions[number].token)).collect()
    }

    /// Finds the words of a text that mean the name behind an import.
    fn uses(&self, resolver: &Resolver, text: &ProjectText) -> Uses {
        let scopes = &text.scopes;
        let words = scopes.text();
        // Each is followed once.
        let mut ways: BTreeMap<(Option<usize>, Vec<&str>), Way> = BTreeMap::new();
        let mut uses = Uses::default();
        for token in scopes.members(&self.name) {
            if words.is_symbol(token + 1, &["::"]) != self.is_import {
                continue;
            }
            let modules = scopes.modules_before(token);
            let first = modules.first().and_then(|first| scopes.meant(*first));
            let names: Vec<&str> = modules.into_iter().map(|module| words.word(module)).collect();
            let way = ways.entry((first, names)).or_insert_with(|| match lead(resolver, scopes, &text.name, token) {
                Ok(Lead::Module(found)) if self.home.has(&found) => Way::There,
                Ok(Lead::Computed) => Way::Perhaps,
                // What cannot be found is another script.
                _ => Way::Elsewhere,
            });
            match way {
                Way::There => {
                    uses.tokens.insert(token);
                }
                Way::Perhaps => {
                    uses.perhaps.get_or_insert(token);
                }
                Way::Elsewhere => {}
            }
        }
        uses
    }
}

impl ProjectText {
    /// Returns the changes that write another word at these tokens.
    fn changed(&self, tokens: &[usize], word: &str) -> ChangedText {
        let lines = Lines::new(self.scopes.source());
        let edit = |token: &usize| TextEdit::new(lines.range(self.scopes.bytes(*token)), word.into());
        ChangedText { uri: self.uri.clone(), version: self.version, edits: tokens.iter().map(edit).collect() }
    }
}
