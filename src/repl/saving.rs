//! The session as a script that runs: what `:save` writes.

use std::collections::BTreeMap;

use super::definitions;
use crate::script::tokens::{Kind, Token, tokens};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It had a value, which `ans` took.
    Answered,
    /// It had none.
    Silent,
    Failed,
}

/// A text that was evaluated in the session.
#[derive(Debug, Clone)]
pub struct Done {
    pub text: String,
    pub outcome: Outcome,
}

/// The lines in their order as one script. What only a session can do is put into words that a script has: a function
/// that was defined twice keeps its last form, a value that a later line calls `ans` gets that name, and lines that
/// failed become comments.
pub fn script(done: &[Done]) -> String {
    let last_forms = last_forms(done);
    let mut script = String::from("// A session at the prompt of microtome, as :save wrote it.\n");
    for (index, line) in done.iter().enumerate() {
        if line.outcome == Outcome::Failed {
            script.push_str("\n// This failed:\n");
            script.extend(line.text.trim().lines().map(|text| format!("// {text}\n")));
            continue;
        }
        let mut text = without_old_forms(index, &line.text, &last_forms);
        if line.outcome == Outcome::Answered && is_asked_for(&done[index + 1..]) {
            text = named(&text);
        }
        let text = ended(text.trim());
        if !text.is_empty() {
            script.push_str(&format!("\n{text}\n"));
        }
    }
    script
}

/// For each function, by name and number of parameters, the line of its last definition.
fn last_forms(done: &[Done]) -> BTreeMap<(String, usize), usize> {
    let good = done.iter().enumerate().filter(|(_, line)| line.outcome != Outcome::Failed);
    good.flat_map(|(index, line)| definitions::of(&line.text).into_iter().map(move |d| ((d.name, d.parameters), index)))
        .collect()
}

fn without_old_forms(index: usize, text: &str, last_forms: &BTreeMap<(String, usize), usize>) -> String {
    let mut kept = text.to_string();
    for definition in definitions::of(text).into_iter().rev() {
        if last_forms.get(&(definition.name, definition.parameters)) != Some(&index) {
            kept.replace_range(definition.start..definition.end, "");
        }
    }
    kept
}

/// Whether a line uses `ans` before another one sets it.
fn is_asked_for(later: &[Done]) -> bool {
    for line in later.iter().filter(|line| line.outcome != Outcome::Failed) {
        if tokens(&line.text).iter().any(|token| token.kind == Kind::Word && token.of(&line.text) == "ans") {
            return true;
        }
        if line.outcome == Outcome::Answered {
            return false;
        }
    }
    false
}

/// Gives the value of the last statement the name `ans`.
fn named(text: &str) -> String {
    let tokens = tokens(text);
    let functions_end = definitions::of(text).last().map_or(0, |definition| definition.end);
    let mut start = functions_end;
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        depth = token.depth_after(text, depth);
        if depth == 0 && token.is_symbol(text, &[";"]) && has_code(&tokens[index + 1..]) {
            start = start.max(token.end);
        }
    }
    let first = tokens.iter().find(|token| token.start >= start && token.kind != Kind::Comment);
    first
        .map_or_else(|| text.to_string(), |first| format!("{}let ans = {}", &text[..first.start], &text[first.start..]))
}

fn has_code(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.kind != Kind::Comment)
}

/// Closes the last statement, so that another may follow.
fn ended(text: &str) -> String {
    let tokens = tokens(text);
    let Some(last) = tokens.iter().rfind(|token| token.kind != Kind::Comment) else { return text.into() };
    let is_function = definitions::of(text).last().is_some_and(|definition| definition.end == last.end);
    if last.of(text) == ";" || is_function {
        return text.into();
    }
    format!("{};{}", &text[..last.end], &text[last.end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(lines: &[(&str, Outcome)]) -> String {
        let done: Vec<Done> =
            lines.iter().map(|(text, outcome)| Done { text: text.to_string(), outcome: *outcome }).collect();
        script(&done).split_once('\n').unwrap().1.replace("\n\n", "\n").trim().to_string()
    }

    use Outcome::*;

    #[test]
    fn lines_stand_in_their_order_and_end_as_statements() {
        assert_eq!(
            saved(&[
                ("let a = 1 // one", Silent),
                ("a + 1;", Answered),
                ("fn f() { 1 }", Silent),
                ("oops\n2", Failed),
                ("f()", Answered)
            ]),
            "let a = 1; // one\na + 1;\nfn f() { 1 }\n// This failed:\n// oops\n// 2\nf();"
        );
    }

    #[test]
    fn a_value_that_is_asked_for_later_gets_its_name() {
        assert_eq!(
            saved(&[("let a = 1; (a; 2)", Answered), ("let b = ans", Silent), ("3", Answered), ("4", Answered)]),
            "let a = 1; let ans = (a; 2);\nlet b = ans;\n3;\n4;"
        );
        assert_eq!(saved(&[("fn f() { 1 }\nf();", Answered), ("ans", Answered)]), "fn f() { 1 }\nlet ans = f();\nans;");
    }

    #[test]
    fn a_function_keeps_its_last_form_only() {
        assert_eq!(
            saved(&[("fn f(x) { 1 } let a = 1", Silent), ("fn f() { 2 }", Silent), ("fn f(y) { 3 }", Silent)]),
            "let a = 1;\nfn f() { 2 }\nfn f(y) { 3 }"
        );
    }
}
