//! Code whose comments state what it comes to: `//=> value` and `// Error: message` at the ends of lines. Examples of the
//! reference, of libraries, and test files are such code.

use crate::script::Session;
use crate::script::engine::drawing;
use crate::script::engine::failure::Failure;
use crate::script::engine::value::{self, Value};

/// A result that is not as stated.
#[derive(Debug)]
pub struct FailedStatement {
    /// The line with the statement, from 1.
    pub line: usize,
    pub words: String,
    /// The failure that ended it, with places in the whole code.
    pub failure: Option<Failure>,
}

/// The expected result of a piece of code.
enum ExpectedResult {
    Nothing,
    Value(String),
    Error { message: String, hint: Option<String> },
}

struct StatedCode {
    /// The line that it begins in, from 0, and the one with the statement, from 1.
    start: usize,
    end: usize,
    text: String,
    expected: ExpectedResult,
}

/// Evaluates code piece by piece; a piece ends at a line with a statement. A complaint for every result that differs.
pub fn run_stated(session: &mut Session, name: &str, code: &str) -> Vec<FailedStatement> {
    let mut complaints = Vec::new();
    for piece in pieces(code) {
        let outcome = session.eval(name, &piece.text);
        session.env().files.release();
        let Some((words, failure)) = judge(session, outcome, piece.expected) else { continue };
        let failure = failure.map(|failure| shifted(failure, name, piece.start));
        complaints.push(FailedStatement { line: piece.end, words, failure });
    }
    complaints
}

fn pieces(code: &str) -> Vec<StatedCode> {
    let mut pieces: Vec<StatedCode> = Vec::new();
    let mut text = String::new();
    let mut start = 0;
    let mut count = 0;
    for (number, line) in code.lines().enumerate() {
        count = number + 1;
        if let Some(hint) = line.trim().strip_prefix("// Hint: ") {
            if let Some(StatedCode { expected: ExpectedResult::Error { hint: expected, .. }, .. }) = pieces.last_mut() {
                *expected = Some(hint.to_string());
            }
            // Lines of a piece are counted from its first one.
            if text.is_empty() {
                start = number + 1;
            }
            continue;
        }
        let (code, expected) = stated(line);
        text.push_str(code);
        text.push('\n');
        if let Some(expected) = expected {
            pieces.push(StatedCode { start, end: number + 1, text: std::mem::take(&mut text), expected });
            start = number + 1;
        }
    }
    if !text.trim().is_empty() {
        pieces.push(StatedCode { start, end: count, text, expected: ExpectedResult::Nothing });
    }
    pieces
}

/// Returns whether a line states what its code comes to.
pub fn states(line: &str) -> bool {
    stated(line).1.is_some()
}

fn stated(line: &str) -> (&str, Option<ExpectedResult>) {
    if let Some((text, value)) = line.rsplit_once("//=>") {
        return (text, Some(ExpectedResult::Value(value.trim().to_string())));
    }
    if let Some((text, message)) = line.split_once("// Error: ") {
        return (text, Some(ExpectedResult::Error { message: message.trim().to_string(), hint: None }));
    }
    (line, None)
}

fn judge(
    session: &Session,
    outcome: Result<Value, Failure>,
    expected: ExpectedResult,
) -> Option<(String, Option<Failure>)> {
    let words = match (outcome, expected) {
        (Ok(_), ExpectedResult::Nothing) => return None,
        (Ok(found), ExpectedResult::Value(wanted)) => {
            let found = value::repr(&found);
            (found != wanted).then(|| format!("expected {wanted}, found {found}"))
        }
        (Ok(found), ExpectedResult::Error { message, .. }) => {
            Some(format!("expected the error `{message}`, found the value {}", value::repr(&found)))
        }
        (Err(failure), ExpectedResult::Error { message, .. }) if failure.message != message => {
            Some(format!("expected the error `{message}`, found `{}`", failure.message))
        }
        (Err(failure), ExpectedResult::Error { hint, .. }) => {
            let said = failure.hint.unwrap_or_default();
            hint.filter(|wanted| *wanted != said).map(|wanted| format!("expected the hint `{wanted}`, found `{said}`"))
        }
        (Err(failure), _) => return Some((drawing::draw(&failure, session.sources(), false), Some(failure))),
    };
    words.map(|words| (words, None))
}

/// Counts the places of a piece's failure from the beginning of the code.
fn shifted(mut failure: Failure, name: &str, lines: usize) -> Failure {
    let frames = failure.frames.iter_mut().map(|frame| &mut frame.place);
    for place in failure.place.iter_mut().chain(frames).filter(|place| place.source == name) {
        place.line += lines;
    }
    failure
}
