//! Options of reading activations on a text: the positions that are used, and the length of its rows.

use super::{HarvestOptions, Skipped};
use crate::common::*;
use crate::data::{Text, pack};
use crate::options::Plain;
use crate::tokenizer::labels::{Column, ColumnKind};

crate::options! {
    /// The positions of a text that are read.
    #[derive(Debug, Clone, PartialEq)]
    pub struct PositionOptions {
        /// Whether BOS tokens are skipped.
        without_bos: bool = false;
        /// Number of first positions of each row that are skipped.
        without_first: usize = 0;
        /// Number of tokens in a row.
        context: Option<usize> = None => usually("the model's, at most 1,024");
    }

    /// The positions of a text that are read, chosen by their tokens and labels, too.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SkipOptions {
        /// Tokens that are skipped, given as ids or as texts of one token.
        without_tokens: Option<Vec<TokenName>> = None;
        /// Labels whose tokens are skipped, for a text with labels, as in `#{ depth: [0] }`.
        without_labels: Option<BTreeMap<String, Vec<LabelName>>> = None;
        with positions: PositionOptions;
    }
}

crate::text_or_number! {
    /// A token by its id, or by a text that is this token.
    pub enum TokenName {
        Text(String),
        Id(u32),
    }
    wanted "a token id or the text of a token"
}

crate::text_or_number! {
    /// The value of a label: a number, or the name of a kind.
    pub enum LabelName {
        Kind(String),
        Number(u32),
    }
    wanted "the value of a label"
}

impl From<PositionOptions> for HarvestOptions {
    fn from(options: PositionOptions) -> Self {
        let PositionOptions { without_bos, without_first, context } = options;
        Self { skip: Skipped { without_bos, without_first, ..Skipped::default() }, context }
    }
}

impl SkipOptions {
    /// Returns the options with tokens as ids and labels as numbers, as a model and a text have them.
    pub fn resolved(&self, model: &Model, text: &Text, task: &Task) -> Result<HarvestOptions> {
        let mut options = HarvestOptions::from(self.positions.clone());
        let ids = self.without_tokens.iter().flatten().map(|token| token.id(model, task));
        options.skip.without_ids = ids.collect::<Result<_>>().map_err(|e| e.about("without_tokens"))?;
        for (name, values) in self.without_labels.iter().flatten() {
            let labels = values_of(name, values, text, task).map_err(|e| e.about("without_labels"))?;
            options.skip.without_labels.insert(name.clone(), labels);
        }
        Ok(options)
    }
}

impl TokenName {
    fn id(&self, model: &Model, task: &Task) -> Result<u32> {
        let text = match self {
            Self::Id(id) => return Ok(*id),
            Self::Text(text) => text,
        };
        let refused = |wanted: &str| {
            let found = Plain::Text(text.clone()).described();
            err!(Argument, "expected {wanted} for `without_tokens`, found {found}")
        };
        let tokenizer =
            model.tokenizer.as_ref().ok_or_else(|| refused("a token id, since this model has no tokenizer"))?;
        match tokenizer.encode(text, Some(false), task)?.ids.as_slice() {
            [id] => Ok(*id),
            several => {
                let count = several.len();
                Err(refused("the text of one token").hint(format!("{text:?} is {count} tokens in this model")))
            }
        }
    }
}

fn values_of(name: &str, values: &[LabelName], text: &Text, task: &Task) -> Result<BTreeSet<u32>> {
    let column = pack::column(text, name, task)?;
    values.iter().map(|value| value.number(&column)).collect()
}

impl LabelName {
    /// Returns the value as a number: 0 is "none", 1 is the first kind.
    fn number(&self, column: &Column) -> Result<u32> {
        let name = match self {
            Self::Number(number) => return Ok(*number),
            Self::Kind(name) => name,
        };
        let refused = |wanted: &str| -> Error {
            let found = Plain::Text(name.clone()).described();
            err!(Argument, "expected {wanted} for `without_labels.{}`, found {found}", column.name)
        };
        let kinds = match &column.values {
            ColumnKind::Kind(kinds) => kinds.iter().copied(),
            ColumnKind::Number | ColumnKind::Since => return Err(refused("a number, since this label has numbers")),
        };
        let place = std::iter::once("none").chain(kinds.clone()).position(|kind| kind == name);
        place
            .and_then(|at| u32::try_from(at).ok())
            .ok_or_else(|| refused("the name of a kind").maybe_hint(names::suggestion(name, kinds)))
    }
}
