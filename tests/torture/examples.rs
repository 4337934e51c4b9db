//! Examples with tokens removed, doubled, swapped or replaced.

use std::path::Path;

use microtome::script::docs::Docs;
use microtome::script::docs::stdlib::stdlib_path;
use microtome::script::engine::tokens::{self, TokenKind};

use super::dice::Dice;
use super::values::ValueMaker;

pub struct Examples {
    /// The origin of each, and its text.
    texts: Vec<(String, String)>,
    /// The number of complete ones, which are not pieces of something longer.
    whole: usize,
}

impl Examples {
    /// The examples of the reference, the steps of the tour, and pieces of the language's tests.
    pub fn of(docs: &Docs) -> Self {
        let documented = docs.own().filter(|entry| !entry.doc.example.is_empty()).map(|entry| {
            let import = stdlib_path(&entry.module).map(|path| format!("import \"{path}\" as {};\n", entry.module));
            (entry.path(), format!("{}{}", import.unwrap_or_default(), as_one(&entry.doc.example)))
        });
        let mut texts: Vec<(String, String)> = documented.collect();
        let whole = texts.len();
        for folder in ["examples", "tests/suite"] {
            let mut files: Vec<_> =
                std::fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
            files.retain(|path| path.extension().is_some_and(|ending| ending == "rhai"));
            files.sort();
            for file in files {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&file).unwrap();
                // Most text between empty lines is complete code.
                let pieces = text.split("\n\n").filter(|piece| piece.contains(';') || piece.contains("//=>"));
                texts.extend(pieces.map(|piece| (name.clone(), as_one(piece))));
            }
        }
        Self { texts, whole }
    }

    /// The origin of an example, and the changed example.
    pub fn case(&self, dice: &mut Dice) -> (String, String) {
        let of = if dice.chance(0.9) { &self.texts[..self.whole] } else { &self.texts[..] };
        let (name, mut text) = dice.pick(of).clone();
        for _ in 0..1 + dice.below(2) * dice.below(3) {
            text = self.changed(&text, dice);
        }
        (name, text)
    }

    fn changed(&self, text: &str, dice: &mut Dice) -> String {
        let words = tokens::tokens(text);
        let places: Vec<_> = words.iter().filter(|token| token.kind != TokenKind::Comment).collect();
        if places.is_empty() {
            return text.into();
        }
        let at = dice.below(places.len());
        let token = places[at];
        let other = places[dice.below(places.len())];
        let next = places.get(at + 1).copied().unwrap_or(token);
        let [before, word, behind] = [&text[..token.start], token.of(text), &text[token.end..]];
        match dice.below(24) {
            0 => format!("{before}{behind}"),
            1 => format!("{before}{word} {word}{behind}"),
            2 if next.start >= token.end => {
                format!("{before}{}{}{word}{}", next.of(text), &text[token.end..next.start], &text[next.end..])
            }
            3 => format!("{before}{}{behind}", other.of(text)),
            4 => {
                let (_, stranger) = dice.pick(&self.texts);
                let strangers = tokens::tokens(stranger);
                let instead = strangers.get(dice.below(strangers.len().max(1))).map_or("", |t| t.of(stranger));
                format!("{before}{instead}{behind}")
            }
            // A value replaces a value: most of the example stays meaningful.
            _ => {
                let values: Vec<_> =
                    places.iter().filter(|t| matches!(t.kind, TokenKind::Number | TokenKind::Text)).collect();
                let Some(token) = (!values.is_empty()).then(|| dice.pick(&values)) else { return text.into() };
                let mut made = ValueMaker { dice, odd: false };
                let instead = match (token.kind, made.dice.chance(0.7)) {
                    (TokenKind::Number, true) => made.number(),
                    (_, true) => made.text(),
                    _ => made.anything(1),
                };
                // Names of the prelude are not defined here.
                format!("{}{instead}{}", &text[..token.start], &text[token.end..])
            }
        }
    }
}

/// A text whose lines state their values, as one script.
fn as_one(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once("//=>") {
        Some((code, _)) => format!("{};\n", code.trim_end()),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
