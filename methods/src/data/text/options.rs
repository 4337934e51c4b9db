//! The options of texts: what is read of any of them, and which documents of a source they are.

use super::data_set::is_on_hub;
use super::{DocumentRules, GRAMMAR, ONE_IN, SAMPLE, TextPart};
use crate::common::*;
use crate::data::text::Bounds;

crate::options! {
    /// Options of every text: its length, its labels and its order.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TextOptions {
        /// Maximum number of tokens, once the text is tokenized.
        tokens: Option<u64> = None => usually("all").at_least(1.0);
        /// Seed of the shuffled order, and of text that is generated or mixed.
        seed: i64 = 0;
        /// Whether each row begins with a BOS token.
        bos: Option<bool> = None => usually("the tokenizer's own rule");
        /// Whether rows are shuffled, through a buffer of 1,024.
        shuffle: bool = false;
        /// Whether brackets, quotations, apostrophes, numbers, lines, words for women and men and the pronouns to come are
        /// labelled in real text by rules.
        labels: bool = false;
    }
}

impl TextOptions {
    pub fn seed(&self) -> u64 {
        self.seed as u64
    }
}

crate::options! {
    /// Options of a source, which select its documents.
    pub struct SourceOptions {
        /// A map of phenomena of the grammar with their weights; others are left out.
        mix: Option<BTreeMap<String, f64>> = None => usually("a balanced one");
        /// Percentage of the grammar's sentences about who receives, pronouns, agreement and facts whose template is derived from
        /// phrases, in far more shapes than its lists have; held-out templates are never derived.
        shapes: usize = 0 => at_most(100.0);
        /// The field of a JSON record, or the column of a table, that holds the text.
        field: Option<String> = None => usually("\"text\"");
        /// Another word for `field`, as tables and data sets have it.
        column: Option<String> = None => usually("\"text\"");
        /// Split of a data set of the hub, such as "validation".
        split: Option<String> = None => usually("\"train\"");
        /// Subset of a data set of the hub, as its page lists them; often a language or a version.
        subset: Option<String> = None => usually("the only one, or the data set's own default");
        /// The string that separates the documents of plain text.
        separator: Option<String> = None;
        /// A text or several; a line that begins with one of them begins a document, if it follows an empty line or is
        /// the first.
        starts: Option<Vec<String>> = None;
        /// "train" without the held-out documents, "held" for these alone; a hash of a document's beginning decides, so
        /// that copies are in the same part, and parts stay the same when files are added; the grammar holds out names,
        /// templates and combinations, and is "train" by default.
        part: TextPart = TextPart::All;
        /// Number of documents of which about one is held out.
        hold: Option<u64> = None => usually(&ONE_IN.to_string());
        with text: TextOptions;
    }
}

impl SourceOptions {
    /// Returns the rules by which the documents of a source are separated and selected. Options that the source does
    /// not have are refused.
    pub(super) fn rules(&self, source: &str) -> Result<DocumentRules> {
        self.check(source)?;
        let usual = DocumentRules::default();
        let bounds = Bounds { separator: self.separator.clone(), starts: self.starts.clone().unwrap_or_default() };
        Ok(DocumentRules {
            field: self.field.clone().or_else(|| self.column.clone()).unwrap_or(usual.field),
            bounds: bounds.into(),
            part: self.part,
            one_in: self.hold.unwrap_or(ONE_IN),
        })
    }

    fn check(&self, source: &str) -> Result<()> {
        let of_files = [
            ("field", self.field.is_some()),
            ("column", self.column.is_some()),
            ("hold", self.hold.is_some()),
            ("separator", self.separator.is_some()),
            ("starts", self.starts.is_some()),
        ];
        let stray = |owner: &str, name: &str| -> Error {
            err!(Argument, "expected no `{name}` for {source}, since it is an option of {owner}").about(name)
        };
        let of_grammar = [("mix", self.mix.is_some()), ("shapes", self.shapes > 0)];
        if let (false, Some((name, _))) = (source == GRAMMAR, of_grammar.iter().find(|(_, is_given)| *is_given)) {
            return Err(stray("the source \"grammar\"", name));
        }
        if [GRAMMAR, SAMPLE].contains(&source)
            && let Some((name, _)) = of_files.iter().find(|(_, is_given)| *is_given)
        {
            return Err(stray("files", name));
        }
        let of_hub = [("split", self.split.is_some()), ("subset", self.subset.is_some())];
        if let (false, Some((name, _))) = (is_on_hub(source), of_hub.iter().find(|(_, is_given)| *is_given)) {
            return Err(stray("data sets of the hub, hf://datasets/org/name", name));
        }
        if self.field.is_some() && self.column.is_some() {
            return Err(err!(Argument, "expected `field` or `column`, which are one, found both").about("column"));
        }
        if self.separator.iter().chain(self.starts.iter().flatten()).any(String::is_empty) {
            let name = if self.separator.as_deref() == Some("") { "separator" } else { "starts" };
            return Err(err!(Argument, "expected a text that separates documents, found an empty one").about(name));
        }
        let Some(hold) = self.hold else { return Ok(()) };
        if hold < 2 {
            return Err(err!(
                Argument,
                "expected at least 2 for `hold`, found {hold}: one document in `hold` is held out"
            )
            .about("hold"));
        }
        if self.part == TextPart::All {
            return Err(err!(Argument, "expected `part` to go with `hold`")
                .hint("#{ part: \"train\" } is without the held-out documents, #{ part: \"held\" } is these alone")
                .about("hold"));
        }
        Ok(())
    }
}
