//! Texts: from files, strings, generators, or mixtures of them. No tokenizer is needed before they are packed.

#[cfg(feature = "arrow")]
mod arrow;
mod cut;
mod data_set;
mod find;
mod hold;
mod labelled;
mod lines;
mod mix;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod plain;
mod reading;
mod records;
mod split;
mod tally;
mod tokenizer;

#[cfg(test)]
mod tests;

pub use hold::TextPart;
pub use options::{SourceOptions, TextOptions};
pub use plain::Bounds;
pub use tally::Tally;
pub use tokenizer::TextTokenizerOptions;

use super::grammar::{Grammar, Mix, Split};
use super::sample::{self, Passages, SampledGroups, Settings, TextCache, TextCaches, TextSamplingOptions};
use super::{Document, Documents};
use crate::checkpoint::{hub, load};
use crate::common::*;
use crate::model;
use data_set::{DataSet, SplitRequest};
use labelled::LabelledDocuments;
use mix::MixedDocuments;
use reading::{CountedDocuments, DocumentRules, FileDocuments, GivenDocuments, GivenIds, Shelf};
use split::{HashShare, PartDocuments};
use tally::SharedTally;

/// The sources that need no file.
pub const SOURCES: [&str; 2] = [GRAMMAR, SAMPLE];

/// The source of the labelled language.
pub const GRAMMAR: &str = "grammar";
/// The source of text that the model inside the binary generates.
pub const SAMPLE: &str = "sample";

/// Reason for which an empty document is skipped.
const EMPTY: &str = "empty documents";
/// Reason for which a row of a table is skipped.
#[cfg(any(feature = "arrow", feature = "parquet"))]
const NO_VALUE: &str = "rows without a value";

/// Number of documents of which one is held out by default.
pub const ONE_IN: u64 = 20;

/// Documents of one file.
trait DocumentReader: Send {
    fn next(&mut self, tally: &SharedTally, task: &Task) -> Result<Option<Document>>;
}

#[derive(Clone)]
enum TextSource {
    Files {
        files: Box<Files>,
        shelf: Shelf,
    },
    Given(Arc<[String]>),
    GivenIds(Arc<[Arc<[u32]>]>),
    Grammar(Box<Grammar>),
    Sample(Box<SampledSource>),
    Mix(Arc<[(Text, f64)]>),
    /// Documents of another text, without those that its split gives to other parts.
    Part(Box<Text>, HashShare),
}

/// A model that generates text.
#[derive(Clone)]
struct SampledSource {
    decoder: Arc<Decoder>,
    tokenizer: Tokenizer,
    settings: Settings,
    written: TextCaches,
}

/// A text: where its documents come from. Clones are cheap, and share the report of what was read.
#[derive(Clone)]
pub struct Text {
    source: TextSource,
    name: Arc<str>,
    identity: Arc<str>,
    rules: Arc<DocumentRules>,
    options: Arc<TextOptions>,
    tally: SharedTally,
}

impl Text {
    /// Opens a source by its name: "grammar", "sample", a data set of the hub, or a file, a folder or a pattern of file
    /// names.
    pub fn open(files: &Files, source: &str, options: SourceOptions, task: &Task) -> Result<Self> {
        let rules = options.rules(source)?;
        let text = match source {
            GRAMMAR => {
                let mix = options.mix.as_ref().map(|weights| Mix::new(weights).map_err(|e| e.about("mix")));
                let mix = mix.transpose()?.unwrap_or_default().with_shapes(options.shapes);
                Self::grammar(&mix, rules.part, options.text)
            }
            SAMPLE => Self::of_tiny(files, options.text, task)?,
            _ if data_set::is_on_hub(source) => {
                return Self::of_hub(files, &hub::HubSettings::from_env(), source, options, task);
            }
            _ => {
                let shelf = Shelf::Here(find::files(files, source, task).map_err(|e| e.about("source"))?.into());
                Self::new(TextSource::Files { files: Box::new(files.clone()), shelf }, source, options.text)
            }
        };
        Ok(Self { rules: rules.into(), ..text })
    }

    /// Opens a split of a data set of the hub, `hf://datasets/org/name`, whose files are fetched one by one as they are read.
    pub fn of_hub(
        files: &Files,
        settings: &hub::HubSettings,
        source: &str,
        options: SourceOptions,
        task: &Task,
    ) -> Result<Self> {
        let rules = options.rules(source)?;
        let wanted = SplitRequest { split: options.split.as_deref(), subset: options.subset.as_deref() };
        let set = DataSet::open(files, settings, source, &wanted, task).map_err(|e| e.about("source"))?;
        let identity = set.identity().into();
        let shelf = Shelf::Hub(set.into());
        let text = Self::new(TextSource::Files { files: Box::new(files.clone()), shelf }, source, options.text);
        Ok(Self { identity, rules: rules.into(), ..text })
    }

    /// Returns the source that stands for a data set of the hub.
    pub fn on_hub(name: &str) -> String {
        format!("{}{name}", data_set::DATA_SETS)
    }

    /// Strings, as documents.
    pub fn given(texts: Vec<String>, options: TextOptions) -> Result<Self> {
        if texts.iter().all(|text| text.trim().is_empty()) {
            return Err(err!(Argument, "expected a text that is not empty, found none"));
        }
        Ok(Self::new(TextSource::Given(texts.into()), "given texts", options))
    }

    /// Builds a text of token ids, one list for each document.
    pub fn of_ids(documents: Vec<Vec<u32>>, options: TextOptions) -> Result<Self> {
        if documents.iter().all(Vec::is_empty) {
            return Err(err!(Argument, "expected a text that is not empty, found none"));
        }
        if options.labels {
            return Err(err!(Argument, "expected texts as strings for `labels`, found token ids")
                .hint("the rules that find labels read characters"));
        }
        let documents: Vec<Arc<[u32]>> = documents.into_iter().map(Arc::from).collect();
        Ok(Self::new(TextSource::GivenIds(documents.into()), "given tokens", options))
    }

    /// Builds a text of the labelled language: its training split, or what is held out of it.
    pub fn grammar(mix: &Mix, part: TextPart, options: TextOptions) -> Self {
        let (split, name) = match part {
            TextPart::All | TextPart::Train => (Split::Train, GRAMMAR),
            TextPart::Held => (Split::Held, "grammar, held out"),
        };
        let seed = options.seed();
        let grammar = Grammar::new(seed, mix, split);
        let known = seed == 0 && *mix == Mix::default();
        let identity = if known { name.into() } else { format!("{name}, {grammar:?}") };
        let rules = Arc::new(DocumentRules { part, ..DocumentRules::default() });
        Self { identity: identity.into(), rules, ..Self::new(TextSource::Grammar(Box::new(grammar)), name, options) }
    }

    /// Builds a text that the model inside the binary generates.
    pub fn of_tiny(files: &Files, options: TextOptions, task: &Task) -> Result<Self> {
        let model = model::Model::load(files, load::INSIDE, &load::LoadSettings::default(), task)?;
        let tokenizer = model.tokenizer.ok_or_else(|| err!(Bug, "the model inside has no tokenizer"))?;
        let settings = Settings { seed: options.seed(), ..Settings::default() };
        let kept = SampledGroups::inside(settings.seed);
        let written = TextCaches { stored: Some(sample::stored()?), kept, cache: None };
        Ok(Self::sample(SAMPLE, model.decoder, tokenizer, settings, written, options))
    }

    /// Builds a text that a model generates, without end. Some text of the model inside the binary is stored.
    pub fn generated(model: &model::Model, sampling: &TextSamplingOptions, options: TextOptions) -> Result<Self> {
        let name = format!("what {} wrote", model.name());
        let tokenizer = model.tokenizer.clone().ok_or_else(|| {
            err!(Argument, "expected a model with a tokenizer to generate text, found one that reads token ids")
        })?;
        let stored = if model.is_inside() { Some(sample::stored()?) } else { None };
        let settings = sampling.settings(options.seed());
        let written = TextCaches { stored, ..TextCaches::default() };
        Ok(Self::sample(&name, model.decoder.clone(), tokenizer, settings, written, options))
    }

    /// Builds a text that a model generates, without end; what was generated of it before is read from `written`.
    pub fn sample(
        name: &str,
        decoder: Arc<Decoder>,
        tokenizer: Tokenizer,
        settings: Settings,
        written: TextCaches,
        options: TextOptions,
    ) -> Self {
        let identity = format!("{name}, {settings:?}");
        let source = TextSource::Sample(Box::new(SampledSource { decoder, tokenizer, settings, written }));
        Self { identity: identity.into(), ..Self::new(source, name, options) }
    }

    /// Returns the text with what a model generates kept in a cache folder, where the rules of the run allow that. With
    /// `fresh` it is generated again although it is there.
    pub fn cached(mut self, cache: Option<&Path>, files: &Files, fresh: bool, task: &Task) -> Self {
        let (TextSource::Sample(sample), Some(cache)) = (&mut self.source, cache) else { return self };
        let opened = TextCache::open(cache, files.access(), fresh).unwrap_or_else(|error| {
            task.say(&format!("texts are not cached: {}", error.message));
            None
        });
        sample.written.cache = opened.map(Arc::new);
        self
    }

    /// Builds a mixture of texts in proportion to their weights, counted in tokens.
    pub fn mix(parts: Vec<(Text, f64)>, options: TextOptions) -> Result<Self> {
        if parts.is_empty() {
            return Err(err!(Argument, "expected texts to mix, found none"));
        }
        if let Some((text, weight)) = parts.iter().find(|(_, weight)| !weight.is_finite() || *weight <= 0.0) {
            return Err(err!(Argument, "expected a weight above 0 for {}, found {weight}", text.name)
                .hint("leave out texts that are not to be read"));
        }
        let names: Vec<&str> = parts.iter().map(|(text, _)| text.name()).collect();
        let name = format!("mix of {}", names.join(", "));
        Self::new(TextSource::Mix(parts.into()), &name, options).checked()
    }

    fn new(source: TextSource, name: &str, options: TextOptions) -> Self {
        let name: Arc<str> = name.into();
        let rules = Arc::default();
        let options = options.into();
        let tally = SharedTally::default();
        Self { source, identity: name.clone(), name, rules, options, tally }
    }

    /// Returns the text with labels that rules find, where it has none of its own.
    pub fn labelled(&self) -> Self {
        let source = match &self.source {
            TextSource::Mix(parts) => {
                TextSource::Mix(parts.iter().map(|(text, weight)| (text.labelled(), *weight)).collect())
            }
            source => source.clone(),
        };
        let options = TextOptions { labels: true, ..self.options.as_ref().clone() };
        Self { source, options: options.into(), ..self.clone() }
    }

    /// Returns the name of the source, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text under another name.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Returns the identity of a generator or of a data set of the hub: sources of one identity give the same
    /// documents.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn options(&self) -> &TextOptions {
        &self.options
    }

    /// Returns how the documents of files are separated and selected.
    pub fn rules(&self) -> &DocumentRules {
        &self.rules
    }

    /// Returns the text limited to this many tokens.
    pub fn limited(&self, tokens: u64) -> Self {
        let most = self.options.tokens.map_or(tokens, |known| known.min(tokens));
        Self { options: TextOptions { tokens: Some(most), ..self.options.as_ref().clone() }.into(), ..self.clone() }
    }

    /// Returns the local files of the text, if it has any; those of a data set of the hub are told by its identity.
    pub fn paths(&self) -> &[PathBuf] {
        match &self.source {
            TextSource::Files { shelf: Shelf::Here(paths), .. } => paths,
            TextSource::Part(whole, _) => whole.paths(),
            _ => &[],
        }
    }

    /// Returns the names of the text's files, wherever they are.
    pub fn file_names(&self) -> Vec<String> {
        match &self.source {
            TextSource::Files { shelf, .. } => shelf.names(),
            TextSource::Part(whole, _) => whole.file_names(),
            _ => Vec::new(),
        }
    }

    /// Returns the texts of a mixture, with their weights.
    pub fn parts(&self) -> Option<&[(Text, f64)]> {
        if let TextSource::Mix(parts) = &self.source { Some(parts) } else { None }
    }

    /// Returns whether some documents are given in tokens, of which nobody knows the characters without a tokenizer.
    pub fn has_ids(&self) -> bool {
        match &self.source {
            TextSource::GivenIds(_) => true,
            TextSource::Mix(parts) => parts.iter().any(|(text, _)| text.has_ids()),
            TextSource::Part(whole, _) => whole.has_ids(),
            TextSource::Files { .. } | TextSource::Given(_) | TextSource::Grammar(_) | TextSource::Sample(_) => false,
        }
    }

    /// Refuses a text in tokens, for what reads or counts characters.
    pub fn expect_characters(&self) -> Result<()> {
        if self.has_ids() {
            Err(err!(Argument, "expected a text of characters, found one of token ids")
                .hint("text.ids(m) has the rows that a model reads; data::texts takes strings, too"))
        } else {
            Ok(())
        }
    }

    /// Refuses a text that has no end and no limit of tokens.
    pub fn expect_end(&self) -> Result<()> {
        if self.options.tokens.is_none() && self.is_endless() {
            Err(self.has_no_end().hint("limit it with the option `tokens`"))
        } else {
            Ok(())
        }
    }

    /// Returns the documents of a text that is read whole, before there is a tokenizer: it must end, and cannot be
    /// limited in tokens.
    pub fn all_documents(&self, task: &Task) -> Result<Box<dyn Documents>> {
        self.expect_characters()?;
        if self.options.tokens.is_some() {
            return Err(err!(
                Argument,
                "expected a text without `tokens`, which cannot be counted before there is a tokenizer"
            )
            .hint("leave `tokens` out of the options of the text"));
        }
        if self.is_endless() {
            Err(self.has_no_end().hint("data::texts(text.documents(1000).map(|d| d.text)) has one"))
        } else {
            self.documents(task)
        }
    }

    fn has_no_end(&self) -> Error {
        err!(Argument, "expected a text with an end, found {}, which has none", self.name)
    }

    /// Returns whether the documents never end, whatever the limit of tokens.
    pub fn is_endless(&self) -> bool {
        match &self.source {
            TextSource::Files { .. } | TextSource::Given(_) | TextSource::GivenIds(_) => false,
            TextSource::Grammar(_) | TextSource::Sample(_) => true,
            TextSource::Mix(parts) => parts.iter().any(|(text, _)| text.is_endless()),
            TextSource::Part(whole, _) => whole.is_endless(),
        }
    }

    /// Returns the documents from the beginning. Those of a mixture alternate so that each text yields its share of
    /// bytes; when one ends, the others continue.
    pub fn documents(&self, task: &Task) -> Result<Box<dyn Documents>> {
        task.check()?;
        let documents = self.unlabelled(task)?;
        Ok(if self.options.labels { Box::new(LabelledDocuments(documents)) } else { documents })
    }

    fn unlabelled(&self, task: &Task) -> Result<Box<dyn Documents>> {
        Ok(match &self.source {
            TextSource::Files { files, shelf } => {
                let rules = self.rules.clone();
                let tally = self.tally.clone();
                Box::new(FileDocuments::new((**files).clone(), shelf.clone(), rules, tally))
            }
            TextSource::Given(texts) => {
                let tally = &self.tally;
                Box::new(CountedDocuments::new(GivenDocuments::new(texts.clone(), tally.clone()), tally.clone()))
            }
            TextSource::GivenIds(ids) => {
                let tally = &self.tally;
                Box::new(CountedDocuments::new(GivenIds::new(ids.clone(), tally.clone()), tally.clone()))
            }
            TextSource::Grammar(grammar) => {
                Box::new(CountedDocuments::new(grammar.as_ref().clone(), self.tally.clone()))
            }
            TextSource::Sample(model) => {
                let SampledSource { decoder, tokenizer, settings, written } = model.as_ref().clone();
                let passages = Passages::new(decoder, tokenizer, settings, written, task)?;
                Box::new(CountedDocuments::new(passages, self.tally.clone()))
            }
            TextSource::Mix(parts) => {
                let opened = parts.iter().map(|(text, weight)| Ok((text.documents(task)?, *weight)));
                Box::new(MixedDocuments::new(opened.collect::<Result<_>>()?))
            }
            TextSource::Part(whole, share) => {
                let counted = PartDocuments::new(whole.unlabelled(task)?, *share);
                Box::new(CountedDocuments::new(counted, self.tally.clone()))
            }
        })
    }

    /// Returns counts of what the latest reading has read so far, and of what it skipped.
    pub fn tally(&self) -> Tally {
        let own = self.tally.get();
        self.parts().into_iter().flatten().map(|(text, _)| text.tally()).fold(own, Tally::and)
    }

    /// Returns the counts of the latest reading as a table. Its title says where nothing has been read, so that zeros
    /// are not taken for a result.
    pub fn report(&self) -> Table {
        let tally = self.tally();
        let unread = if tally.files == 0 && tally.documents == 0 { ": nothing has been read yet" } else { "" };
        tally.table(format!("{}{unread}", self.name))
    }

    /// Counts what was skipped after the documents were read.
    pub(super) fn note(&self, reason: &'static str, count: u64, place: impl FnOnce() -> String) {
        self.tally.with(|tally| tally.skip_many(reason, count, place));
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({})", self.name)
    }
}
