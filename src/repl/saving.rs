//! The session as a script that runs: what `:save` writes.

use std::collections::{BTreeMap, BTreeSet};

use super::definitions;
use crate::base::random::Caller;
use crate::script::engine::tokens::{Token, TokenKind, tokens};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOutcome {
    /// A text with a value, which `ans` took.
    Answered,
    /// A text without a value.
    Silent,
    /// A text of which nothing ran.
    Refused,
    /// A failure at this byte; what stands before that has done its work, and its functions are there.
    Failed {
        at: usize,
        /// Whether a script could catch the failure.
        is_catchable: bool,
    },
}

/// A text that was evaluated in the session.
#[derive(Debug, Clone)]
pub struct EvaluatedText {
    pub text: String,
    pub outcome: LineOutcome,
    /// Number of steps after which Ctrl-C ended trainings and searches of the text, in their order.
    pub ended: Vec<Option<u64>>,
    /// Number of draws of each function that drew in the text, by its end.
    pub drawn: BTreeMap<Caller, u64>,
}

/// A script in pieces, one for each line of the session that has a part in it, and what it lacks.
pub struct SessionScript {
    pub pieces: Vec<String>,
    pub remarks: Vec<String>,
}

impl SessionScript {
    /// Returns the script as a text.
    pub fn text(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| format!("\n{piece}"));
        [format!("{TITLE}\n")].into_iter().chain(pieces).collect()
    }

    /// Returns the pieces as the cells of a notebook.
    pub fn cells(&self) -> Vec<String> {
        self.pieces.iter().map(|piece| piece.trim_end().to_string()).collect()
    }
}

/// The first line of a script that was saved.
const TITLE: &str = "// A microtome session, written by :save.";

/// Writes the lines in their order as one script. What only a session can do is put into words that a script has: a
/// function that was defined twice keeps its last form, a value that a later line calls `ans` gets that name, and what
/// failed becomes a comment, or, where it may have done something before, a `try`. A line in which Ctrl-C ended a
/// training says after how many steps, and what a line that failed drew stays drawn.
pub fn script(done: &[EvaluatedText], seed: u64) -> SessionScript {
    let last_forms = last_forms(done);
    let mut pieces = Vec::new();
    if seed != 0 {
        pieces.push(format!("run::restart({});\n", seed.cast_signed()));
    }
    let mut remarks = Vec::new();
    for (index, line) in done.iter().enumerate() {
        let mut script = String::new();
        if line.ended.iter().any(Option::is_some) {
            let steps = line.ended.iter().map(|steps| steps.map_or("()".to_string(), |steps| steps.to_string()));
            let steps: Vec<String> = steps.collect();
            script.push_str(&format!(
                "// Ctrl-C ended this after so many steps:\nrun::end_early([{}]);\n",
                steps.join(", ")
            ));
        }
        match line.outcome {
            LineOutcome::Refused => {
                script.push_str(&commented(FAILED, &line.text));
                pieces.push(script);
                continue;
            }
            LineOutcome::Failed { at, is_catchable } => {
                let text = failed(&line.text, at, is_catchable, |name, parameters| {
                    last_forms.get(&(name.into(), parameters)) == Some(&index)
                });
                script.push_str(&text);
                if !is_catchable {
                    remarks.push(format!(
                        "what `{}` had changed when it was stopped is not in the script",
                        short(&line.text)
                    ));
                }
                if !line.drawn.is_empty() {
                    let counts = line.drawn.iter().map(|(caller, count)| format!("\"{caller}\": {count}"));
                    let counts: Vec<String> = counts.collect();
                    script.push_str(&format!(
                        "// What it drew stays drawn:\nrun::drawn(#{{ {} }});\n",
                        counts.join(", ")
                    ));
                }
                pieces.push(script);
                continue;
            }
            LineOutcome::Answered | LineOutcome::Silent => {}
        }
        let mut text = without_old_forms(index, &line.text, &last_forms);
        if line.outcome == LineOutcome::Answered && is_asked_for(&done[index + 1..]) {
            text = named(&text);
        }
        let text = ended(text.trim());
        if !text.is_empty() {
            script.push_str(&format!("{text}\n"));
        }
        if !script.is_empty() {
            pieces.push(script);
        }
    }
    for name in called_before_their_last_form(done, &last_forms) {
        remarks.push(format!("lines called forms of `{name}` that it no longer has: the script has the last one"));
    }
    SessionScript { pieces, remarks }
}

/// Returns the beginning of a text, for a remark.
fn short(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    match line.chars().count() {
        0..=40 => line.into(),
        _ => line.chars().take(38).chain("..".chars()).collect(),
    }
}

/// Finds functions that a line calls and a later one defines anew.
fn called_before_their_last_form(
    done: &[EvaluatedText],
    last_forms: &BTreeMap<(String, usize), usize>,
) -> BTreeSet<String> {
    let mut known: BTreeSet<(String, usize)> = BTreeSet::new();
    let mut called = BTreeSet::new();
    for (index, line) in done.iter().enumerate().filter(|(_, line)| line.outcome != LineOutcome::Refused) {
        known.extend(definitions::of(&line.text).into_iter().map(|d| (d.name, d.parameters)));
        let words = tokens(&line.text).into_iter().filter(|token| token.kind == TokenKind::Word);
        let words: BTreeSet<&str> = words.map(|token| token.of(&line.text)).collect();
        let old = known.iter().filter(|form| last_forms.get(*form).is_some_and(|last| *last > index));
        let own: BTreeSet<String> = definitions::of(&line.text).into_iter().map(|d| d.name).collect();
        // A line that only defines it calls it not.
        called.extend(
            old.filter(|(name, _)| words.contains(name.as_str()) && !own.contains(name)).map(|(n, _)| n.clone()),
        );
    }
    called
}

/// Writes the part that ran of a line that failed; `is_last` tells whether a function keeps its form.
fn failed(text: &str, at: usize, is_catchable: bool, is_last: impl Fn(&str, usize) -> bool) -> String {
    let mut done = String::new();
    let mut rest = String::new();
    let mut has_failed = false;
    for piece in pieces(text) {
        let code = piece.of.trim();
        let fails = !has_failed && !piece.is_function && at < piece.end;
        if let Some(function) = definitions::of(code).first().filter(|_| piece.is_function) {
            if is_last(&function.name, function.parameters) {
                done.push_str(&format!("{code}\n"));
            }
        } else if fails && is_catchable && (has_block(code) || has_method(code)) {
            has_failed = true;
            done.push_str(&format!("// This failed:\ntry {{ {} }} catch {{}}\n", ended(code)));
        } else if !fails && (!has_failed || is_import(code)) {
            done.push_str(&format!("{}\n", ended(code)));
        } else {
            has_failed = true;
            rest.push_str(&format!("{code}\n"));
        }
    }
    if !rest.is_empty() {
        done.push_str(&commented(if is_catchable { FAILED } else { STOPPED }, &rest));
    }
    done
}

const FAILED: &str = "This failed:";
const STOPPED: &str = "This was stopped; what it had changed by then is not here:";

fn commented(why: &str, text: &str) -> String {
    let lines = text.trim().lines().map(|line| format!("// {line}\n"));
    [format!("// {why}\n")].into_iter().chain(lines).collect()
}

/// A statement at the top of a text, or a function.
struct Statement<'t> {
    of: &'t str,
    /// The byte of the text at which the piece ends.
    end: usize,
    is_function: bool,
}

/// Splits a text into statements and functions, comments with what stands behind them.
fn pieces(text: &str) -> Vec<Statement<'_>> {
    let tokens = tokens(text);
    let functions = definitions::of(text);
    let mut pieces: Vec<Statement> = Vec::new();
    let mut start = 0;
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        depth = token.depth_after(text, depth);
        let function = functions.iter().find(|function| function.start < token.end && token.end <= function.end);
        let ends = match function {
            Some(function) => token.end == function.end,
            None => depth == 0 && (token.is_symbol(text, &[";"]) || ends_block(text, &tokens, index)),
        };
        if ends {
            pieces.push(Statement { of: &text[start..token.end], end: token.end, is_function: function.is_some() });
            start = token.end;
        }
    }
    if has_code(&tokens.iter().filter(|token| token.start >= start).copied().collect::<Vec<_>>()) {
        pieces.push(Statement { of: &text[start..], end: text.len(), is_function: false });
    }
    pieces
}

/// Returns whether a brace closes a statement that needs no semicolon: another one begins behind it.
fn ends_block(text: &str, tokens: &[Token], index: usize) -> bool {
    let next = tokens[index + 1..].iter().find(|token| token.kind != TokenKind::Comment);
    tokens[index].is_symbol(text, &["}"])
        && next.is_some_and(|next| {
            next.kind == TokenKind::Word && !matches!(next.of(text), "else" | "catch" | "while" | "until" | "in")
        })
}

fn has_block(code: &str) -> bool {
    tokens(code).iter().any(|token| token.is_symbol(code, &["{"]))
}

/// Returns whether a method is called, which may have changed what it is called on before the failure.
fn has_method(code: &str) -> bool {
    let tokens = tokens(code);
    let is = |at: usize, symbol: &str| tokens.get(at).is_some_and(|token| token.is_symbol(code, &[symbol]));
    (1..tokens.len()).any(|at| is(at - 1, ".") && tokens[at].kind == TokenKind::Word && is(at + 1, "("))
}

fn is_import(code: &str) -> bool {
    tokens(code).iter().find(|token| token.kind != TokenKind::Comment).is_some_and(|first| first.of(code) == "import")
}

/// Returns the line of the last definition of each function, by name and number of parameters.
fn last_forms(done: &[EvaluatedText]) -> BTreeMap<(String, usize), usize> {
    let good = done.iter().enumerate().filter(|(_, line)| line.outcome != LineOutcome::Refused);
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

/// Returns whether a line uses `ans` before another one sets it.
fn is_asked_for(later: &[EvaluatedText]) -> bool {
    for line in later.iter().filter(|line| line.outcome != LineOutcome::Refused) {
        if tokens(&line.text).iter().any(|token| token.kind == TokenKind::Word && token.of(&line.text) == "ans") {
            return true;
        }
        if line.outcome == LineOutcome::Answered {
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
    let first = tokens.iter().find(|token| token.start >= start && token.kind != TokenKind::Comment);
    first
        .map_or_else(|| text.to_string(), |first| format!("{}let ans = {}", &text[..first.start], &text[first.start..]))
}

fn has_code(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.kind != TokenKind::Comment)
}

/// Closes the last statement, so that another may follow.
fn ended(text: &str) -> String {
    let tokens = tokens(text);
    let Some(last) = tokens.iter().rfind(|token| token.kind != TokenKind::Comment) else { return text.into() };
    let is_function = definitions::of(text).last().is_some_and(|definition| definition.end == last.end);
    if last.of(text) == ";" || is_function {
        return text.into();
    }
    format!("{};{}", &text[..last.end], &text[last.end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(lines: &[(&str, LineOutcome)]) -> String {
        let done: Vec<EvaluatedText> = lines.iter().map(|(text, outcome)| line(text, *outcome)).collect();
        shown(&script(&done, 0))
    }

    fn line(text: &str, outcome: LineOutcome) -> EvaluatedText {
        EvaluatedText { text: text.to_string(), outcome, ended: Vec::new(), drawn: BTreeMap::new() }
    }

    fn shown(saved: &SessionScript) -> String {
        saved.text().split_once('\n').unwrap().1.replace("\n\n", "\n").trim().to_string()
    }

    use LineOutcome::*;

    #[test]
    fn lines_stand_in_their_order_and_end_as_statements() {
        assert_eq!(
            saved(&[
                ("let a = 1 // one", Silent),
                ("a + 1;", Answered),
                ("fn f() { 1 }", Silent),
                ("oops\n2", Refused),
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

    #[test]
    fn what_a_line_did_before_it_failed_stays() {
        let failed = |text: &str, at: &str| {
            let at = text.find(at).unwrap();
            saved(&[(text, Failed { at, is_catchable: true })])
        };
        assert_eq!(
            failed("let kept = 7; [1][5]; let later = 1", "[1]"),
            "let kept = 7;\n// This failed:\n// [1][5];\n// let later = 1"
        );
        assert_eq!(
            failed("oops(1) + 2;\nfn f(x) { x }\nimport \"a\" as a", "oops"),
            "fn f(x) { x }\nimport \"a\" as a;\n// This failed:\n// oops(1) + 2;"
        );
        assert_eq!(
            failed("let a = []; for i in 0..3 { a.push(i); [1][i] } a", "[1]"),
            "let a = [];\n// This failed:\ntry { for i in 0..3 { a.push(i); [1][i] }; } catch {}\n// This failed:\n// a"
        );
        let interrupted = ("let a = 1; loop { a += 1; }", Failed { at: 20, is_catchable: false });
        let stopped = "let a = 1;\n// This was stopped; what it had changed by then is not here:\n// loop { a += 1; }";
        assert_eq!(saved(&[interrupted]), stopped);
    }

    #[test]
    fn what_was_drawn_or_ended_early_is_so_again() {
        let failed = Failed { at: 0, is_catchable: true };
        let drawn = BTreeMap::from([(Caller::from("tensor::randn"), 3), (Caller::from("std/toy tensor::randn"), 1)]);
        let lines = [
            EvaluatedText { ended: vec![None, Some(37)], ..line("let s = fit(); let t = fit();", Silent) },
            EvaluatedText { drawn, ..line("boom(tensor::randn([2]))", failed) },
        ];
        let saved = script(&lines, 7);
        assert_eq!(
            shown(&saved),
            "run::restart(7);\n\
             // Ctrl-C ended this after so many steps:\nrun::end_early([(), 37]);\nlet s = fit(); let t = fit();\n\
             // This failed:\n// boom(tensor::randn([2]))\n\
             // What it drew stays drawn:\nrun::drawn(#{ \"tensor::randn\": 3, \"std/toy tensor::randn\": 1 });"
        );
        assert!(saved.remarks.is_empty());
    }

    #[test]
    fn what_a_script_cannot_have_is_said() {
        let stopped = Failed { at: 0, is_catchable: false };
        let lines = [
            line("fn f() { 1 }", Silent),
            line("f()", Answered),
            line("fn f() { 2 }", Silent),
            line("loop { a.push(1); }", stopped),
        ];
        let remarks = script(&lines, 0).remarks;
        assert_eq!(remarks.len(), 2);
        assert!(remarks[0].contains("loop") && remarks[1].contains("`f`"), "{remarks:?}");
        assert!(
            script(&[line("fn f() { 1 }", Silent), line("fn f() { 2 }", Silent), line("f()", Answered)], 0)
                .remarks
                .is_empty()
        );
    }
}
