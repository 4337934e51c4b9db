//! The World tokenizer of RWKV: a list of texts and bytes, `rwkv_vocab_*.txt`, of which a text takes the longest at each place.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::saving::Origin;
use super::vocab::{Vocab, VocabEntry};
use super::{Splitter, TokenSpan, Tokenizer};
use crate::base::{Result, Task};
use crate::{bail, err};

/// The token that the file leaves out, and its name in the code of the tokenizer's authors.
const END: (u32, &str) = (0, "<|rwkv_tokenizer_end_of_text|>");

/// Bytes of a text between two checks for an interruption.
const PIECE: usize = 1 << 16;

impl Tokenizer {
    /// Reads a `rwkv_vocab_*.txt`: lines of an id, a literal of Python and the number of its bytes. Nothing is added to a text
    /// unless asked for.
    pub fn from_world(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| err!(Format, "expected UTF-8 text, found other bytes"))?;
        let mut tokens = Vec::new();
        for (number, line) in text.split('\n').enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            tokens.push(token(line.trim_end_matches('\r')).map_err(|e| e.within(format!("line {}", number + 1)))?);
        }
        let mut longest = Longest::default();
        for (id, bytes) in &tokens {
            longest.add(bytes, *id);
        }
        if let Some(byte) = (0..=u8::MAX).find(|byte| longest.at(&[*byte]).is_none()) {
            bail!(Format, "expected a token for each byte, found none for 0x{byte:02X}");
        }
        let has_end = tokens.iter().any(|(id, _)| *id == END.0);
        let end = (!has_end).then(|| (END.0, VocabEntry::special(END.1.into())));
        let entry = |(id, bytes): (u32, Vec<u8>)| (id, VocabEntry { name: name(&bytes), bytes, special: false });
        let vocab = Vocab::new(end.into_iter().chain(tokens.into_iter().map(entry)), false)?;
        let mark = (!has_end).then_some(END.0);
        Self::new(Arc::new(vocab), Arc::new(longest), Origin::World(bytes.to_vec())).marked(mark, mark)
    }
}

/// Reads a line: the id of a token, and its bytes.
fn token(line: &str) -> Result<(u32, Vec<u8>)> {
    let parts = line.split_once(' ').and_then(|(id, rest)| Some((id, rest.rsplit_once(' ')?)));
    let Some((id, (literal, length))) = parts else {
        bail!(Format, "expected an id, a literal and a number of bytes, found {line:?}");
    };
    let id = id.parse().map_err(|_| err!(Format, "expected the id of a token, found {id:?}"))?;
    let bytes = literal_bytes(literal)?;
    if length.parse() != Ok(bytes.len()) || bytes.is_empty() {
        bail!(Format, "expected as many bytes as {literal} has, {}, found {length:?}", bytes.len());
    }
    Ok((id, bytes))
}

/// Returns the bytes of a literal of Python: a text in UTF-8, or bytes.
fn literal_bytes(literal: &str) -> Result<Vec<u8>> {
    let wrong = || err!(Format, "expected a literal of Python, found {literal}");
    let (is_bytes, quoted) = match literal.strip_prefix('b') {
        Some(quoted) => (true, quoted),
        None => (false, literal),
    };
    let quote = quoted.chars().next().filter(|quote| ['\'', '"'].contains(quote)).ok_or_else(wrong)?;
    let inner = quoted[1..].strip_suffix(quote).ok_or_else(wrong)?;
    let mut bytes = Vec::new();
    let mut rest = inner.chars();
    let add = |x: char, bytes: &mut Vec<u8>| match u8::try_from(x) {
        Ok(byte) if is_bytes => bytes.push(byte),
        _ => bytes.extend(x.encode_utf8(&mut [0; 4]).as_bytes()),
    };
    while let Some(next) = rest.next() {
        if next != '\\' {
            if next == quote {
                return Err(wrong());
            }
            add(next, &mut bytes);
            continue;
        }
        let digits = match rest.next().ok_or_else(wrong)? {
            'x' => 2,
            'u' if !is_bytes => 4,
            'U' if !is_bytes => 8,
            'n' => {
                add('\n', &mut bytes);
                continue;
            }
            'r' => {
                add('\r', &mut bytes);
                continue;
            }
            't' => {
                add('\t', &mut bytes);
                continue;
            }
            same @ ('\\' | '\'' | '"') => {
                add(same, &mut bytes);
                continue;
            }
            _ => return Err(wrong()),
        };
        let code = rest.as_str().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        add(code.and_then(char::from_u32).ok_or_else(wrong)?, &mut bytes);
        rest = rest.as_str()[digits..].chars();
    }
    Ok(bytes)
}

/// Names a token by its text, with the bytes that are none.
fn name(bytes: &[u8]) -> String {
    let mut name = String::new();
    for chunk in bytes.utf8_chunks() {
        name.push_str(chunk.valid());
        name.extend(chunk.invalid().iter().map(|byte| format!("<0x{byte:02X}>")));
    }
    name
}

/// A tree of the bytes of all tokens.
struct Longest {
    /// The node behind a node and a byte.
    behind: HashMap<(u32, u8), u32>,
    /// The token that ends at each node; the first node is the root.
    tokens: Vec<Option<u32>>,
}

impl Default for Longest {
    fn default() -> Self {
        Self { behind: HashMap::new(), tokens: vec![None] }
    }
}

impl Longest {
    fn add(&mut self, bytes: &[u8], id: u32) {
        let mut node = 0;
        for byte in bytes {
            let fresh = self.tokens.len() as u32;
            node = *self.behind.entry((node, *byte)).or_insert(fresh);
            if node == fresh {
                self.tokens.push(None);
            }
        }
        self.tokens[node as usize] = Some(id);
    }

    /// Returns the longest token that bytes begin with, and its length.
    fn at(&self, bytes: &[u8]) -> Option<(u32, usize)> {
        let mut node = 0;
        let mut found = None;
        for (at, byte) in bytes.iter().enumerate() {
            let Some(next) = self.behind.get(&(node, *byte)) else { break };
            node = *next;
            found = self.tokens[node as usize].map(|id| (id, at + 1)).or(found);
        }
        found
    }
}

impl Splitter for Longest {
    fn split(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        let mut at = 0;
        let mut checked = 0;
        while at < bytes.len() {
            if at >= checked {
                task.check()?;
                checked = at + PIECE;
            }
            let (id, length) = self.at(&bytes[at..]).ok_or_else(|| err!(Bug, "a byte that is no token"))?;
            let span: Range<usize> = at..at + length;
            found.push((id, span));
            at += length;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bytes as Python shows them, as text where they are some.
    fn shown(bytes: &[u8]) -> String {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|x| !x.is_control()) => format!("{text:?}"),
            Ok(text) => {
                let each = text.chars().map(|x| match x {
                    '\n' => "\\n".into(),
                    '\t' => "\\t".into(),
                    x => format!("\\x{:02x}", x as u32),
                });
                format!("'{}'", each.collect::<String>())
            }
            Err(_) => format!("b'{}'", bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>()),
        }
    }

    fn file(more: &[&[u8]]) -> String {
        let single = (0..=u8::MAX).map(|byte| vec![byte]);
        let all = single.chain(more.iter().map(|bytes| bytes.to_vec()));
        (1..).zip(all).map(|(id, bytes)| format!("{id} {} {}\n", shown(&bytes), bytes.len())).collect()
    }

    const MORE: [&[u8]; 8] = [b" the", b" t", b"the", b"\n\n", "é".as_bytes(), b"\xe7\x8c", "猫".as_bytes(), b" there"];

    #[test]
    fn a_text_takes_the_longest_token_at_each_place() {
        let tokenizer = Tokenizer::from_world(file(&MORE).as_bytes()).unwrap();
        let encode = |text: &str| tokenizer.encode(text, None, &Task::default()).unwrap();
        assert_eq!(encode(" the there t").ids, [257, 264, 258]);
        assert_eq!(encode(" ther").ids, [257, 115]);
        assert_eq!(encode(" ther").offsets, [0..4, 4..5]);
        assert_eq!(encode("é\n\n猫\n").ids, [261, 260, 263, 11]);
        // 猪 begins as 猫 does.
        assert_eq!(encode("猪").ids, [262, 0xaa + 1]);
        assert_eq!(tokenizer.decode(&encode("猪 the\n").ids).unwrap(), "猪 the\n");
        assert_eq!(tokenizer.text_of(262).unwrap(), "<0xE7><0x8C>");
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(0), Some(0)));
        assert!(encode("").ids.is_empty());
        assert_eq!(tokenizer.encode("t", Some(true), &Task::default()).unwrap().ids, [0, 117]);
    }

    #[test]
    fn literals_are_those_of_python() {
        for (literal, bytes) in [
            (r"'\x00'", &b"\0"[..]),
            (r"'\\'", b"\\"),
            (r#"'"'"#, b"\""),
            (r#""'""#, b"'"),
            (r"b'\xe2\x80'", b"\xe2\x80"),
            (r"'\x80'", "\u{80}".as_bytes()),
            (r"'\u200b\U0001f600'", "\u{200b}😀".as_bytes()),
            ("' '", b" "),
        ] {
            assert_eq!(literal_bytes(literal).unwrap(), bytes, "{literal}");
        }
        for literal in ["", "'", "x", "'a", "'a'b'", r"'\q'", r"'\x0'", r"b'\u0041'", r"'\ud800'", r"'\'"] {
            assert!(literal_bytes(literal).is_err(), "{literal}");
        }
    }

    #[test]
    fn files_that_are_none_are_refused_by_line() {
        let refused = |text: String| Tokenizer::from_world(text.as_bytes()).unwrap_err().message;
        assert!(
            refused(file(&MORE).replacen("' the'", "' th'", 1).replacen("\" the\"", "\" th\"", 1)).contains("line 257")
        );
        assert!(refused("1 'a' 1\n".into()).contains("expected a token for each byte"));
        assert!(refused("x 'a' 1\n".into()).contains("expected the id"));
        assert!(refused(format!("{}9999 'the' 3\n", file(&MORE))).contains("expected tokens that differ"));
        assert!(refused(format!("{}7 'ab' 2\n", file(&MORE))).contains("one token of id 7"));
    }
}
