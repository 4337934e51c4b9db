//! The World tokenizer of RWKV: a list of texts and bytes, `rwkv_vocab_*.txt` or those in a GGUF file, of which a text takes the
//! longest at each place.

use std::collections::HashMap;

use super::metadata::Gguf;
use super::saving::Origin;
use super::vocab::{Vocab, VocabEntry};
use super::{Splitter, TokenSpan, Tokenizer};
use crate::common::*;

/// The token that the file leaves out, and its name in the code of the tokenizer's authors.
const END: (u32, &str) = (0, "<|rwkv_tokenizer_end_of_text|>");

/// The kind of tokenizer in GGUF files.
pub(super) const WORLD: &str = "rwkv";

/// The types of tokens that stand for bytes of a text, in `tokenizer.ggml.token_type`.
const OF_TEXT: [i64; 2] = [1, 4];

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
        let longest = Longest::of(&tokens)?;
        let has_end = tokens.iter().any(|(id, _)| *id == END.0);
        let end = (!has_end).then(|| (END.0, VocabEntry::special(END.1.into())));
        let entry = |(id, bytes): (u32, Vec<u8>)| (id, VocabEntry { name: name(&bytes), bytes, special: false });
        let vocab = Vocab::new(end.into_iter().chain(tokens.into_iter().map(entry)), false)?;
        let mark = (!has_end).then_some(END.0);
        Self::new(Arc::new(vocab), Arc::new(longest), Origin::World(bytes.to_vec())).marked(mark, mark)
    }

    /// Makes the tokenizer of a GGUF file, whose tokens are written as Python writes bytes. Names of control tokens, and those that
    /// fill the vocabulary, are plain text in a text.
    pub(super) fn of_world(parts: Gguf) -> Result<Self> {
        let mut entries = Vec::new();
        let mut tokens = Vec::new();
        for (id, escaped) in (0..).zip(&parts.tokens) {
            if parts.token_type.get(id as usize).is_some_and(|kind| !OF_TEXT.contains(kind)) {
                entries.push((id, VocabEntry::special(escaped.clone())));
                continue;
            }
            let bytes = unescaped(escaped, true, None).filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
                err!(Format, "expected bytes as Python writes them for token {id}, found `{escaped}`")
            })?;
            entries.push((id, VocabEntry { name: name(&bytes), bytes: bytes.clone(), special: false }));
            tokens.push((id, bytes));
        }
        let longest = Longest::of(&tokens)?;
        let vocab = Vocab::new(entries, false)?;
        let marks = [parts.bos_token_id, parts.eos_token_id];
        let adds_bos = parts.add_bos_token.unwrap_or(false);
        Self::of_gguf(Arc::new(vocab), Arc::new(longest), parts, marks, adds_bos)
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
    unescaped(inner, is_bytes, Some(quote)).ok_or_else(wrong)
}

/// Returns the bytes between the quotes of a literal; None if one of these `quote`s stands there as it is, or what Python would
/// not write.
fn unescaped(inner: &str, is_bytes: bool, quote: Option<char>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = inner.chars();
    let add = |x: char, bytes: &mut Vec<u8>| match u8::try_from(x) {
        Ok(byte) if is_bytes => bytes.push(byte),
        _ => bytes.extend(x.encode_utf8(&mut [0; 4]).as_bytes()),
    };
    while let Some(next) = rest.next() {
        if next != '\\' {
            if Some(next) == quote {
                return None;
            }
            bytes.extend(next.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let digits = match rest.next()? {
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
            _ => return None,
        };
        let code = rest.as_str().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        add(code.and_then(char::from_u32)?, &mut bytes);
        rest = rest.as_str()[digits..].chars();
    }
    Some(bytes)
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
    /// Makes the tree of tokens, among which there must be one for each byte.
    fn of(tokens: &[(u32, Vec<u8>)]) -> Result<Self> {
        let mut longest = Self::default();
        for (id, bytes) in tokens {
            longest.add(bytes, *id);
        }
        match (0..=u8::MAX).find(|byte| longest.at(&[*byte]).is_none()) {
            Some(byte) => bail!(Format, "expected a token for each byte, found none for 0x{byte:02X}"),
            None => Ok(longest),
        }
    }

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
    fn tokens_of_a_gguf_file_are_bytes_as_python_writes_them() {
        let single = (0..=u8::MAX).map(|byte| match byte {
            b'\\' => r"\\".to_string(),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        });
        let more = [" the", r"\xe7\x8c", r"\n\n", r#"\'\""#, "é", "[PAD]"].map(String::from);
        let tokens: Vec<String> = ["<s>".to_string()].into_iter().chain(single).chain(more).collect();
        let parts = Gguf {
            model: WORLD.into(),
            token_type: [vec![3], vec![1; tokens.len() - 2], vec![5]].concat(),
            bos_token_id: Some(0),
            tokens,
            ..Gguf::default()
        };
        let of = |parts: Gguf| Tokenizer::from_gguf(parts);
        let tokenizer = of(parts.clone()).unwrap();
        let ids = |text: &str| tokenizer.encode(text, None, &Task::default()).unwrap().ids;
        let byte = |byte: u8| u32::from(byte) + 1;
        assert_eq!(ids(" the\n\n猪é\\"), [257, 259, 258, byte(0xaa), 261, byte(b'\\')]);
        assert_eq!(ids("'\"'"), [260, byte(b'\'')]);
        // Control tokens and those that fill the vocabulary are no texts.
        assert_eq!(ids("<s>"), b"<s>".map(byte));
        assert_eq!(ids("[PAD]"), b"[PAD]".map(byte));
        assert_eq!(tokenizer.decode(&[257, 262, 258, byte(0xaa)]).unwrap(), " the[PAD]猪");
        assert_eq!((tokenizer.bos(), tokenizer.rule().0), (Some(0), &[][..]));
        assert!(of(Gguf { add_bos_token: Some(true), ..parts.clone() }).is_ok_and(|it| it.rule().0 == [0]));
        let with = |token: &str| {
            let mut tokens = parts.tokens.clone();
            tokens[7] = token.into();
            of(Gguf { tokens, ..parts.clone() }).unwrap_err().message
        };
        assert!(with(r"\q").ends_with(r"expected bytes as Python writes them for token 7, found `\q`"));
        assert!(with("").ends_with("for token 7, found ``"));
        assert!(with("and").ends_with("expected a token for each byte, found none for 0x06"));
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
