//! A test of whether a text is whole, or the beginning of something longer.

use rhai::{LexError, ParseError, ParseErrorType, Position};

use crate::script::engine::tokens;

/// Returns whether more text could follow, where the parser said `problem` of it, or nothing.
///
/// The parser decides: it must have come to the end of the text before it complains. It stops at a name that it does
/// not know, though, and takes an open comment for a whole one; there the open brackets decide.
pub fn is_unfinished(text: &str, problem: Option<ParseError>) -> bool {
    let Some(ParseError(problem, position)) = problem else { return tokens::is_open(text) };
    match *problem {
        ParseErrorType::UnexpectedEOF => true,
        ParseErrorType::VariableUndefined(_)
        | ParseErrorType::ModuleUndefined(_)
        | ParseErrorType::BadInput(LexError::UnterminatedString) => tokens::is_open(text),
        _ => is_at_end(text, position),
    }
}

/// Returns whether the parser only did not know a name.
pub fn is_of_names(problem: &ParseError) -> bool {
    matches!(*problem.0, ParseErrorType::VariableUndefined(_) | ParseErrorType::ModuleUndefined(_))
}

/// Returns whether a parse error stands at the end of the text, where more text could mend it: past the last word or,
/// since the parser points at the last word instead where it misses some closing brackets, at it while a bracket is
/// open.
fn is_at_end(text: &str, position: Position) -> bool {
    let (Some(line), Some(column)) = (position.line(), position.position()) else { return true };
    let Some(last) = tokens::tokens(text).last().copied() else { return true };
    let end = if tokens::is_open(text) { last.start } else { last.end };
    let before = &text[..end];
    let end_line = 1 + before.matches('\n').count();
    let end_column = 1 + before.rsplit('\n').next().map_or(0, |line| line.chars().count());
    (line, column) >= (end_line, end_column)
}

#[cfg(test)]
mod tests {
    use crate::script::Session;

    #[test]
    fn the_prompt_goes_on_asking_until_the_text_is_whole() {
        let session = Session::for_tests();
        for text in [
            "fn f(x) {",
            "fn f(",
            "fn f(x) {\n  x + 1\n",
            "fn",
            "fn f",
            "private",
            "let",
            "let x =",
            "let x = 1;\nlet",
            "const X =",
            "1 +",
            "1 +\n",
            "1 +\n// c",
            "1 ==",
            "!",
            "1 + (2",
            "[1, 2",
            "[1, 2,",
            "[1, 2][",
            "[1].len().",
            "#{",
            "#{ a",
            "#{ a: 1",
            "#{ a: 1,",
            "{ unknown",
            "f(unknown, ",
            "run::",
            "run::check(",
            "run::check(1",
            "[1, 2].map(|x|",
            "if true",
            "if true {",
            "if true { 1 } else",
            "for",
            "for i in",
            "for i in 0..3 {",
            "while true",
            "while true {",
            "loop",
            "do {",
            "switch 1 {",
            "switch 1 { 1 =>",
            "try {",
            "try { 1 }",
            "return 1 +",
            "import",
            "import \"x\" as",
            "`text\nmore",
            "`a ${1 +",
            "\"carried \\",
            "/* comment",
            "1 /* c",
            "/* a /* b */",
            "let y = 3;\nfn g() {\n  y",
        ] {
            assert!(session.is_unfinished(text), "should go on after {text:?}");
        }
        for text in [
            "",
            "1",
            "1 + 2",
            "let x",
            "let x = 3",
            "let x = 3;",
            "unknown",
            "f(unknown)",
            "unknown +",
            "1 2",
            "1 2 (",
            ")",
            "[1, 2)",
            "foo(]",
            "}{",
            "\"open",
            "'x",
            "let let = (",
            "fn f() { 1 }",
            "if true { 1 }",
            "#{ a: 1 }",
            "`whole`",
            "/* whole */",
            "// comment {",
            "throw",
            "return",
        ] {
            assert!(!session.is_unfinished(text), "should not go on after {text:?}");
        }
    }
}
