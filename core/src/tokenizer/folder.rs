//! The tokenizer of a folder with the files of a hub.

use super::chat::marker;
use super::library::Library;
use super::limits::Limits;
use super::saving::{CONFIG, JSON, LLAMA2C, OURS, WORLD};
use super::vocab::Vocab;
use super::{Chats, Tokenizer, bytelevel, splits};
use crate::common::*;

const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";

impl Tokenizer {
    /// Reads the tokenizer of a folder, if there is one: `tokenizer.json`, what [`Tokenizer::save`] has written,
    /// GPT-2's `vocab.json` with `merges.txt`, llama2.c's `tokenizer.bin`, or RWKV's `rwkv_vocab_v20230424.txt`. If `tokenizer_config.json` states whether
    /// BOS and EOS are added, it is followed, as by transformers; otherwise the post-processor in `tokenizer.json`.
    pub fn from_folder(files: &Files, folder: &Path) -> Result<Option<Self>> {
        let names = files.names(folder);
        let has = |name: &str| names.iter().any(|other| other == name);
        let within = |name: &'static str| move |e: Error| e.within(folder.join(name).display());
        let bytes = |name: &str| files.bytes(&folder.join(name));
        let config = if has(CONFIG) { object(&bytes(CONFIG)?).map_err(within(CONFIG))? } else { Map::new() };
        let tokenizer = if has(JSON) {
            Self::from_json(&bytes(JSON)?).map_err(within(JSON))?
        } else if has(OURS) {
            Self::from_ours(&bytes(OURS)?).map_err(within(OURS))?
        } else if has(VOCAB) && has(MERGES) {
            let merges = files.text(&folder.join(MERGES))?;
            Self::from_vocab_and_merges(&bytes(VOCAB)?, &merges, &config).map_err(within(VOCAB))?
        } else if has(LLAMA2C) {
            Self::from_llama2c(&bytes(LLAMA2C)?, None).map_err(within(LLAMA2C))?
        } else if has(WORLD) {
            Self::from_world(&bytes(WORLD)?).map_err(within(WORLD))?
        } else if has("tokenizer.model") {
            return Err(err!(Format, "expected a {JSON} in {}, found a tokenizer.model", folder.display())
                .hint("save the tokenizer again with a current transformers, which writes a tokenizer.json"));
        } else {
            return Ok(None);
        };
        let chats = Chats::of_folder(files, folder, &config).map_err(within(CONFIG))?;
        let tokenizer = tokenizer.configured(&config).map_err(within(CONFIG))?;
        Ok(Some(Self { chats, ..tokenizer }))
    }

    /// Reads from a `tokenizer_config.json` the BOS and EOS tokens, and whether they are added.
    fn configured(mut self, config: &Map<String, Value>) -> Result<Self> {
        let named = |key: &str| marker(config, key).and_then(|name| self.vocab.id_of(name));
        (self.bos, self.eos) = (named("bos_token").or(self.bos), named("eos_token").or(self.eos));
        let flag = |key: &str| match config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(err!(Format, "expected true or false in `{key}`, found {other}")),
        };
        match (flag("add_bos_token")?, flag("add_eos_token")?) {
            (None, None) => Ok(self),
            // As soon as one of the two is stated, the other is false unless it is stated, too.
            (bos, eos) => self.adding(bos.unwrap_or(false), eos.unwrap_or(false)),
        }
    }

    /// Reads GPT-2's own files, which the oldest folders of related models have, and OPT's still.
    fn from_vocab_and_merges(vocab: &[u8], merges: &str, config: &Map<String, Value>) -> Result<Self> {
        let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or("no tokenizer_class");
        if !matches!(class, "GPT2Tokenizer" | "GPT2TokenizerFast") {
            return Err(err!(Format, "expected a GPT2Tokenizer with {VOCAB} and {MERGES}, found {class}")
                .hint("save the tokenizer again with a current transformers, which writes a tokenizer.json"));
        }
        if config.get("add_prefix_space") == Some(&Value::Bool(true)) {
            bail!(Format, "expected a tokenizer that puts no space before a text, found `add_prefix_space`");
        }
        let ids =
            object(vocab)?.into_iter().map(|(name, id)| match id.as_u64().and_then(|id| u32::try_from(id).ok()) {
                Some(id) => Ok((id, bytelevel::piece(&name))),
                None => Err(err!(Format, "expected the id of `{name}`, found {id}")),
            });
        let mut vocab = Vocab::new(ids.collect::<Result<Vec<_>>>()?, false)?;
        let markers = ["bos_token", "eos_token", "unk_token", "pad_token"].into_iter();
        let mut markers: Vec<&str> = markers.filter_map(|key| marker(config, key)).collect();
        markers.sort_unstable();
        markers.dedup();
        let ids = markers.iter().map(|name| vocab.named(name)).collect::<Result<Vec<_>>>()?;
        vocab.mark_special(ids);
        let lines = merges.lines().filter(|line| !line.is_empty() && !line.starts_with("#version"));
        let merges: Vec<String> = lines.map(String::from).collect();
        let engine = bytelevel::engine(&vocab, &merges, splits::cut("gpt-2")?, &markers)?;
        Self::from_engine(engine, vocab)
    }

    /// Makes a byte-level tokenizer, saved as a `tokenizer.json`.
    fn from_engine(mut engine: tokenizers::Tokenizer, vocab: Vocab) -> Result<Self> {
        engine.with_decoder(Some(bytelevel::decoder()));
        let json = engine.to_string(false).map_err(super::failed)?;
        let vocab = Arc::new(vocab);
        let split = Library::new(engine, vocab.clone(), true, Limits::KNOWN)?;
        Ok(Self::new(vocab, Arc::new(split), super::saving::Origin::Json(json.into_bytes())))
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>> {
    json::read(bytes, |e| err!(Format, "expected a JSON map: {e}"))
}
