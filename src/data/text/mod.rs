//! Texts to read: from files, generators, or mixtures of them, as recipes that no tokenizer is needed for.

mod cut;
mod find;
mod hold;
mod labelled;
mod lines;
mod mix;
mod parquet;
mod plain;
mod reading;
mod records;
mod split;
mod tally;
mod thrift;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use hold::Part;
pub use plain::Bounds;
pub use tally::Tally;

use super::grammar::{Grammar, Mix, Split};
use super::sample::{Asset, Passages, Settings};
use super::{Document, Documents};
use crate::base::files::Files;
use crate::base::{Result, Table, Task};
use crate::err;
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;
use labelled::Labelled;
use mix::Mixed;
use reading::{Counted, Given, How, Reading};
use split::{Parted, Share};
use tally::Shared;

/// The sources that need no file.
pub const SOURCES: [&str; 2] = [GRAMMAR, SAMPLE];

/// The source of the labelled language.
pub const GRAMMAR: &str = "grammar";
/// What the model inside the binary writes.
pub const SAMPLE: &str = "sample";

/// Why a document without a letter is left out.
const EMPTY: &str = "empty documents";

/// One document in this many is held out by default.
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
    /// One document in this many is held out.
    pub one_in: u64,
    /// How many tokens are read at most.
    pub tokens: Option<u64>,
    /// Whether rows of tokens begin with the one that marks a beginning; else the tokenizer's own rule decides.
    pub bos: Option<bool>,
    /// Whether rows come in another order than they stand in, within a window.
    pub shuffle: bool,
    /// What the order, and a generator, depend on.
    pub seed: u64,
    /// Whether real text gets the labels that rules find in it.
    pub labels: bool,
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
            labels: false,
        }
    }
}

#[derive(Clone)]
enum Source {
    Files {
        files: Box<Files>,
        paths: Arc<[PathBuf]>,
        how: Arc<How>,
    },
    Given(Arc<[String]>),
    Grammar(Box<Grammar>),
    Sample(Box<Sample>),
    Mix(Arc<[(Text, f64)]>),
    /// Some of the documents of another text.
    Part(Box<Text>, Share),
}

/// A model that text is drawn from.
#[derive(Clone)]
struct Sample {
    decoder: Arc<Decoder>,
    tokenizer: Tokenizer,
    settings: Settings,
    stored: Option<Arc<Asset>>,
}

/// Where documents come from. Clones are cheap, and share the report of what was read.
#[derive(Clone)]
pub struct Text {
    source: Source,
    name: Arc<str>,
    identity: Arc<str>,
    options: Arc<Options>,
    tally: Shared,
}

impl Text {
    /// A file, a folder or a pattern of file names.
    pub fn open(files: &Files, source: &str, options: Options, task: &Task) -> Result<Self> {
        let paths = find::files(files, source, task)?.into();
        let (field, bounds) = (options.field.clone(), Arc::new(options.bounds.clone()));
        let how = Arc::new(How { field, bounds, part: options.part, one_in: options.one_in });
        Ok(Self::new(Source::Files { files: Box::new(files.clone()), paths, how }, source, options))
    }

    /// Documents that are there already.
    pub fn given(texts: Vec<String>, options: Options) -> Result<Self> {
        if texts.iter().all(|text| text.trim().is_empty()) {
            return Err(err!(Argument, "expected a text that is not empty, found none"));
        }
        Ok(Self::new(Source::Given(texts.into()), "given texts", options))
    }

    /// The labelled language: what is not held out of it, or what is.
    pub fn grammar(mix: &Mix, options: Options) -> Self {
        let (split, name) = match options.part {
            Part::All | Part::Train => (Split::Train, GRAMMAR),
            Part::Held => (Split::Held, "grammar, held out"),
        };
        let grammar = Grammar::new(options.seed, mix, split);
        let known = options.seed == 0 && *mix == Mix::default();
        let identity = if known { name.into() } else { format!("{name}, {grammar:?}") };
        Self { identity: identity.into(), ..Self::new(Source::Grammar(Box::new(grammar)), name, options) }
    }

    /// What a model writes, without end; what is stored of it need not be drawn again. `name` is that of the model.
    pub fn sample(
        name: &str,
        (decoder, tokenizer): (Arc<Decoder>, Tokenizer),
        settings: Settings,
        stored: Option<Arc<Asset>>,
        options: Options,
    ) -> Self {
        let identity = format!("{name}, {settings:?}");
        let source = Source::Sample(Box::new(Sample { decoder, tokenizer, settings, stored }));
        Self { identity: identity.into(), ..Self::new(source, name, options) }
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
        let name: Arc<str> = name.into();
        Self { source, identity: name.clone(), name, options: options.into(), tally: Shared::default() }
    }

    /// The same text, with the labels that rules find where it has none of its own.
    pub fn labelled(&self) -> Self {
        let source = match &self.source {
            Source::Mix(parts) => Source::Mix(parts.iter().map(|(text, weight)| (text.labelled(), *weight)).collect()),
            source => source.clone(),
        };
        let options = Options { labels: true, ..self.options.as_ref().clone() };
        Self { source, options: options.into(), ..self.clone() }
    }

    /// What it is called: its source as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a generator gives depends on nothing else than this.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The same text, limited to this many tokens.
    pub fn limited(&self, tokens: u64) -> Self {
        let most = self.options.tokens.map_or(tokens, |known| known.min(tokens));
        Self { options: Options { tokens: Some(most), ..self.options.as_ref().clone() }.into(), ..self.clone() }
    }

    /// Its files, where it is read from such.
    pub fn paths(&self) -> &[PathBuf] {
        match &self.source {
            Source::Files { paths, .. } => paths,
            Source::Part(whole, _) => whole.paths(),
            _ => &[],
        }
    }

    /// The texts that a mixture is made of, with their weights.
    pub fn parts(&self) -> Option<&[(Text, f64)]> {
        if let Source::Mix(parts) = &self.source { Some(parts) } else { None }
    }

    /// Whether documents never end; a limit is one of tokens, and does not count here.
    pub fn is_endless(&self) -> bool {
        match &self.source {
            Source::Files { .. } | Source::Given(_) => false,
            Source::Grammar(_) | Source::Sample(_) => true,
            Source::Mix(parts) => parts.iter().any(|(text, _)| text.is_endless()),
            Source::Part(whole, _) => whole.is_endless(),
        }
    }

    /// The documents from the beginning. Those of a mixture take turns so that each source has given its share of
    /// bytes; one that has ended leaves the others to go on.
    pub fn documents(&self, task: &Task) -> Result<Box<dyn Documents>> {
        task.check()?;
        let documents = self.unlabelled(task)?;
        Ok(if self.options.labels { Box::new(Labelled(documents)) } else { documents })
    }

    fn unlabelled(&self, task: &Task) -> Result<Box<dyn Documents>> {
        Ok(match &self.source {
            Source::Files { files, paths, how } => {
                Box::new(Reading::new((**files).clone(), paths.clone(), how.clone(), self.tally.clone()))
            }
            Source::Given(texts) => {
                let tally = &self.tally;
                Box::new(Counted::new(Given::new(texts.clone(), tally.clone()), tally.clone()))
            }
            Source::Grammar(grammar) => Box::new(Counted::new(grammar.as_ref().clone(), self.tally.clone())),
            Source::Sample(model) => {
                let Sample { decoder, tokenizer, settings, stored } = model.as_ref().clone();
                Box::new(Counted::new(Passages::new(decoder, tokenizer, settings, stored, task)?, self.tally.clone()))
            }
            Source::Mix(parts) => {
                let opened = parts.iter().map(|(text, weight)| Ok((text.documents(task)?, *weight)));
                Box::new(Mixed::new(opened.collect::<Result<_>>()?))
            }
            Source::Part(whole, share) => {
                let counted = Parted::new(whole.unlabelled(task)?, *share);
                Box::new(Counted::new(counted, self.tally.clone()))
            }
        })
    }

    /// What the latest reading has come by so far, and what it left out.
    pub fn tally(&self) -> Tally {
        let own = self.tally.get();
        self.parts().into_iter().flatten().map(|(text, _)| text.tally()).fold(own, Tally::and)
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
