//! The positions of a text that are harvested, and those that are skipped.

use serde::{Deserialize, Serialize};

use crate::common::*;
use crate::data::Text;
use crate::data::pack::{self, Row};
use crate::tokenizer::labels::Column;

/// The positions that are skipped. Padding always is; by default nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Whether every BOS token is skipped, wherever it is: in many models the norm of its activations is hundreds of
    /// times that of all others.
    pub without_bos: bool,
    /// The number of positions that are skipped at the beginning of each row.
    pub without_first: usize,
    /// The ids of tokens that are skipped.
    pub without_ids: BTreeSet<u32>,
    /// The values of labels whose tokens are skipped, by label.
    pub without_labels: BTreeMap<String, BTreeSet<u32>>,
}

/// The positions that are kept of one text with one tokenizer: BOS tokens as ids, and labels as columns.
#[derive(Debug, Clone)]
pub struct KeptPositions {
    first: usize,
    ids: BTreeSet<u32>,
    labels: Vec<(Column, BTreeSet<u32>)>,
}

impl Skipped {
    /// Refuses rules that would leave no position, invalid tokens, and labels that the text does not have.
    pub fn resolved(
        &self,
        text: &Text,
        tokenizer: &Tokenizer,
        context: usize,
        vocab: usize,
        task: &Task,
    ) -> Result<KeptPositions> {
        if self.without_first >= context {
            return Err(err!(
                Argument,
                "expected fewer positions to skip than the {context} of a row, found {}",
                self.without_first
            )
            .about("without_first"));
        }
        if let Some(id) = self.without_ids.iter().find(|id| **id as usize >= vocab) {
            return Err(err!(Argument, "expected token ids below {vocab} to skip, found {id}").about("without_tokens"));
        }
        let mut ids = self.without_ids.clone();
        if self.without_bos {
            ids.extend(pack::beginning(text, None, tokenizer)?);
            ids.extend(tokenizer.bos());
            ids.extend(tokenizer.rule().0);
        }
        let column = |name: &String| pack::column(text, name, task);
        let labels = self.without_labels.iter().map(|(name, values)| Ok((column(name)?, values.clone())));
        Ok(KeptPositions { first: self.without_first, ids, labels: labels.collect::<Result<_>>()? })
    }
}

impl KeptPositions {
    /// Returns the positions of a row that are kept, in order.
    pub fn positions(&self, row: &Row) -> Result<Vec<usize>> {
        let mut kept: Vec<usize> = (self.first..row.ids.len()).collect();
        if !self.ids.is_empty() {
            kept.retain(|position| row.ids.get(*position).is_some_and(|id| !self.ids.contains(id)));
        }
        for (column, values) in &self.labels {
            let found = pack::values(row, column)?;
            kept.retain(|position| found.get(*position).is_some_and(|value| !values.contains(value)));
        }
        Ok(kept)
    }
}
