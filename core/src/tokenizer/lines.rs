//! Tokenizers whose merges join the characters of whole lines, with SentencePiece's space and bytes: Gemma 4's, in GGUF files.
//!
//! A text is cut only where line breaks begin and end, as in llama.cpp, and a run of them that is a token is taken whole.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab as Ids};
use tokenizers::normalizers::Replace;
use tokenizers::{AddedToken, Tokenizer as Engine};

use super::library::Library;
use super::limits::Limits;
use super::vocab::Vocab;
use super::{Splitter, TokenSpan, bytelevel, failed, limits};
use crate::common::*;

pub struct Lines {
    library: Library,
    /// The tokens of runs of line breaks, by their length.
    breaks: HashMap<usize, u32>,
}

impl Lines {
    /// Makes a splitter of a vocabulary with a token for every byte; the tokens in `whole` are matched before anything is
    /// joined.
    pub fn new(vocab: &Arc<Vocab>, merges: &[String], bytes: &HashMap<u8, u32>, whole: &[&str]) -> Result<Self> {
        if let Some(byte) = (0..=u8::MAX).find(|byte| !bytes.contains_key(byte)) {
            bail!(Format, "expected a token for each byte, found none for 0x{byte:02X}");
        }
        if let Some(name) = whole.iter().find(|name| name.contains('\n')) {
            bail!(Format, "expected tokens that are taken whole without line breaks, found {name:?}");
        }
        let ids: Ids = vocab.iter().map(|(id, piece)| (piece.name.clone(), id)).collect();
        let model = BPE::builder()
            .vocab_and_merges(ids, bytelevel::pairs(vocab, merges)?)
            .byte_fallback(true)
            .build()
            .map_err(failed)?;
        let mut engine = Engine::new(model);
        engine.with_normalizer(Some(Replace::new(" ", "▁").map_err(failed)?)).map_err(failed)?;
        limits::added(whole.iter().map(|name| name.len()).sum())?;
        let whole = whole.iter().map(|name| AddedToken::from(*name, false).normalized(false));
        engine.add_tokens(whole).map_err(failed)?;
        let is_break = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte == b'\n');
        let runs = vocab.iter().filter(|(_, piece)| !piece.special && is_break(&piece.name));
        let breaks = runs.map(|(id, piece)| (piece.name.len(), id)).collect();
        Ok(Self { library: Library::new(engine, vocab.clone(), false, Limits::KNOWN)?, breaks })
    }
}

impl Splitter for Lines {
    fn split(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            task.check()?;
            let is_break = rest.starts_with('\n');
            let end = rest.find(|letter| (letter == '\n') != is_break).map_or(text.len(), |length| at + length);
            match self.breaks.get(&(end - at)).filter(|_| is_break) {
                Some(id) => found.push((*id, at..end)),
                None => {
                    let spans = self.library.split(&text[at..end], task)?;
                    found.extend(spans.into_iter().map(|(id, range)| (id, at + range.start..at + range.end)));
                }
            }
            at = end;
        }
        Ok(found)
    }
}
