//! The reference as text for the terminal: one entry, a module, a type; and where words were found that are no name. `?name`
//! and `microtome doc` show the same.

use crate::base::{Result, names};
use crate::err;
use crate::model::site::explained;
use crate::report::terminal::Screen;
use crate::report::visible_text::elided;
use crate::script::docs::option_groups::REQUIRED;
use crate::script::docs::site::unescaped;
use crate::script::docs::{Docs, OptionDoc, ReferenceEntry, guide, search};
use crate::script::engine::foreign_names;

const INDENT: &str = "  ";

/// Largest width of lines: longer ones are hard to read, however wide the terminal is.
const WIDEST: usize = 100;

/// Characters of a line that a search found, of which tables have long ones.
const LONGEST: usize = 240;

/// Answers with what is known of words: what the reference says of a name, a page of the guide by its name, or else the
/// texts that have the words, each below `ask`, how one asks for the whole of it.
pub fn answer(docs: &Docs, words: &str, ask: impl Fn(&str) -> String, screen: &Screen) -> Result<String> {
    about(docs, words, screen).or_else(|error| {
        if let Some(page) = guide::about(words) {
            return Ok(page);
        }
        // A plain word, such as `value`, is looked for in texts.
        if let Some(meaning) = explained(words).filter(|_| words.contains(['.', '_'])) {
            let mut text = String::new();
            wrapped(&mut text, &meaning, "", screen);
            return Ok(text);
        }
        let found = search::search(docs, words);
        if found.is_empty() {
            return Err(error);
        }
        let hint = error.hint.filter(|_| !words.contains(' ')).map(|hint| format!(" ({hint})")).unwrap_or_default();
        let mut text = String::new();
        wrapped(&mut text, &format!("`{words}` is no name{hint}. Texts with these words, best first:"), "", screen);
        for one in &found {
            line(&mut text, &format!("\n{}", screen.bold(&ask(&one.name))));
            let number = one.number.map(|number| format!("line {number}: ")).unwrap_or_default();
            wrapped(&mut text, &format!("{number}{}", elided(&one.line, LONGEST)), "    ", screen);
        }
        Ok(text)
    })
}

/// Returns what the reference says of a name: entries, a module, or a type; the nearest name if there is none.
pub fn about(docs: &Docs, name: &str, screen: &Screen) -> Result<String> {
    let mut found: Vec<String> = docs.lookup(name).into_iter().map(|found| entry(found, screen)).collect();
    // A library of the stdlib goes by its path, too; and a module may have the name of a method, as `run` has.
    let name = crate::script::docs::stdlib::stdlib_name(name).unwrap_or(name);
    if docs.modules().contains(&name) {
        found.insert(0, module(docs, name, screen));
    }
    if !found.is_empty() {
        return Ok(found.join("\n"));
    }
    match of_type(docs, name, screen) {
        members if members.is_empty() => {
            let hint = of_others(name).map(String::from).or_else(|| near(docs, name));
            Err(err!(Name, "the reference has no `{name}`").maybe_hint(hint))
        }
        members => Ok(members),
    }
}

/// Returns what to write for a name of another program, or for one of our modules' that another program would have.
fn of_others(name: &str) -> Option<&'static str> {
    let (module, last) = name.rsplit_once("::").or_else(|| name.rsplit_once('.')).unwrap_or(("", name));
    let of_module = foreign_names::in_module(module, last);
    let of_table = || foreign_names::of_table(last).filter(|_| module == "Table");
    of_module
        .or_else(of_table)
        .or_else(|| foreign_names::function(last))
        .or_else(|| foreign_names::word(name))
        .or_else(|| foreign_names::module(name))
}

/// Suggests "did you mean ..?" among all that can be asked for.
fn near(docs: &Docs, name: &str) -> Option<String> {
    let mut all: Vec<String> = docs.modules().into_iter().map(String::from).collect();
    for entry in docs.entries() {
        all.extend([entry.path(), entry.name.clone()]);
    }
    all.retain(|name| name.starts_with(char::is_alphabetic));
    names::suggestion(name, all.iter().map(String::as_str))
}

/// Signatures, summary, body, options and example of one entry.
pub fn entry(entry: &ReferenceEntry, screen: &Screen) -> String {
    let mut text = String::new();
    for signature in entry.signatures() {
        line(&mut text, &screen.bold(&signature));
    }
    let doc = &entry.doc;
    for paragraph in [doc.summary.as_str()].into_iter().chain(doc.body.split("\n\n")).filter(|p| !p.is_empty()) {
        text.push('\n');
        for piece in paragraph.lines() {
            wrapped(&mut text, &unescaped(piece), INDENT, screen);
        }
    }
    if !doc.options.is_empty() {
        section(&mut text, "Options", screen);
        for option in &doc.options {
            line(&mut text, &format!("    {}", option_head(option)));
            wrapped(&mut text, &unescaped(&option.meaning), "        ", screen);
        }
    }
    if !doc.example.is_empty() {
        section(&mut text, "Example", screen);
        for code in doc.example.lines() {
            line(&mut text, &format!("    {code}"));
        }
    }
    text
}

/// Lists every function of a module with the first sentence about it.
pub fn module(docs: &Docs, name: &str, screen: &Screen) -> String {
    let members: Vec<&ReferenceEntry> = docs.entries().iter().filter(|e| e.module == name).collect();
    format!("{}\n\n{}", screen.bold(&format!("module {name}")), list(&members, screen))
}

/// Lists every method, property and index of a type with the first sentence about it; empty if the type has none.
pub fn of_type(docs: &Docs, name: &str, screen: &Screen) -> String {
    let members: Vec<&ReferenceEntry> = docs.entries().iter().filter(|e| e.receiver == name).collect();
    if members.is_empty() {
        return String::new();
    }
    format!("{}\n\n{}", screen.bold(&format!("type {name}")), list(&members, screen))
}

/// Modules, types, and what is known everywhere, of microtome's own.
pub fn everything(docs: &Docs, screen: &Screen) -> String {
    let mut text = String::new();
    for name in docs.modules() {
        line(&mut text, &module(docs, name, screen));
    }
    let mut types: Vec<&str> = docs.own().map(|e| e.receiver.as_str()).filter(|name| !name.is_empty()).collect();
    types.sort_unstable();
    types.dedup();
    for name in types {
        line(&mut text, &of_type(docs, name, screen));
    }
    let global: Vec<&ReferenceEntry> = docs
        .own()
        .filter(|e| e.module.is_empty() && e.receiver.is_empty() && e.name.starts_with(char::is_alphabetic))
        .collect();
    line(&mut text, &format!("{}\n\n{}", screen.bold("known everywhere"), list(&global, screen)));
    text
}

/// Writes `key = default`, or the key alone where there is no default.
pub fn option_head(option: &OptionDoc) -> String {
    match option.default.as_str() {
        "" => option.key.clone(),
        REQUIRED => format!("{} ({REQUIRED})", option.key),
        default => format!("{} = {default}", option.key),
    }
}

/// Abbreviations that end in a full stop and yet end no sentence.
const ABBREVIATIONS: [&str; 3] = ["et al", "e.g", "i.e"];

/// Returns the text up to its first full stop that ends a sentence, without that.
fn first_sentence(text: &str) -> &str {
    let ends = text.match_indices(". ").map(|(at, _)| &text[..at]);
    let mut whole = ends.filter(|before| !ABBREVIATIONS.iter().any(|short| before.ends_with(short)));
    whole.next().unwrap_or(text)
}

fn list(entries: &[&ReferenceEntry], screen: &Screen) -> String {
    let mut text = String::new();
    for entry in entries {
        if let Some(signature) = entry.signatures().first() {
            line(&mut text, &format!("{INDENT}{signature}"));
        }
        let sentence = unescaped(first_sentence(&entry.doc.summary));
        if !sentence.is_empty() {
            for piece in fold(&sentence, width(screen) - 6) {
                line(&mut text, &format!("      {}", screen.dim(&piece)));
            }
        }
    }
    text
}

fn section(text: &mut String, title: &str, screen: &Screen) {
    text.push('\n');
    line(text, &format!("{INDENT}{}", screen.bold(title)));
}

fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}

fn wrapped(text: &mut String, content: &str, indent: &str, screen: &Screen) {
    for piece in fold(content, width(screen).saturating_sub(indent.len())) {
        line(text, &format!("{indent}{piece}"));
    }
}

fn width(screen: &Screen) -> usize {
    screen.width.clamp(20, WIDEST)
}

/// Breaks a paragraph between words into lines of at most `width` characters, where its words allow it.
fn fold(content: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in content.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::terminal::Graphics;
    use crate::script::docs::{Overload, Role, parse};

    fn example() -> ReferenceEntry {
        ReferenceEntry {
            module: "tensor".into(),
            role: Role::Function,
            receiver: String::new(),
            name: "draw".into(),
            overloads: vec![Overload { parameters: vec![("n".into(), "integer".into())], returns: "Tensor".into() }],
            doc: parse(
                "/// Draws numbers.\n///\n/// One after the other, all of them.\n///\n/// # Options\n/// - `seed` = 0: where to start\n///\n/// # Example\n/// ```\n/// tensor::draw(3)  //=> 1\n/// ```",
            ),
            builtin: false,
            scripted: false,
        }
    }

    fn screen(colour: bool) -> Screen {
        Screen { width: 24, height: 24, colour, graphics: Graphics::Text }
    }

    #[test]
    fn an_abbreviation_ends_no_sentence() {
        let cited = "Edges by ablation (Cunningham et al. 2023), e.g. of a head. More of it.";
        assert_eq!(first_sentence(cited), "Edges by ablation (Cunningham et al. 2023), e.g. of a head");
        assert_eq!(first_sentence("One sentence."), "One sentence.");
    }

    #[test]
    fn an_entry_is_laid_out_within_the_width() {
        let wanted = "tensor::draw(n: integer) -> Tensor\n\n  Draws numbers.\n\n  One after the other,\n  all of them.\n\n  Options\n    seed = 0\n        where to start\n\n  Example\n    tensor::draw(3)  //=> 1\n";
        assert_eq!(entry(&example(), &screen(false)), wanted);
    }

    #[test]
    fn colour_adds_nothing_but_escape_codes() {
        let coloured = crate::report::terminal::codes::plain(&entry(&example(), &screen(true))).into_owned();
        assert!(coloured.contains("\x1b[1m"));
        assert_eq!(coloured.replace("\x1b[1m", "").replace("\x1b[0m", ""), entry(&example(), &screen(false)));
    }

    #[test]
    fn no_backslash_of_markdown_is_shown() {
        let mut entry = example();
        entry.doc =
            parse("/// Draws \\[n\\] of them.\n///\n/// All\\_of it.\n///\n/// # Options\n/// - `seed`: is \\<one\\>");
        let shown = [super::entry(&entry, &screen(false)), list(&[&entry], &screen(false))].concat();
        assert!(shown.contains("[n]") && shown.contains("All_of it.") && shown.contains("is <one>"), "{shown}");
        assert!(!shown.contains('\\'), "{shown}");
    }
}
