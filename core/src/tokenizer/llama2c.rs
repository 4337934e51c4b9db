//! The `tokenizer.bin` of llama2.c: the longest length, then score, length and bytes of every token.

use super::Tokenizer;
use super::merges::{MergeSettings, Merges};
use super::saving::Origin;
use super::spelling::hexadecimal;
use super::vocab::{Vocab, VocabEntry};
use crate::common::*;

const UNKNOWN: u32 = 0;
const BOS: u32 = 1;
const EOS: u32 = 2;
/// The first token of a byte.
const FIRST_BYTE: u32 = 3;

impl Tokenizer {
    /// Reads a `tokenizer.bin`, and checks that it has as many tokens as the model's file says. Nothing is added to a
    /// text unless asked for.
    pub fn from_llama2c(bytes: &[u8], tokens: Option<usize>) -> Result<Self> {
        let mut rest = bytes;
        let longest = i32::from_le_bytes(take(&mut rest)?);
        let mut pieces = Vec::new();
        let mut scores = Vec::new();
        while !rest.is_empty() {
            let (score, name) = token(&mut rest, longest).map_err(|e| e.within(format!("token {}", pieces.len())))?;
            pieces.push(name);
            scores.push(score);
        }
        if let Some(tokens) = tokens.filter(|tokens| *tokens != pieces.len()) {
            return Err(err!(Format, "expected {tokens} tokens, found {}", pieces.len())
                .hint("the model and its tokenizer.bin do not belong together"));
        }
        let byte_of = |id: u32, name: &str| hexadecimal(name).filter(|byte| id == FIRST_BYTE + u32::from(*byte));
        let piece = |(id, name): (u32, String)| {
            let piece = match byte_of(id, &name) {
                Some(byte) => VocabEntry { name, bytes: vec![byte], special: false },
                // Their names have lines of their own, so that no text produces them.
                None if id < FIRST_BYTE => VocabEntry::special(name.trim().to_string()),
                None => VocabEntry::plain(name),
            };
            (id, piece)
        };
        let vocab = Vocab::new((0..).zip(pieces).map(piece), true)?;
        let of_bytes = vocab.iter().filter_map(|(id, piece)| Some((byte_of(id, &piece.name)?, id))).collect();
        let unknown = Some(UNKNOWN);
        let parts = MergeSettings { scores, bytes: of_bytes, unknown, space: ' ', prefix: true, whole: Vec::new() };
        let merges = Merges::new(&vocab, parts)?;
        Self::new(Arc::new(vocab), Arc::new(merges), Origin::Llama2c(bytes.to_vec())).marked(Some(BOS), Some(EOS))
    }
}

/// Reads the score and the text of the next token.
fn token(rest: &mut &[u8], longest: i32) -> Result<(f32, String)> {
    let score = f32::from_le_bytes(take(rest)?);
    let length = i32::from_le_bytes(take(rest)?);
    if !(1..=longest).contains(&length) {
        bail!(Format, "expected a length of 1 to {longest} bytes, found {length}");
    }
    let Some((text, after)) = rest.split_at_checked(length as usize) else {
        bail!(Format, "expected {length} bytes, found {}", rest.len());
    };
    *rest = after;
    let text = std::str::from_utf8(text).map_err(|_| err!(Format, "expected UTF-8 text, found other bytes"))?;
    Ok((score, text.to_string()))
}

fn take(rest: &mut &[u8]) -> Result<[u8; 4]> {
    let (first, after) = rest.split_first_chunk().ok_or_else(|| {
        err!(Format, "expected 4 more bytes, found {}", rest.len()).hint("the file is truncated or damaged")
    })?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tokens: &[&str]) -> Vec<u8> {
        let longest = tokens.iter().map(|token| token.len() as i32).max().unwrap_or(0);
        let mut file = longest.to_le_bytes().to_vec();
        for (id, token) in tokens.iter().enumerate() {
            file.extend((-(id as f32)).to_le_bytes());
            file.extend((token.len() as i32).to_le_bytes());
            file.extend(token.as_bytes());
        }
        file
    }

    const TOKENS: [&str; 7] = ["<unk>", "\n<s>\n", "\n</s>\n", "<0x00>", " ", "a", " a"];

    #[test]
    fn a_text_gets_its_space_and_bos_only_when_asked() {
        let tokenizer = Tokenizer::from_llama2c(&file(&TOKENS), None).unwrap();
        let encode = |text: &str, bos| tokenizer.encode(text, bos, &Task::default()).unwrap();
        assert_eq!(encode("a a", None).ids, [6, 6]);
        assert_eq!(encode("a a", None).offsets, [0..1, 1..3]);
        assert_eq!(encode("a a", Some(true)).ids, [1, 6, 6]);
        assert!(encode("", None).ids.is_empty());
        assert_eq!(encode("a\0?", None).ids, [6, 3, 0]);
        assert_eq!(tokenizer.decode(&[1, 6, 6, 3, 2]).unwrap(), "<s>a a\0</s>");
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    }

    #[test]
    fn lying_lengths_and_counts_are_refused() {
        let whole = file(&TOKENS);
        let refused = |bytes: &[u8], tokens| Tokenizer::from_llama2c(bytes, Some(tokens)).unwrap_err().message;
        for length in 0..whole.len() {
            assert!(Tokenizer::from_llama2c(&whole[..length], Some(7)).is_err());
        }
        assert_eq!(refused(&whole, 6), "expected 6 tokens, found 7");
        assert!(refused(&whole[..whole.len() - 1], 7).starts_with("token 6: expected 2 bytes, found 1"));
        for lie in [0, -1, i32::MAX] {
            let mut lying = whole.clone();
            lying[8..12].copy_from_slice(&i32::to_le_bytes(lie));
            assert_eq!(refused(&lying, 7), format!("token 0: expected a length of 1 to 6 bytes, found {lie}"));
        }
        let mut endless = whole.clone();
        endless[..4].copy_from_slice(&i32::MAX.to_le_bytes());
        endless[8..12].copy_from_slice(&i32::MAX.to_le_bytes());
        assert!(refused(&endless, 7).starts_with("token 0: expected 2147483647 bytes, found"));
        assert!(refused(&0_i32.to_le_bytes(), 0).contains("no token"));
    }
}
