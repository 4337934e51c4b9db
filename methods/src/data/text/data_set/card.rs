//! The card of a data set: the subsets, splits and files that its `configs` list.
//!
//! A card begins with YAML between two lines `---`. Of it the part below `configs` is read, which is made of maps, lists and
//! words; what else YAML has, such as anchors, tags and texts of several lines, is refused there.

use serde_json::Map;

use crate::common::*;

/// Maximum depth of lists and maps in each other; cards have four levels.
const DEEPEST: usize = 16;

/// A subset, as the card describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub is_default: bool,
    /// The folder that its files are in.
    pub folder: Option<String>,
    /// Each split with the patterns of its files; none where the names of the files say it.
    pub splits: Vec<(String, Vec<String>)>,
}

/// Reads the subsets that a card describes, in its order; none if it describes none.
pub fn configs(card: &str) -> Result<Vec<Config>> {
    let Some(value) = below_configs(card)? else { return Ok(Vec::new()) };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(config).collect(),
        _ => Err(err!(Format, "expected a list below `configs`, found something else")),
    }
}

fn config(value: &Value) -> Result<Config> {
    let Value::Object(fields) = value else {
        return Err(err!(Format, "expected a map for each of `configs`, found something else"));
    };
    let word = |name: &str| fields.get(name).and_then(Value::as_str).map(String::from);
    let name = word("config_name").unwrap_or_else(|| "default".into());
    let splits = match fields.get("data_files") {
        Some(files) => splits(files).map_err(|e| e.within(format!("the subset `{name}`")))?,
        None => Vec::new(),
    };
    Ok(Config { name, is_default: fields.get("default") == Some(&Value::Bool(true)), folder: word("data_dir"), splits })
}

/// Reads the splits of `data_files`: patterns alone are those of the split `train`.
fn splits(files: &Value) -> Result<Vec<(String, Vec<String>)>> {
    match files {
        Value::Null => Ok(Vec::new()),
        Value::Object(of_split) => of_split.iter().map(|(split, path)| Ok((split.clone(), patterns(path)?))).collect(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let mut found: Vec<(String, Vec<String>)> = Vec::new();
            for item in items {
                let split = item.get("split").and_then(Value::as_str).unwrap_or("train");
                let paths = patterns(item.get("path").unwrap_or(&Value::Null))?;
                match found.iter_mut().find(|(known, _)| known == split) {
                    Some((_, known)) => known.extend(paths),
                    None => found.push((split.into(), paths)),
                }
            }
            Ok(found)
        }
        paths => Ok(vec![("train".into(), patterns(paths)?)]),
    }
}

fn patterns(paths: &Value) -> Result<Vec<String>> {
    let of_one = |path: &Value| path.as_str().map(|path| path.trim_start_matches("./").to_string());
    let found: Option<Vec<String>> = match paths {
        Value::Array(paths) => paths.iter().map(of_one).collect(),
        path => of_one(path).map(|path| vec![path]),
    };
    found.ok_or_else(|| err!(Format, "expected paths of files in `data_files`, found something else"))
}

/// Reads the value of `configs` at the top level of a card's YAML.
fn below_configs(card: &str) -> Result<Option<Value>> {
    let mut lines = (1..).zip(card.trim_start_matches('\u{feff}').lines());
    if lines.next().is_none_or(|(_, first)| first.trim_end() != "---") {
        return Ok(None);
    }
    let mut lines = lines.take_while(|(_, line)| line.trim_end() != "---");
    let Some((number, rest)) = lines.find_map(|(number, line)| Some((number, line.strip_prefix("configs:")?))) else {
        return Ok(None);
    };
    if !is_empty(rest) {
        return scalar(rest.trim(), number).map(Some);
    }
    let mut below = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !is_empty(line)) {
        let text = line.trim_start_matches(' ');
        let indent = line.len() - text.len();
        if indent == 0 && !is_item(text) {
            break;
        }
        below.push(CardLine { number, indent, text: text.trim_end() });
    }
    let mut reader = CardReader { lines: below, at: 0 };
    let Some(first) = reader.lines.first().map(|line| line.indent) else { return Ok(None) };
    let value = reader.block(first, 0)?;
    match reader.lines.get(reader.at) {
        Some(line) => Err(line.wrong("expected the indentation of a line before")),
        None => Ok(Some(value)),
    }
}

/// Tells whether a line has nothing but a comment.
fn is_empty(line: &str) -> bool {
    let text = line.trim();
    text.is_empty() || text.starts_with('#')
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

#[derive(Clone, Copy)]
struct CardLine<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

impl CardLine<'_> {
    fn wrong(&self, expected: &str) -> Error {
        wrong(expected, self.text, self.number)
    }
}

fn wrong(expected: &str, found: &str, number: usize) -> Error {
    let found: String = found.chars().take(40).collect();
    err!(Format, "{expected} on line {number} of the card, found `{}`", found.escape_debug())
}

struct CardReader<'a> {
    lines: Vec<CardLine<'a>>,
    at: usize,
}

impl<'a> CardReader<'a> {
    fn line(&self) -> Option<CardLine<'a>> {
        self.lines.get(self.at).copied()
    }

    /// Reads the value that begins on this line, at this indentation.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let Some(line) = self.line() else { return Ok(Value::Null) };
        if depth > DEEPEST {
            return Err(line.wrong("expected lists and maps that are not so deep"));
        }
        if is_item(line.text) {
            return self.list(indent, depth);
        }
        if key(line.text).is_some() {
            return self.map(indent, depth);
        }
        self.at += 1;
        scalar(line.text, line.number)
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.line().filter(|line| line.indent == indent && is_item(line.text)) {
            let rest = line.text.get(1..).unwrap_or_default().trim_start();
            if is_empty(rest) {
                self.at += 1;
                items.push(self.below(indent, depth)?);
                continue;
            }
            // What follows the dash begins a block of its own there.
            let inner = indent + line.text.len() - rest.len();
            self.lines[self.at] = CardLine { indent: inner, text: rest, ..line };
            items.push(self.block(inner, depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let mut fields = Map::new();
        while let Some(line) = self.line().filter(|line| line.indent == indent && !is_item(line.text)) {
            let (name, rest) = key(line.text).ok_or_else(|| line.wrong("expected a key and a colon"))?;
            self.at += 1;
            let value = if is_empty(rest) {
                // A list may begin below its key without being moved to the right.
                match self.line() {
                    Some(next) if next.indent == indent && is_item(next.text) => self.list(indent, depth + 1)?,
                    _ => self.below(indent, depth)?,
                }
            } else {
                scalar(rest.trim(), line.number)?
            };
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }

    /// Reads the block that is indented further than this, if there is one.
    fn below(&mut self, indent: usize, depth: usize) -> Result<Value> {
        match self.line() {
            Some(next) if next.indent > indent => self.block(next.indent, depth + 1),
            _ => Ok(Value::Null),
        }
    }
}

/// Splits a line into its key and what follows the colon.
fn key(text: &str) -> Option<(String, &str)> {
    if let Some((name, rest)) = quoted(text) {
        return Some((name, rest.trim_start().strip_prefix(':')?));
    }
    let (name, rest) = text.split_once(": ").or_else(|| Some((text.strip_suffix(':')?, "")))?;
    Some((name.trim().into(), rest))
}

/// Reads a string in quotes at the beginning of a text, and returns the rest, too.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut found = String::new();
    let mut rest = text.get(1..)?.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            // In single quotes, two of them stand for one.
            '\'' if quote == '\'' && rest.peek().is_some_and(|(_, next)| *next == '\'') => {
                rest.next();
                found.push('\'');
            }
            c if c == quote => return Some((found, text.get(at + 2..)?)),
            '\\' if quote == '"' => found.push(match rest.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            c => found.push(c),
        }
    }
    None
}

/// Reads a word, or a list of words in brackets, on one line.
fn scalar(text: &str, number: usize) -> Result<Value> {
    let expected = || wrong("expected a word or a list of words", text, number);
    let (value, rest) = match text.strip_prefix('[') {
        Some(list) => words(list).ok_or_else(expected)?,
        None => word(text, &[" #"]).ok_or_else(expected)?,
    };
    if is_empty(rest) { Ok(value) } else { Err(expected()) }
}

/// Reads the words of a list up to its closing bracket, and returns the rest, too.
fn words(mut text: &str) -> Option<(Value, &str)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix(']') {
            return Some((Value::Array(found), rest));
        }
        let (value, rest) = word(text, &[",", "]", " #"])?;
        found.push(value);
        text = rest.trim_start();
        match text.strip_prefix(',') {
            Some(rest) => text = rest,
            None if text.starts_with(']') => {}
            None => return None,
        }
    }
}

/// Reads a word, which one of `ends` ends if it is not in quotes, and returns the rest, too.
fn word<'a>(text: &'a str, ends: &[&str]) -> Option<(Value, &'a str)> {
    if text.starts_with(['"', '\'']) {
        return quoted(text).map(|(text, rest)| (Value::String(text), rest));
    }
    if text.starts_with(['{', '[', '|', '>', '&', '!', '%', '@', '`']) {
        return None;
    }
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    let (found, rest) = text.split_at_checked(end)?;
    let value = match found.trim() {
        "" => return None,
        "null" | "~" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        word => Value::String(word.into()),
    };
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, is_default: bool, folder: Option<&str>, splits: &[(&str, &[&str])]) -> Config {
        let one = |(split, paths): &(&str, &[&str])| (split.to_string(), paths.iter().map(|p| p.to_string()).collect());
        Config {
            name: name.into(),
            is_default,
            folder: folder.map(String::from),
            splits: splits.iter().map(one).collect(),
        }
    }

    #[test]
    fn subsets_splits_and_patterns_are_read_as_cards_write_them() {
        let card = "---\nlicense: mit\ndescription: |\n  configs: none\nconfigs:\n- config_name: en   # the first\n  \
                    data_files:\n  - split: train\n    path: \"en/train-*\"\n  - split: test\n    path:\n    - 'en/a''b.parquet'\n\
                    \x20   - en/test-*.parquet\n  default: true\n\n- config_name: '2019'\n  data_dir: years\n- config_name: all\n  \
                    data_files: [\"**/*.jsonl\", x.jsonl]\n- config_name: map\n  data_files:\n    train: a/*\n    dev: b/*\ntags:\n- x\n---\n\
                    # Title\nconfigs:\n- config_name: not this\n";
        let expected = [
            config("en", true, None, &[("train", &["en/train-*"]), ("test", &["en/a'b.parquet", "en/test-*.parquet"])]),
            config("2019", false, Some("years"), &[]),
            config("all", false, None, &[("train", &["**/*.jsonl", "x.jsonl"])]),
            config("map", false, None, &[("train", &["a/*"]), ("dev", &["b/*"])]),
        ];
        assert_eq!(configs(card).unwrap(), expected);
        // Lists that are moved to the right, and two entries of one split.
        let card = "---\nconfigs:\n  - config_name: default\n    data_files:\n      - split: train\n        path: a\n      - \
                    split: train\n        path: b\n---";
        assert_eq!(configs(card).unwrap(), [config("default", false, None, &[("train", &["a", "b"])])]);
    }

    #[test]
    fn a_card_without_subsets_describes_none() {
        for card in
            ["", "# Title", "---\nlicense: mit\n---\nconfigs:\n- x", "---\nconfigs: []\n---", "---\nconfigs:\n---"]
        {
            assert_eq!(configs(card).unwrap(), [], "{card}");
        }
    }

    #[test]
    fn what_is_no_card_is_refused_with_its_line() {
        let error = |below: &str| configs(&format!("---\nconfigs:\n{below}\n---")).unwrap_err().message;
        let alias = "- config_name: &x a";
        assert_eq!(error(alias), "expected a word or a list of words on line 3 of the card, found `&x a`");
        assert_eq!(
            error("- config_name: a\n  data_files: |\n    x"),
            "expected a word or a list of words on line 4 of the card, found `|`"
        );
        assert!(error("- a: b\n   c: d").starts_with("expected the indentation of a line before on line 4"));
        assert!(error("- config_name: a\n  data_files:\n  - split: train").contains("expected paths of files"));
        assert!(error("- word").starts_with("expected a map for each of `configs`"));
        assert!(error(&format!("{}x", "- ".repeat(99))).contains("not so deep"));
        assert!(error("- config_name: \"x").contains("expected a word"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn no_card_ends_the_program(below in "([-:#'\"\\[\\], \na&é]|config_name: |  - ){0,60}") {
            let _read_or_refused = configs(&format!("---\nconfigs:\n{below}\n---"));
        }
    }
}
