//! A text as `microtome fmt` writes it, if the parser takes it, and reads the same program from both.

use rhai::AST;

use crate::common::*;
use crate::script::Session;
use crate::script::engine::failure::Failure;
use crate::script::engine::format::{formatted, substance};
use crate::script::engine::function_names::ANONYMOUS;

impl Session {
    /// Formats the text; an error where it is no script.
    pub fn formatted(&self, name: &str, text: &str) -> Result<String, Failure> {
        let before = self.compile(name, text)?;
        let new = formatted(text);
        let after = self.engine().compile(&new);
        self.texts.marks.forget(&before);
        let is_same = after.is_ok_and(|after| structure(&before) == structure(&after))
            && substance(text) == substance(&new)
            && formatted(&new) == new;
        if !is_same {
            return Err(err!(Bug, "{name} would not be the same program when it is formatted; it is left as it is")
                .hint("this is a mistake in microtome; please report it with the script")
                .into());
        }
        Ok(new)
    }
}

/// Returns what the parser has read, without places and numbers: numbers are compared in the text.
fn structure(ast: &AST) -> Vec<String> {
    let mut functions: Vec<String> =
        ast.iter_fn_def().map(|function| without_places(&format!("{:?}", function.body))).collect();
    functions.sort();
    functions.push(without_places(&format!("{:?}", ast.statements())));
    functions
}

/// Removes places, which are digits, colons and dashes; a closure is named after its place.
fn without_places(written: &str) -> String {
    let mut parts = written.split(ANONYMOUS);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    out.retain(|c| !(c.is_ascii_digit() || matches!(c, ':' | '-')));
    out
}
