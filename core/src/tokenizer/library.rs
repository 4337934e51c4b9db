//! Splitting by the `tokenizers` crate, with exact byte ranges, and errors for bytes without a token.

use tokenizers::Tokenizer as Engine;

use super::limits::Limits;
use super::vocab::Vocab;
use super::{Splitter, TokenSpan, alphabet, failed};
use crate::common::*;

/// Bytes of a text above which it is split on another thread, so that an interruption does not wait for it.
const MOMENT: usize = 1 << 15;

/// Approximate memory that the crate needs for a byte of text: two alignments, the pieces, the tokens with their names,
/// with steps that make a text up to [`USUAL_GROWTH`] times as long.
const BYTES_PER_BYTE: u128 = 160;
const USUAL_GROWTH: u64 = 6;

/// The crate's regular expressions give up after a million backtracking steps, and then silently leave the rest of a
/// text in one piece. They backtrack over white space, or over text without it, so no such run may be that long.
const STRETCH: usize = 500_000;

pub struct Library {
    engine: Arc<Engine>,
    vocab: Arc<Vocab>,
    /// Bytes without a token, which the crate would drop from the text.
    missing: Vec<u8>,
    limits: Limits,
}

impl Library {
    /// Splits with an engine that does not truncate, pad or add tokens.
    pub fn new(mut engine: Engine, vocab: Arc<Vocab>, byte_level: bool, limits: Limits) -> Result<Self> {
        engine.with_truncation(None).map_err(failed)?;
        engine.with_padding(None);
        engine.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let has = |byte: &u8| engine.token_to_id(&alphabet::letter(*byte).to_string()).is_some();
        let missing = if byte_level { (0..=255).filter(|byte| !has(byte)).collect() } else { Vec::new() };
        Ok(Self { engine: Arc::new(engine), vocab, missing, limits })
    }

    /// Narrows the range of a token. The crate gives ranges of whole characters, equal for all parts of one character.
    /// Here each token gets as many bytes as it stands for, as long as the text has these bytes.
    fn straighten(&self, text: &str, id: u32, given: Range<usize>, end: usize) -> Result<Range<usize>> {
        let start = given.start.clamp(end, text.len());
        let limit = given.end.clamp(start, text.len());
        let bytes = &self.vocab.piece(id)?.bytes;
        let there = text.as_bytes().get(start..limit).unwrap_or_default();
        Ok(if there.starts_with(bytes) { start..start + bytes.len() } else { start..limit })
    }
}

impl Splitter for Library {
    fn split(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>> {
        if self.engine.get_pre_tokenizer().is_some() {
            check_stretches(text)?;
        }
        if let Some(at) = text.bytes().position(|byte| self.missing.contains(&byte)) {
            let byte = text.as_bytes().get(at).copied().unwrap_or_default();
            return Err(err!(Argument, "the tokenizer has no token for the byte 0x{byte:02X} at byte {at}")
                .hint("leave it out of the text"));
        }
        let growth = u128::from(self.limits.growth.div_ceil(USUAL_GROWTH));
        let bytes = text.len() as u128 * BYTES_PER_BYTE * growth;
        memory::check(bytes, || format!("the tokens of {} bytes of text", text.len()))?;
        let (ids, places) = if self.limits.quick && text.len() <= MOMENT {
            run(&self.engine, text)?
        } else {
            let engine = self.engine.clone();
            let text = text.to_string();
            task.apart(move || run(&engine, &text))?
        };
        let mut end = 0;
        let placed = ids.into_iter().zip(places).map(|(id, (from, to))| {
            let range = self.straighten(text, id, from..to, end)?;
            end = range.end;
            Ok((id, range))
        });
        placed.collect()
    }
}

/// Refuses a text that cannot be split reliably.
pub fn check_stretches(text: &str) -> Result<()> {
    let mut start = 0;
    let mut blank = false;
    for (at, letter) in text.char_indices().filter(|_| text.len() > STRETCH) {
        if letter.is_whitespace() != blank {
            (start, blank) = (at, !blank);
        }
        if at - start > STRETCH {
            let what = if blank { "of white space" } else { "without white space" };
            return Err(err!(Argument, "expected at most {STRETCH} bytes {what} in a row, found more at byte {start}")
                .hint("give the text in smaller pieces"));
        }
    }
    Ok(())
}

type IdsAndOffsets = (Vec<u32>, Vec<(usize, usize)>);

fn run(engine: &Engine, text: &str) -> Result<IdsAndOffsets> {
    let encoding =
        engine.encode(text, false).map_err(|e| err!(Argument, "the text cannot be split into tokens: {e}"))?;
    Ok((encoding.get_ids().to_vec(), encoding.get_offsets().to_vec()))
}
