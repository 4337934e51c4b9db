//! Saving a tokenizer beside its model, in files that give the same one again.

use serde::{Deserialize, Serialize};

use super::Tokenizer;
use super::metadata::Gguf;
use crate::common::*;

pub(super) const JSON: &str = "tokenizer.json";
pub(super) const CONFIG: &str = "tokenizer_config.json";
pub(super) const LLAMA2C: &str = "tokenizer.bin";
/// The World tokenizer of RWKV.
pub const WORLD: &str = "rwkv_vocab_v20230424.txt";
/// The file of tokenizers that have no third-party format.
pub(super) const OURS: &str = "tokenizer.microtome.json";

/// The source that a tokenizer was made of.
pub enum Origin {
    /// The bytes of a `tokenizer.json`.
    Json(Vec<u8>),
    /// The bytes of a `tokenizer.bin`.
    Llama2c(Vec<u8>),
    /// The bytes of a `rwkv_vocab_*.txt`.
    World(Vec<u8>),
    Ours(Ours),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ours {
    Characters { tokens: Vec<String>, bos: Option<String>, unknown: Option<String> },
    Words { tokens: Vec<String>, bos: Option<String>, unknown: Option<String> },
    Gguf(Box<Gguf>),
}

impl Tokenizer {
    /// Returns the usual name of this kind of tokenizer.
    pub fn kind(&self) -> String {
        match &*self.origin {
            // Files without a type, of older versions of the crate, are BPE.
            Origin::Json(bytes) => {
                let wrong = |e| err!(Bug, "a tokenizer that was read cannot be read again: {e}");
                let file: serde_json::Value = json::read(bytes, wrong).unwrap_or_default();
                file.pointer("/model/type").and_then(|kind| kind.as_str()).unwrap_or("BPE").to_lowercase()
            }
            Origin::Llama2c(_) => "llama2.c".into(),
            Origin::World(_) => "world".into(),
            Origin::Ours(Ours::Characters { .. }) => "characters".into(),
            Origin::Ours(Ours::Words { .. }) => "words".into(),
            Origin::Ours(Ours::Gguf(_)) => "gguf".into(),
        }
    }

    /// Writes the files from which [`Tokenizer::from_folder`] loads the same tokenizer, and returns their places.
    pub fn save(&self, files: &Files, folder: &Path) -> Result<Vec<PathBuf>> {
        let write = |name: &str, content: &[u8]| files.save_whole(&folder.join(name), content);
        let place = match &*self.origin {
            Origin::Json(bytes) => write(JSON, bytes)?,
            Origin::Llama2c(bytes) => write(LLAMA2C, bytes)?,
            Origin::World(bytes) => write(WORLD, bytes)?,
            Origin::Ours(ours) => write(OURS, &json_of(ours)?)?,
        };
        Ok(vec![place, write(CONFIG, &json_of(&self.config()?)?)?])
    }

    /// Writes whether BOS and EOS are added, and their names.
    fn config(&self) -> Result<Map<String, serde_json::Value>> {
        let mut config = Map::new();
        for (key, id) in [("bos_token", self.bos), ("eos_token", self.eos)] {
            if let Some(id) = id {
                config.insert(key.into(), serde_json::json!(self.vocab.piece(id)?.name));
            }
        }
        let added = |ids: &[u32], mark: Option<u32>| match ids {
            [] => Some(false),
            [id] if Some(*id) == mark => Some(true),
            _ => None,
        };
        // Other additions are in the post-processor of a tokenizer.json.
        if let (Some(bos), Some(eos)) = (added(&self.front, self.bos), added(&self.back, self.eos)) {
            config.insert("add_bos_token".into(), serde_json::json!(bos));
            config.insert("add_eos_token".into(), serde_json::json!(eos));
        }
        if let Some(chats) = &self.chats {
            chats.save(&mut config);
        }
        Ok(config)
    }

    /// Reads a file in our format.
    pub(super) fn from_ours(bytes: &[u8]) -> Result<Self> {
        match json::read(bytes, |e| err!(Format, "expected a tokenizer that was saved here: {e}"))? {
            Ours::Characters { tokens, bos, unknown } => Self::characters(tokens, bos.as_deref(), unknown.as_deref()),
            Ours::Words { tokens, bos, unknown } => Self::words(tokens, bos.as_deref(), unknown.as_deref()),
            Ours::Gguf(parts) => Self::from_gguf(*parts),
        }
    }
}

fn json_of(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| err!(Bug, "a tokenizer cannot be written as JSON: {e}"))
}
