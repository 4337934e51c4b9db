//! Errors of the engine's that a script catches, in the words that they have uncaught: message, kind and hint.
//!
//! `catch` gets our own errors as the maps that they are. Of the engine's it gets the engine's sentence and some numbers, and
//! of one that came through a function the sentence alone; so they are read back from that.

use rhai::{Dynamic, EvalAltResult, Map, Position};

use crate::base::Kind;
use crate::script::engine::failure::{KnownNames, clash, words};
use crate::script::engine::unknown_names::{UnplacedFailure, lower};

/// Gives a caught error what all errors have.
pub fn put_into_words(map: &mut Map, known: &KnownNames) {
    let Some(text) = map.get("message").and_then(|message| message.clone().into_string().ok()) else { return };
    // Each function that it went through has added a line.
    let sentence = text.split("\nin ").next().unwrap_or(&text);
    let (sentence, place) = without_place(sentence);
    let error = read_back(sentence, map);
    let words = match &error {
        Some(error) => words(error, known),
        None => UnplacedFailure::new(Kind::Argument, lower(sentence), None),
    };
    let place = place.or_else(|| {
        let (_, position) = clash(error.as_ref()?, known)?;
        Some(ErrorPosition { source: None, line: position.line()? as i64, position: position.position()? as i64 })
    });
    map.insert("kind".into(), words.kind.into());
    map.insert("message".into(), words.message.into());
    map.insert("hint".into(), words.hint.map_or(Dynamic::UNIT, Dynamic::from));
    if let Some(place) = place {
        map.insert("line".into(), place.line.into());
        map.insert("position".into(), place.position.into());
        if let Some(source) = place.source {
            map.insert("source".into(), source.into());
        }
    }
}

/// A place that stands behind a sentence: ` @ 'source' (line 3, position 7)`.
struct ErrorPosition {
    source: Option<String>,
    line: i64,
    position: i64,
}

fn without_place(text: &str) -> (&str, Option<ErrorPosition>) {
    let Some((sentence, place)) = text.rsplit_once(" (line ") else { return (text, None) };
    let numbers = place.strip_suffix(')').and_then(|place| place.split_once(", position "));
    let Some((Ok(line), Ok(position))) = numbers.map(|(line, position)| (line.parse(), position.parse())) else {
        return (text, None);
    };
    let (sentence, source) = match sentence.rsplit_once(" @ '") {
        Some((sentence, source)) => (sentence, source.strip_suffix('\'').map(String::from)),
        None => (sentence, None),
    };
    (sentence, Some(ErrorPosition { source, line, position }))
}

/// Reads the error that a sentence of the engine's tells of, if there are better words for it.
fn read_back(sentence: &str, map: &Map) -> Option<EvalAltResult> {
    use EvalAltResult as E;
    type ErrorMaker = fn(String, Position) -> EvalAltResult;
    const NAMED: [(&str, ErrorMaker); 7] = [
        ("Function not found: ", E::ErrorFunctionNotFound),
        ("Variable not found: ", E::ErrorVariableNotFound),
        ("Property not found: ", E::ErrorPropertyNotFound),
        ("Module not found: ", E::ErrorModuleNotFound),
        ("Indexer unavailable: ", E::ErrorIndexingType),
        ("Data race detected on ", E::ErrorDataRace),
        ("Cannot modify constant ", E::ErrorAssignmentToConstant),
    ];
    let none = Position::NONE;
    let after = |start: &str| sentence.strip_prefix(start);
    if let Some((rest, make)) = NAMED.iter().find_map(|(start, make)| Some((after(start)?, make))) {
        return Some(make(rest.into(), none));
    }
    if sentence.starts_with("Unknown property '") || sentence.starts_with("No writable property '") {
        return Some(E::ErrorDotExpr(sentence.into(), none));
    }
    if let Some(types) = after("Data type incorrect: ").or_else(|| after("Output type incorrect: ")) {
        let (found, wanted) = types.trim_end_matches(')').split_once(" (expecting ").unwrap_or((types, ""));
        return Some(E::ErrorMismatchDataType(wanted.into(), found.into(), none));
    }
    if let Some((length, index)) = after("Array index ").and_then(bounds) {
        return Some(E::ErrorArrayBounds(length, index, none));
    }
    if let Some((length, index)) = after("String index ").and_then(bounds) {
        return Some(E::ErrorStringBounds(length, index, none));
    }
    if let Some(rest) = after("Non-pure method '") {
        let method = rest.split('\'').next().unwrap_or_default();
        return Some(E::ErrorNonPureMethodCallOnConstant(method.into(), none));
    }
    if sentence == "Cannot assign to indexer of constant" {
        return Some(E::ErrorNonPureMethodCallOnConstant("index$set$".into(), none));
    }
    if sentence == "For loop expects iterable type" {
        return Some(E::ErrorFor(none));
    }
    let is_arithmetic = map.get("error").is_some_and(|error| error.to_string() == "ErrorArithmetic")
        || ["overflow", "by zero", "negative power"].iter().any(|part| sentence.contains(part));
    is_arithmetic.then(|| E::ErrorArithmetic(sentence.into(), none))
}

/// Reads length and index of "7 out of bounds: only 3 elements in array".
fn bounds(text: &str) -> Option<(usize, i64)> {
    let mut numbers = text.split([' ', ':']);
    let index = numbers.next()?.parse().ok()?;
    Some((numbers.find_map(|word| word.parse().ok()).unwrap_or(0), index))
}
