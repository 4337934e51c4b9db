//! Texts to read: from files, generators, or mixtures of them, as recipes that no tokenizer is needed for.

mod cut;
mod find;
mod hold;
mod lines;
mod mix;
mod parquet;
mod plain;
mod reading;
mod records;
mod tally;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use hold::Part;
pub use plain::Bounds;
pub use tally::Tally;

use super::grammar::{Grammar, Mix, Split};
use super::{Document, Documents};
use crate::base::files::Files;
use crate::base::{Result, Table, Task};
use crate::err;
use mix::Mixed;
use reading::{Given, How, Reading};
use tally::Shared;

/// The labelled language, which needs no file.
const GRAMMAR: &str = "grammar";
/// The sources that need no file.
pub const SOURCES: [&str; 1] = [GRAMMAR];

/// Why a document without a letter is left out.
const EMPTY: &str = "empty documents";

/// One document in so many is held out where nothing else is said.
pub const ONE_IN: u64 = 20;

/// Documents of one file.
trait Reader: Send {
    fn next(&mut self, tally: &Shared, task: &Task) -> Result<Option<Document>>;
}

/// What goes with a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The field of a JSON record, or the column of a table, that holds the text.
    pub field: String,
    /// What divides plain text into documents.
    pub bounds: Bounds,
    pub part: Part,
    /// One document in so many is held out.
    pub one_in: u64,
    /// How many tokens are read at most.
    pub tokens: Option<u64>,
    /// Whether rows of tokens begin with the one that marks a beginning; else the tokenizer's own rule decides.
    pub bos: Option<bool>,
    /// Whether rows come in another order than they stand in, within a window.
    pub shuffle: bool,
    /// What the order, and a generator, depend on.
    pub seed: u64,
    /// How often each phenomenon of the labelled language is drawn.
    pub mix: Mix,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            field: "text".into(),
            bounds: Bounds::default(),
            part: Part::All,
            one_in: ONE_IN,
            tokens: None,
            bos: None,
            shuffle: false,
            seed: 0,
            mix: Mix::default(),
        }
    }
}

#[derive(Clone)]
enum Source {
    Files { files: Files, paths: Arc<[PathBuf]>, how: Arc<How> },
    Given(Arc<[String]>),
    Mix(Arc<[(Text, f64)]>),
    Grammar(Grammar),
}

/// Where documents come from. Clones are cheap, and share the report of what was read.
#[derive(Clone)]
pub struct Text {
    source: Source,
    name: Arc<str>,
    options: Arc<Options>,
    tally: Shared,
}

impl Text {
    /// A file, a folder or a pattern of file names; or `grammar`, the labelled language, of which what is not held out
    /// is all there is.
    pub fn open(files: &Files, source: &str, options: Options, task: &Task) -> Result<Self> {
        if source == GRAMMAR {
            let split = if options.part == Part::Held { Split::Held } else { Split::Train };
            let name = if options.part == Part::Held { "grammar, held out" } else { GRAMMAR };
            return Ok(Self::new(Source::Grammar(Grammar::new(options.seed, &options.mix, split)), name, options));
        }
        let paths = find::files(files, source, task)?.into();
        let (field, bounds) = (options.field.clone(), Arc::new(options.bounds.clone()));
        let how = Arc::new(How { field, bounds, part: options.part, one_in: options.one_in });
        Ok(Self::new(Source::Files { files: files.clone(), paths, how }, source, options))
    }

    /// Documents that are there already.
    pub fn given(texts: Vec<String>, options: Options) -> Result<Self> {
        if texts.iter().all(|text| text.trim().is_empty()) {
            return Err(err!(Argument, "expected a text that is not empty, found none"));
        }
        Ok(Self::new(Source::Given(texts.into()), "given texts", options))
    }

    /// Several texts, each as often as its weight says, counted in tokens.
    pub fn mix(parts: Vec<(Text, f64)>, options: Options) -> Result<Self> {
        if parts.is_empty() {
            return Err(err!(Argument, "expected texts to mix, found none"));
        }
        if let Some((text, weight)) = parts.iter().find(|(_, weight)| !weight.is_finite() || *weight <= 0.0) {
            return Err(err!(Argument, "expected a weight above 0 for {}, found {weight}", text.name)
                .hint("leave out what is not to be read"));
        }
        let names: Vec<&str> = parts.iter().map(|(text, _)| text.name()).collect();
        let name = format!("mix of {}", names.join(", "));
        Ok(Self::new(Source::Mix(parts.into()), &name, options))
    }

    fn new(source: Source, name: &str, options: Options) -> Self {
        Self { source, name: name.into(), options: options.into(), tally: Shared::default() }
    }

    /// What it is called: its source as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its files, where it is read from such.
    pub fn paths(&self) -> &[PathBuf] {
        match &self.source {
            Source::Files { paths, .. } => paths,
            Source::Given(_) | Source::Mix(_) | Source::Grammar(_) => &[],
        }
    }

    /// The texts that a mixture is made of, with their weights.
    pub fn parts(&self) -> Option<&[(Text, f64)]> {
        match &self.source {
            Source::Mix(parts) => Some(parts),
            Source::Files { .. } | Source::Given(_) | Source::Grammar(_) => None,
        }
    }

    /// Whether documents never end.
    pub fn is_endless(&self) -> bool {
        match &self.source {
            Source::Files { .. } | Source::Given(_) => false,
            Source::Grammar(_) => true,
            Source::Mix(parts) => parts.iter().any(|(text, _)| text.is_endless()),
        }
    }

    /// The documents from the beginning. Those of a mixture take turns so that each source has given its share of
    /// bytes; one that has ended leaves the others to go on.
    pub fn documents(&self, task: &Task) -> Result<Box<dyn Documents>> {
        task.check()?;
        Ok(match &self.source {
            Source::Files { files, paths, how } => {
                Box::new(Reading::new(files.clone(), paths.clone(), how.clone(), self.tally.clone()))
            }
            Source::Grammar(grammar) => Box::new(grammar.clone()),
            Source::Given(texts) => Box::new(Given::new(texts.clone(), self.tally.clone())),
            Source::Mix(parts) => {
                let opened = parts.iter().map(|(text, weight)| Ok((text.documents(task)?, *weight)));
                Box::new(Mixed::new(opened.collect::<Result<_>>()?))
            }
        })
    }

    /// What the latest reading has come by so far, and what it left out.
    pub fn tally(&self) -> Tally {
        match &self.source {
            Source::Files { .. } | Source::Given(_) | Source::Grammar(_) => self.tally.get(),
            Source::Mix(parts) => parts.iter().map(|(text, _)| text.tally()).fold(self.tally.get(), Tally::and),
        }
    }

    /// The same as a table.
    pub fn report(&self) -> Table {
        self.tally().table(self.name.to_string())
    }

    /// Counts what was left out after the documents were read.
    pub(super) fn note(&self, reason: &'static str, count: u64, place: impl FnOnce() -> String) {
        self.tally.with(|tally| tally.skip_many(reason, count, place));
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({})", self.name)
    }
}
