//! YAML as PyYAML writes data: maps and lists in blocks, and scalars in their three forms. Anchors, tags, inline maps and
//! comments behind values are refused or read as text; they are in no file that is read here.

use serde_json::{Map, Number, Value};

use crate::base::Result;
use crate::{bail, err};

/// Largest depth of maps and lists.
const DEEPEST: usize = 30;

/// A line that is neither empty nor a comment: its number from 1, its indentation, and the rest of it.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a document.
pub fn read(text: &str) -> Result<Value> {
    let all: Vec<Line> = text
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let content = line.trim_start_matches(' ');
            Line { number: at + 1, indent: line.len() - content.len(), text: content.trim_end() }
        })
        .collect();
    let mut reader = Reader { lines: all, at: 0 };
    reader.skip_empty();
    let value = reader.block(0, 0)?;
    reader.skip_empty();
    match reader.lines.get(reader.at) {
        None => Ok(value),
        Some(line) => Err(strange(line.number, line.text)),
    }
}

fn strange(number: usize, found: &str) -> crate::base::Error {
    err!(File, "expected YAML of maps and lists in blocks, found {found:?} in line {number}")
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn skip_empty(&mut self) {
        let is_empty = |line: &Line| line.text.is_empty() || line.text.starts_with('#') || line.text == "---";
        while self.lines.get(self.at).is_some_and(is_empty) {
            self.at += 1;
        }
    }

    /// Reads a map or a list whose lines are indented by at least `indent`.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            bail!(File, "expected YAML of at most {DEEPEST} levels, found more");
        }
        let Some(first) = self.lines.get(self.at).filter(|line| line.indent >= indent) else { return Ok(Value::Null) };
        let own = first.indent;
        if is_item(first.text) { self.list(own, depth) } else { self.map(own, depth) }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let mut list = Vec::new();
        while let Some(line) = self.next_at(indent).filter(|line| is_item(line.text)) {
            let rest = line.text[1..].trim_start();
            let inner = indent + line.text.len() - rest.len();
            if key_of(rest).is_some() {
                // A map that begins behind the mark, whose other keys stand below its first one.
                let line = &mut self.lines[self.at];
                (line.indent, line.text) = (inner, rest);
                list.push(self.map(inner, depth + 1)?);
            } else {
                self.at += 1;
                list.push(self.value(rest, indent + 1, depth)?);
            }
        }
        Ok(Value::Array(list))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let mut map = Map::new();
        while let Some(line) = self.next_at(indent).filter(|line| !is_item(line.text)) {
            let number = line.number;
            let text = line.text;
            let (key, rest) = key_of(text).ok_or_else(|| strange(number, text))?;
            self.at += 1;
            let value = if rest.is_empty() {
                self.skip_empty();
                // A list may be indented as its key is.
                let is_list = self.lines.get(self.at).is_some_and(|line| line.indent == indent && is_item(line.text));
                self.block(if is_list { indent } else { indent + 1 }, depth + 1)?
            } else {
                self.value(rest, indent + 1, depth)?
            };
            if map.insert(key.clone(), value).is_some() {
                bail!(File, "expected each key once, found {key:?} again in line {number}");
            }
        }
        Ok(Value::Object(map))
    }

    /// Returns the next line that has something, if it is indented by exactly so much.
    fn next_at(&mut self, indent: usize) -> Option<&Line<'a>> {
        self.skip_empty();
        self.lines.get(self.at).filter(|line| line.indent == indent)
    }

    /// Reads a scalar that begins with `first`, whose further lines are indented by at least `indent`.
    fn value(&mut self, first: &str, indent: usize, depth: usize) -> Result<Value> {
        match first.chars().next() {
            Some(mark @ ('|' | '>')) => self.literal(mark == '|', &first[1..], indent).map(Value::String),
            Some(mark @ ('\'' | '"')) => self.quoted(mark, &first[1..]).map(Value::String),
            Some('[') => inline(first).ok_or_else(|| strange(self.lines[self.at - 1].number, first)),
            Some('{') if first == "{}" => Ok(Value::Object(Map::new())),
            Some('&' | '*' | '!' | '{' | '%' | '@' | '`') => Err(strange(self.lines[self.at - 1].number, first)),
            None => self.block(indent, depth + 1),
            _ if is_item(first) => Err(strange(self.lines[self.at - 1].number, first)),
            _ => {
                let mut text = first.to_string();
                while let Some(line) =
                    self.lines.get(self.at).filter(|line| line.indent >= indent && !line.text.is_empty())
                {
                    text.push(' ');
                    text.push_str(line.text);
                    self.at += 1;
                }
                Ok(plain(&text))
            }
        }
    }

    /// Reads the lines of a block scalar: literal ones keep their ends, folded ones are joined by spaces.
    fn literal(&mut self, keeps_lines: bool, form: &str, indent: usize) -> Result<String> {
        if !["", "-", "+"].contains(&form) {
            return Err(strange(self.lines[self.at - 1].number, form));
        }
        let mut lines: Vec<String> = Vec::new();
        let mut own = None;
        while let Some(line) = self.lines.get(self.at).filter(|line| line.text.is_empty() || line.indent >= indent) {
            let own = if line.text.is_empty() { 0 } else { *own.get_or_insert(line.indent) };
            lines.push(format!("{}{}", " ".repeat(line.indent.saturating_sub(own)), line.text).trim_end().to_string());
            self.at += 1;
        }
        let kept = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines.truncate(kept);
        let text = if keeps_lines { lines.join("\n") } else { folded(&lines) };
        Ok(if form == "-" { text } else { text + "\n" })
    }

    /// Reads a text in quotes, whose first line is `first`. A single end of a line is a space, several are one fewer.
    fn quoted(&mut self, mark: char, first: &str) -> Result<String> {
        let begun = self.lines[self.at - 1].number;
        let mut lines = vec![first.to_string()];
        loop {
            let last = lines.last().map(String::as_str).unwrap_or_default();
            if let Some(end) = closing(mark, last) {
                if !last[end + 1..].trim().is_empty() {
                    return Err(strange(begun, last));
                }
                let rest = last[..end].to_string();
                lines.pop();
                lines.push(rest);
                return if mark == '\'' { Ok(folded(&lines).replace("''", "'")) } else { unescaped(&lines, begun) };
            }
            let Some(line) = self.lines.get(self.at) else {
                bail!(File, "expected the end of the text in quotes that begins in line {begun}, found none");
            };
            lines.push(line.text.to_string());
            self.at += 1;
        }
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// Splits `key: value`; None for a text without a key.
fn key_of(text: &str) -> Option<(String, &str)> {
    let (key, rest) = match text.strip_suffix(':') {
        Some(key) if !key.contains(": ") => (key, ""),
        _ => text.split_once(": ")?,
    };
    let key = key.trim();
    let quoted = |mark: char| key.len() > 1 && key.starts_with(mark) && key.ends_with(mark);
    let is_plain = !key.is_empty() && !key.starts_with(['\'', '"', '[', '{', '&', '*', '!', '|', '>']);
    match () {
        () if quoted('\'') || quoted('"') => Some((key[1..key.len() - 1].to_string(), rest.trim())),
        () if is_plain => Some((key.to_string(), rest.trim())),
        () => None,
    }
}

/// Finds the mark that closes a text in quotes.
fn closing(mark: char, text: &str) -> Option<usize> {
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if mark == '"' => drop(letters.next()),
            '\'' if mark == '\'' && letters.peek().is_some_and(|(_, next)| *next == '\'') => drop(letters.next()),
            letter if letter == mark => return Some(at),
            _ => {}
        }
    }
    None
}

/// Joins lines: an end between two is a space, n empty lines are n ends.
fn folded(lines: &[String]) -> String {
    let mut text = String::new();
    let mut empty = 0;
    for (at, line) in lines.iter().enumerate() {
        if line.is_empty() && at > 0 && at + 1 < lines.len() {
            empty += 1;
            continue;
        }
        match (at, empty) {
            (0, _) => {}
            (_, 0) => text.push(' '),
            (_, empty) => text.extend(std::iter::repeat_n('\n', empty)),
        }
        empty = 0;
        text.push_str(line);
    }
    text
}

/// Reads the lines of a text in double quotes: joins them, but for those that end in a backslash, and replaces its escapes.
fn unescaped(lines: &[String], number: usize) -> Result<String> {
    let is_open = |line: &str| line.chars().rev().take_while(|letter| *letter == '\\').count() % 2 == 1;
    let mut joined: Vec<String> = Vec::new();
    for line in lines {
        match joined.last_mut().filter(|before| is_open(before)) {
            Some(before) => {
                before.pop();
                before.push_str(line);
            }
            None => joined.push(line.clone()),
        }
    }
    let text = folded(&joined);
    let mut found = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            found.push(letter);
            continue;
        }
        let meant = match letters.next() {
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('0') => Some('\0'),
            Some(same @ ('"' | '\\' | '/' | ' ')) => Some(same),
            Some('x') => by_code(&mut letters, 2),
            Some('u') => by_code(&mut letters, 4),
            Some('U') => by_code(&mut letters, 8),
            _ => None,
        };
        found.push(meant.ok_or_else(|| strange(number, &text))?);
    }
    Ok(found)
}

/// Reads the next digits as the code of a character.
fn by_code(letters: &mut std::str::Chars, digits: usize) -> Option<char> {
    let hex: String = letters.take(digits).collect();
    u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits).and_then(char::from_u32)
}

/// Reads a list in one line, of scalars without quotes; None for others.
fn inline(text: &str) -> Option<Value> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    if inside.contains(['[', ']', '{', '}', '"', '\'']) {
        return None;
    }
    let parts = inside.split(',').map(|part| plain(part.trim()));
    Some(Value::Array(if inside.is_empty() { Vec::new() } else { parts.collect() }))
}

/// Reads a scalar without quotes.
fn plain(text: &str) -> Value {
    match text {
        "null" | "~" | "" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if text.starts_with(|letter: char| letter.is_ascii_digit() || ['-', '+', '.'].contains(&letter)) => {
            let whole = text.parse::<i64>().ok().map(Value::from);
            let number = || text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number);
            whole.or_else(number).unwrap_or_else(|| Value::String(text.into()))
        }
        _ => Value::String(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_pyyaml_writes_is_read() {
        // yaml.safe_dump(.., sort_keys=False) of PyYAML 6.0.3.
        let text = r#"
kind: nla_model
d_model: 3584
extraction:
  injection_scale: 150.0
  mse_scale: null
tokens:
  injection_char: "\u320E"
  critic_suffix_ids:
  - 1
  - 29
  empty: []
prompt_templates:
  av: 'You describe the semantic content of
    that activation vector, it''s one.


    Here is the vector: <concept>{injection_char}</concept>

    Explain.

    '
  ar: "\u320E of the following \\ \"text\" that is\
    \ long: <text>{explanation}</text>\tand\n\nmore"
trained_on:
- 'corpus: a'
- name: b
  rows: 3
training:
  lr: 1.0e-05
  is_last: true
  note: a text of several words that goes on
    in a second line
"#;
        let found = read(text).unwrap();
        assert_eq!(found["d_model"], json!(3584));
        assert_eq!(found["extraction"], json!({ "injection_scale": 150.0, "mse_scale": null }));
        assert_eq!(found["tokens"], json!({ "injection_char": "㈎", "critic_suffix_ids": [1, 29], "empty": [] }));
        let av = "You describe the semantic content of that activation vector, it's one.\n\nHere is the vector: \
            <concept>{injection_char}</concept>\nExplain.\n";
        assert_eq!(found["prompt_templates"]["av"], json!(av));
        let ar = "㈎ of the following \\ \"text\" that is long: <text>{explanation}</text>\tand\n\nmore";
        assert_eq!(found["prompt_templates"]["ar"], json!(ar));
        assert_eq!(found["trained_on"], json!(["corpus: a", { "name": "b", "rows": 3 }]));
        let note = "a text of several words that goes on in a second line";
        assert_eq!(found["training"], json!({ "lr": 1e-5, "is_last": true, "note": note }));
    }

    #[test]
    fn literal_blocks_keep_their_lines() {
        let found = read("a: |-\n  one\n\n    two\n  three\nb: |\n  x\nc: >-\n  x\n  y\n").unwrap();
        assert_eq!(found, json!({ "a": "one\n\n  two\nthree", "b": "x\n", "c": "x y" }));
    }

    #[test]
    fn what_is_not_read_is_refused() {
        for text in [
            "a: &x 1",
            "a: {b: 1}",
            "a: !!python/tuple [1]",
            "a: 'x",
            "a: \"\\q\"",
            "a: 1\na: 2",
            "a: 1\n  - 2\nb",
            "a: [[1]]",
            "- - 1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let deep: String = (0..50).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(read(&deep).is_err());
    }
}
