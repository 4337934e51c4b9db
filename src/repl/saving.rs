//! The session as a script that runs: what `:save` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::definitions::{self, FunctionForm};
use crate::base::random::Caller;
use crate::script::engine::tokens::{OPENING, Token, TokenKind, tokens};

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
                let text = failed(&line.text, at, is_catchable, |form| last_forms.get(form) == Some(&index));
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
        if let Some(word) = early_end_inside(&line.text) {
            remarks.push(format!(
                "where `{}` ends by `{word}`, the script ends there, too: write it without",
                short(&line.text)
            ));
        }
        let mut text = without_early_end(&without_old_forms(index, &line.text, &last_forms));
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
    last_forms: &BTreeMap<FunctionForm, usize>,
) -> BTreeSet<String> {
    let mut known: BTreeSet<FunctionForm> = BTreeSet::new();
    let mut called = BTreeSet::new();
    for (index, line) in done.iter().enumerate().filter(|(_, line)| line.outcome != LineOutcome::Refused) {
        known.extend(definitions::of(&line.text).into_iter().map(|d| d.form));
        let words = tokens(&line.text).into_iter().filter(|token| token.kind == TokenKind::Word);
        let words: BTreeSet<&str> = words.map(|token| token.of(&line.text)).collect();
        let old = known.iter().filter(|form| last_forms.get(*form).is_some_and(|last| *last > index));
        let own: BTreeSet<String> = definitions::of(&line.text).into_iter().map(|d| d.form.name).collect();
        // A line that only defines it calls it not.
        called.extend(
            old.map(|form| &form.name).filter(|name| words.contains(name.as_str()) && !own.contains(*name)).cloned(),
        );
    }
    called
}

/// Writes the part that ran of a line that failed; `is_last` tells whether a function keeps its form.
fn failed(text: &str, at: usize, is_catchable: bool, is_last: impl Fn(&FunctionForm) -> bool) -> String {
    let mut done = String::new();
    let mut rest = String::new();
    let mut has_failed = false;
    for piece in pieces(text) {
        let code = piece.of.trim();
        let fails = !has_failed && !piece.is_function && at < piece.end;
        if let Some(function) = definitions::of(code).first().filter(|_| piece.is_function) {
            if is_last(&function.form) {
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
const NOT_REACHED: &str = "This was not reached:";
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

/// Returns the tokens of a text without its comments.
fn code_tokens(text: &str) -> Vec<Token> {
    tokens(text).into_iter().filter(|token| token.kind != TokenKind::Comment).collect()
}

/// Splits a text into statements and functions, comments with what stands behind them.
fn pieces(text: &str) -> Vec<Statement<'_>> {
    let code = code_tokens(text);
    let functions = definitions::of(text);
    let mut pieces: Vec<Statement> = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(first) = code.get(at) {
        let function = functions.iter().find(|function| function.start <= first.start && first.end <= function.end);
        let last = match function {
            Some(function) => code.iter().rposition(|token| token.end <= function.end).unwrap_or(at),
            None => end_of_statement(text, &code, at),
        };
        let is_open = function.is_none() && !code[last].is_symbol(text, &[";"]) && last + 1 == code.len();
        let end = if is_open { text.len() } else { code[last].end };
        pieces.push(Statement { of: &text[start..end], end, is_function: function.is_some() });
        start = end;
        at = last + 1;
    }
    pieces
}

/// Returns the index of the last token of the statement that begins at a token: its semicolon, or the brace of a
/// statement that needs none.
fn end_of_statement(text: &str, code: &[Token], at: usize) -> usize {
    if let Some(last) = end_of_block_statement(text, code, at) {
        let is_ended = code.get(last + 1).is_some_and(|next| next.is_symbol(text, &[";"]));
        return if is_ended { last + 1 } else { last };
    }
    let mut depth = 0;
    let end = code[at..].iter().position(|token| {
        depth = token.depth_after(text, depth);
        depth == 0 && token.is_symbol(text, &[";"])
    });
    end.map_or(code.len() - 1, |end| at + end)
}

/// Returns the index of the brace that ends the statement at a token, if it is of a kind that needs no semicolon.
fn end_of_block_statement(text: &str, code: &[Token], at: usize) -> Option<usize> {
    let word = |at: usize| code.get(at).map_or("", |token| token.of(text));
    match word(at) {
        "{" => Some(closing(text, code, at)),
        "loop" => Some(closing(text, code, at + 1)),
        "while" | "for" | "switch" => Some(closing(text, code, end_of_head(text, code, at + 1))),
        "if" => {
            let end = closing(text, code, end_of_head(text, code, at + 1));
            match (word(end + 1), word(end + 2)) {
                ("else", "if") => end_of_block_statement(text, code, end + 2),
                ("else", _) => Some(closing(text, code, end + 2)),
                _ => Some(end),
            }
        }
        "try" => {
            let end = closing(text, code, at + 1);
            let body = if word(end + 2) == "(" { closing(text, code, end + 2) + 1 } else { end + 2 };
            Some(closing(text, code, body))
        }
        _ => None,
    }
}

/// Returns the index of the brace that opens the block behind a condition. A block where a value is due belongs to the
/// condition.
fn end_of_head(text: &str, code: &[Token], start: usize) -> usize {
    let mut at = start;
    let mut is_value_due = true;
    while let Some(token) = code.get(at) {
        let own_block = end_of_block_statement(text, code, at);
        if token.is_symbol(text, &["{"]) && !is_value_due {
            break;
        } else if let Some(end) = own_block {
            at = end;
            is_value_due = false;
        } else if token.is_symbol(text, OPENING) {
            at = closing(text, code, at);
            is_value_due = false;
        } else {
            is_value_due = token.kind == TokenKind::Symbol || token.of(text) == "in";
        }
        at += 1;
    }
    at
}

/// Returns the index of the token that closes a bracket.
fn closing(text: &str, code: &[Token], open: usize) -> usize {
    let mut depth = 0;
    let end = code.iter().skip(open).position(|token| {
        depth = token.depth_after(text, depth);
        depth == 0
    });
    end.map_or(code.len() - 1, |end| open + end)
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

/// Returns the line of the last definition of each function.
fn last_forms(done: &[EvaluatedText]) -> BTreeMap<FunctionForm, usize> {
    let good = done.iter().enumerate().filter(|(_, line)| line.outcome != LineOutcome::Refused);
    good.flat_map(|(index, line)| definitions::of(&line.text).into_iter().map(move |d| (d.form, index))).collect()
}

fn without_old_forms(index: usize, text: &str, last_forms: &BTreeMap<FunctionForm, usize>) -> String {
    let mut kept = text.to_string();
    for definition in definitions::of(text).into_iter().rev() {
        if last_forms.get(&definition.form) != Some(&index) {
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
    let pieces = pieces(text);
    let Some(last) = pieces.iter().rfind(|piece| !piece.is_function && value_of(piece.of).is_some()) else {
        return text.into();
    };
    let Some(value) = value_of(last.of) else { return text.into() };
    let start = last.end - last.of.len();
    let words = &last.of[value.clone()];
    let is_ended = code_tokens(last.of).last().is_some_and(|token| token.is_symbol(last.of, &[";"]));
    let semicolon = if is_ended { "" } else { ";" };
    format!("{}let ans = {words}{semicolon}{}", &text[..start + value.start], &text[start + value.end..])
}

/// Returns the bytes of a statement without its semicolon and the comments around it; none of an empty one.
fn value_of(statement: &str) -> Option<Range<usize>> {
    let code = code_tokens(statement);
    let last = code.iter().rfind(|token| !token.is_symbol(statement, &[";"]))?;
    Some(code.first()?.start..last.end)
}

/// Writes the statement that ended a text, a `return` or an `exit` at its top, as the value that it gave, since in a
/// script it would end the lines behind it, too. Statements behind it did not run, and become a comment.
fn without_early_end(text: &str) -> String {
    let pieces = pieces(text);
    let ends = pieces.iter().position(|piece| !piece.is_function && early_value(piece.of).is_some());
    let Some(at) = ends else { return text.into() };
    let mut kept = String::new();
    let mut rest = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        if index < at || piece.is_function {
            kept.push_str(piece.of);
        } else if index == at {
            let start = value_of(piece.of).map_or(0, |value| value.start);
            kept.push_str(&piece.of[..start]);
            kept.push_str(&early_value(piece.of).unwrap_or_default());
        } else {
            rest.push_str(&format!("{}\n", piece.of.trim()));
        }
    }
    kept.push_str(&text[pieces.last().map_or(0, |piece| piece.end)..]);
    if rest.is_empty() { kept } else { format!("{kept}\n{}", commented(NOT_REACHED, &rest)) }
}

/// Returns the value of a statement that ends a text, as a statement.
fn early_value(statement: &str) -> Option<String> {
    let whole = value_of(statement)?;
    let code: Vec<Token> = code_tokens(statement).into_iter().filter(|token| token.end <= whole.end).collect();
    let word = |at: usize| code.get(at).map_or("", |token: &Token| token.of(statement));
    let value = match (word(0), word(1)) {
        ("return", _) => &statement[code[0].end..whole.end],
        ("exit", "(") if closing(statement, &code, 1) + 1 == code.len() => {
            &statement[code[1].end..code[code.len() - 1].start]
        }
        _ => return None,
    };
    Some(if value.trim().is_empty() { String::new() } else { format!("({});", value.trim()) })
}

/// Returns the word by which a text may have ended within a statement, such as the `return` of an `if`. A closure's own
/// is no such word.
fn early_end_inside(text: &str) -> Option<&'static str> {
    let of_statement = |piece: &Statement| {
        let code = code_tokens(piece.of);
        let is_end = |at: usize, token: &Token| match token.of(piece.of) {
            "return" => Some("return"),
            "exit" if code.get(at + 1).is_some_and(|next| next.is_symbol(piece.of, &["("])) => Some("exit"),
            _ => None,
        };
        let own = code.iter().take_while(|token| !token.is_symbol(piece.of, &["|", "||"]));
        own.enumerate().find_map(|(at, token)| is_end(at, token).filter(|_| token.kind == TokenKind::Word))
    };
    let mut inner = pieces(text).into_iter().filter(|piece| !piece.is_function && early_value(piece.of).is_none());
    inner.find_map(|piece| of_statement(&piece))
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
    fn a_value_gets_its_name_behind_a_block_and_before_a_function() {
        let named = |text: &str| saved(&[(text, Answered), ("ans", Answered)]).replace("\nans;", "");
        for (text, expected) in [
            ("for i in 0..3 { f(i) } 5", "for i in 0..3 { f(i) } let ans = 5;"),
            ("if a { b } [1, 2]", "if a { b } let ans = [1, 2];"),
            (
                "if #{ a: 1 }.a == { 1 } { 2 } else if b { 3 } else { 4 } -x",
                "if #{ a: 1 }.a == { 1 } { 2 } else if b { 3 } else { 4 } let ans = -x;",
            ),
            ("let a = 1; switch a { 1 => { 2 } _ => 3 }", "let a = 1; let ans = switch a { 1 => { 2 } _ => 3 };"),
            ("f(1); fn f(x) { x }", "let ans = f(1); fn f(x) { x }"),
            ("if a { 1 } fn f(x) { x } // c", "let ans = if a { 1 }; fn f(x) { x } // c"),
            ("try { 1 } catch (e) { 2 } 3", "try { 1 } catch (e) { 2 } let ans = 3;"),
            ("do { break 5 } while true", "let ans = do { break 5 } while true;"),
            ("{ 8 } // eight", "let ans = { 8 }; // eight"),
            ("1;;", "let ans = 1;;"),
        ] {
            assert_eq!(named(text), expected);
        }
    }

    #[test]
    fn a_line_that_ended_early_does_not_end_the_script() {
        assert_eq!(
            saved(&[("let a = 1; return a + 1; a = 3; fn f() { 1 }", Answered), ("ans", Answered)]),
            "let a = 1; let ans = (a + 1); fn f() { 1 }\n// This was not reached:\n// a = 3;\nans;"
        );
        assert_eq!(saved(&[("exit(4)", Answered), ("return", Silent), ("1", Answered)]), "(4);\n1;");
        let inside = script(&[line("if a { return 1 } 2", Answered), line("l.map(|x| { return x })", Answered)], 0);
        assert_eq!(inside.remarks.len(), 1);
        assert!(inside.remarks[0].contains("`return`"), "{:?}", inside.remarks);
    }

    #[test]
    fn methods_of_types_are_functions_of_their_own() {
        assert_eq!(
            saved(&[
                ("fn int.up() { this }", Silent),
                ("fn int.down() { this }", Silent),
                ("fn \"T-1\".up() { 1 }", Silent)
            ]),
            "fn int.up() { this }\nfn int.down() { this }\nfn \"T-1\".up() { 1 }"
        );
        assert_eq!(saved(&[("fn int.up() { 1 }", Silent), ("fn int.up() { 2 }", Silent)]), "fn int.up() { 2 }");
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
