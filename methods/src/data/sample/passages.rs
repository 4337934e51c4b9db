//! Sampled text as documents with labels: the stored beginning first, then newly sampled text, which is stored in
//! memory and in the cache.

use std::collections::VecDeque;

use super::{Asset, SampledGroups, Sampler, Settings, TextCache, TextKey, fingerprint, start_token};
use crate::common::*;
use crate::data::{Document, Documents, labels};

/// Parts of a text that have been written before.
#[derive(Clone, Default)]
pub struct TextCaches {
    /// The beginning of the text, in the binary.
    pub stored: Option<Arc<Asset>>,
    /// The text written in this process.
    pub kept: Arc<SampledGroups>,
    /// The text written by other processes, if there is a cache.
    pub cache: Option<Arc<TextCache>>,
}

/// An endless stream of passages from a model. Rows are cut at EOS tokens, and at their ends.
pub struct Passages {
    decoder: Arc<Decoder>,
    tokenizer: Tokenizer,
    start: u32,
    settings: Settings,
    /// The parts written before. Stored rows are there if this model generated them with these settings. Only complete
    /// ones are used, since a short one cannot be continued.
    written: TextCaches,
    /// The key in the cache, once it was needed.
    key: Option<Arc<TextKey>>,
    /// The next row.
    row: u64,
    /// Documents of the row that was read last.
    ready: VecDeque<Document>,
}

impl Passages {
    /// Builds the stream. Stored rows are used if this model generated them with these settings; else they are
    /// generated anew.
    pub fn new(
        decoder: Arc<Decoder>,
        tokenizer: Tokenizer,
        settings: Settings,
        written: TextCaches,
        task: &Task,
    ) -> Result<Self> {
        let start = start_token(&tokenizer)?;
        let stored = match written.stored.filter(|asset| asset.settings == settings) {
            Some(asset) if asset.context as usize == decoder.config().context => {
                (asset.weights == fingerprint(&decoder, task)?).then_some(asset)
            }
            _ => None,
        };
        let written = TextCaches { stored, ..written };
        Ok(Self { decoder, tokenizer, start, settings, written, key: None, row: 0, ready: VecDeque::new() })
    }

    fn name(&self) -> String {
        format!("sample, seed {}", self.settings.seed)
    }

    /// Returns the stored row of a number.
    fn stored(&self, row: u64) -> Option<&[u32]> {
        let context = self.decoder.config().context;
        let asset = self.written.stored.as_ref()?;
        let start = usize::try_from(row).ok()?.checked_mul(context)?;
        asset.ids.get(start..start.checked_add(context)?)
    }

    fn next_row(&mut self, task: &Task) -> Result<Vec<u32>> {
        let row = self.row;
        self.row += 1;
        if let Some(ids) = self.stored(row) {
            return Ok(ids.to_vec());
        }
        let decoder = self.decoder.clone();
        let mut sampler = Sampler::new(&decoder, self.start, self.settings)?;
        let before = sampler.seek(row);
        let first = row - before as u64;
        let kept = self.written.kept.clone();
        let group = kept.group(first, || self.group(first, &mut sampler, task))?;
        group.get(before).cloned().ok_or_else(|| err!(Bug, "a group of rows that ends before the one asked for"))
    }

    /// Returns the group that begins with a row, from the cache or as the model writes it now.
    fn group(&mut self, first: u64, sampler: &mut Sampler, task: &Task) -> Result<Vec<Vec<u32>>> {
        let Some(cache) = self.written.cache.clone() else { return self.drawn(sampler, "in memory", task) };
        let key = self.key(sampler, task)?;
        match cache.find(&key, first) {
            Ok(Some(rows)) => return Ok(rows),
            Ok(None) => {}
            Err(error) if error.kind == Kind::Interrupted => return Err(error),
            Err(error) => {
                let name = self.name();
                let why = error.message;
                task.say(&format!("the cached text {name}, row {first} cannot be used, so it is written anew: {why}"));
            }
        }
        let rows = self.drawn(sampler, "in the cache", task)?;
        // If it cannot be cached, that is no reason to stop.
        if let Err(error) = cache.put(&key, first, &rows) {
            task.say(&format!("{} is not cached: {}", self.name(), error.message));
        }
        Ok(rows)
    }

    /// Returns the next group of rows, as the model writes it now.
    fn drawn(&self, sampler: &mut Sampler, keeps: &str, task: &Task) -> Result<Vec<Vec<u32>>> {
        if self.written.kept.is_to_be_told() {
            let name = self.name();
            task.say(&format!("{name}: the model writes this text now; it is kept {keeps} for the next reading"));
        }
        let bar = task.begin("drawing text", Some(sampler.rows() as u64));
        let rows = sampler.group(task)?;
        bar.advance(sampler.rows() as u64);
        Ok(rows)
    }

    fn key(&mut self, sampler: &Sampler, task: &Task) -> Result<Arc<TextKey>> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let identity = sampler.identity(task)?;
        let key = Arc::new(TextKey::new(&identity, self.decoder.config().context, self.settings)?);
        self.key = Some(key.clone());
        Ok(key)
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
