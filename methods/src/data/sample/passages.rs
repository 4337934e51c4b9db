//! Sampled text as documents with labels: the stored beginning first, then newly sampled text, which is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Asset, Kept, Sampler, Settings, fingerprint};
use crate::base::Result;
use crate::base::Task;
use crate::data::{Document, Documents, labels};
use crate::err;
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;

/// An endless stream of passages from a model. Rows are cut at EOS tokens, and at their ends.
pub struct Passages {
    decoder: Arc<Decoder>,
    tokenizer: Tokenizer,
    start: u32,
    settings: Settings,
    /// The stored rows, if this model generated them with these settings. Only complete ones are used, since a short
    /// one cannot be continued.
    stored: Option<Arc<Asset>>,
    /// What was sampled for this text before.
    kept: Arc<Kept>,
    /// The next row.
    row: u64,
    /// Documents of the row that was read last.
    ready: VecDeque<Document>,
}

impl Passages {
    /// Stored rows are used if this model generated them with these settings; else they are generated again.
    pub fn new(
        decoder: Arc<Decoder>,
        tokenizer: Tokenizer,
        settings: Settings,
        (stored, kept): (Option<Arc<Asset>>, Arc<Kept>),
        task: &Task,
    ) -> Result<Self> {
        let start = tokenizer.eos().or(tokenizer.bos()).ok_or_else(|| {
            err!(Argument, "expected a tokenizer with an EOS or BOS token to generate text, found none")
        })?;
        let stored = match stored.filter(|asset| asset.settings == settings) {
            Some(asset) if asset.context as usize == decoder.config().context => {
                (asset.weights == fingerprint(&decoder, task)?).then_some(asset)
            }
            _ => None,
        };
        Ok(Self { decoder, tokenizer, start, settings, stored, kept, row: 0, ready: VecDeque::new() })
    }

    fn name(&self) -> String {
        format!("sample, seed {}", self.settings.seed)
    }

    /// The stored row of that number.
    fn stored(&self, row: u64) -> Option<&[u32]> {
        let (context, asset) = (self.decoder.config().context, self.stored.as_ref()?);
        let start = usize::try_from(row).ok()?.checked_mul(context)?;
        asset.ids.get(start..start.checked_add(context)?)
    }

    fn next_row(&mut self, task: &Task) -> Result<Vec<u32>> {
        let row = self.row;
        self.row += 1;
        if let Some(ids) = self.stored(row) {
            return Ok(ids.to_vec());
        }
        let mut sampler = Sampler::new(&self.decoder, self.start, self.settings)?;
        let before = sampler.seek(row);
        let group = self.kept.group(row - before as u64, || {
            if self.kept.is_empty() {
                task.say(&format!(
                    "{}: the model writes this text now; it is kept in memory for the next reading",
                    self.name()
                ));
            }
            let bar = task.begin("drawing text", Some(sampler.rows() as u64));
            let rows = sampler.group(task)?;
            bar.advance(sampler.rows() as u64);
            Ok(rows)
        })?;
        group.get(before).cloned().ok_or_else(|| err!(Bug, "a group of rows that ends before the one asked for"))
    }
}

impl Documents for Passages {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        while self.ready.is_empty() {
            task.check()?;
            let number = self.row;
            let ids = self.next_row(task)?;
            let origin: Arc<str> = format!("{}, row {number}", self.name()).into();
            for ids in ids.split(|id| *id == self.start).filter(|ids| !ids.is_empty()) {
                let text = self.tokenizer.decode(ids)?;
                let marks = Some(labels::label(&text)?);
                self.ready.push_back(Document { marks, ..Document::whole(text, origin.clone()) });
            }
        }
        Ok(self.ready.pop_front())
    }
}
