//! Code on pages: words in colours, and functions that lead to their place in the reference.

use crate::report::html::escape;
use crate::script::docs::Docs;
use crate::script::docs::syntax_colours::{Paint, module_before, paint};
use crate::script::engine::tokens::tokens;

/// The functions that code may name, and where a page finds each.
pub struct FunctionLinks<'a> {
    pub docs: &'a Docs,
    /// The link to the place of a function, by its path.
    pub link: &'a dyn Fn(&str) -> Option<String>,
}

/// Writes a block of code. `language` is what stands at its fence; indented code has none.
pub fn block(code: &str, language: &str, known: &FunctionLinks) -> String {
    let language = language.split_whitespace().next().unwrap_or_default();
    let inside = match language {
        "rhai" => rhai(code, known),
        "console" => code.lines().map(|line| answer(line, known) + "\n").collect(),
        "" if looks_like_rhai(code) => code.lines().map(|line| session(line, known) + "\n").collect(),
        _ => escape::lines(code),
    };
    let label = match language {
        "" | "text" => String::new(),
        language => format!(" data-language=\"{}\"", escape::text(language)),
    };
    format!("<pre{label}><code>{inside}</code></pre>\n")
}

/// Returns whether indented code is of the script language, rather than a command or a formula.
pub fn looks_like_rhai(code: &str) -> bool {
    let shell = |line: &str| ["microtome ", "cargo ", "error:", "$ "].iter().any(|word| line.starts_with(word));
    let is_session = code.starts_with("$ microtome\n");
    is_session || !code.lines().any(shell) && ["::", "let ", "#{", "//"].iter().any(|word| code.contains(word))
}

/// Writes a line of a transcript: what was typed is code, what was answered is not.
fn answer(line: &str, known: &FunctionLinks) -> String {
    match line.strip_prefix("> ") {
        Some(typed) => format!("<b>&gt;</b> {}", rhai(typed, known)),
        None if line.starts_with("$ ") => format!("<b>{}</b>", escape::text(line)),
        None => format!("<i>{}</i>", escape::text(line)),
    }
}

/// Writes a line of a session, in which every line is typed.
fn session(line: &str, known: &FunctionLinks) -> String {
    if line.starts_with(['>', '$']) { answer(line, known) } else { rhai(line, known) }
}

/// Writes code of the script language.
pub fn rhai(code: &str, known: &FunctionLinks) -> String {
    let all = tokens(code);
    let mut out = String::new();
    let mut at = 0;
    for (index, token) in all.iter().enumerate() {
        let Some(paint) = paint(code, &all, index, known.docs) else { continue };
        out.push_str(&escape::piece(code.get(at..token.start).unwrap_or_default()));
        let word = escape::piece(token.of(code));
        let is_method = index > 0 && all.get(index - 1).is_some_and(|before| matches!(before.of(code), "." | "?."));
        let place = (paint == Paint::Function && !is_method).then(|| {
            let module = module_before(code, &all, index).map(|module| format!("{module}::")).unwrap_or_default();
            (known.link)(&format!("{module}{}", token.of(code)))
        });
        out.push_str(&match place.flatten() {
            Some(link) => format!("<a class=\"f\" href=\"{}\">{word}</a>", escape::text(&link)),
            None => format!("<span class=\"{}\">{word}</span>", class(paint)),
        });
        at = token.end;
    }
    out + escape::piece(code.get(at..).unwrap_or_default()).as_str()
}

fn class(paint: Paint) -> &'static str {
    match paint {
        Paint::Keyword => "k",
        Paint::Text => "s",
        Paint::Number => "n",
        Paint::Comment => "c",
        Paint::Module => "m",
        Paint::Function => "f",
        Paint::Command | Paint::Bracket => "b",
    }
}
