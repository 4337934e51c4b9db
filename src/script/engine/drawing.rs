//! Drawing a failure under its source line, with the calls that led there and the hint.

use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind, Source};

use crate::base::Kind;
use crate::report::terminal::codes::code;
use crate::report::visible_text::{harmless, visible};
use crate::script::engine::failure::{Failure, SourcePlace, Sources};

/// Draws the failure as text for people; without colour it holds no escape codes.
pub fn draw(failure: &Failure, sources: &Sources, colour: bool) -> String {
    let drawn = failure.place.as_ref().and_then(|place| under_source(failure, place, sources, colour));
    drawn.unwrap_or_else(|| plain(failure))
}

fn plain(failure: &Failure) -> String {
    let mut text = format!("error: {}\n", harmless(&failure.message));
    if let Some(place) = &failure.place {
        text.push_str(&format!("  at {}\n", shown(place)));
    }
    for line in calls(failure) {
        text.push_str(&format!("  {}\n", harmless(&line)));
    }
    if let Some(hint) = hint(failure) {
        text.push_str(&format!("  hint: {}\n", harmless(&hint)));
    }
    text
}

fn under_source(failure: &Failure, place: &SourcePlace, sources: &Sources, colour: bool) -> Option<String> {
    let text = sources.text(&place.source)?;
    let span = span(&text, place, &failure.message)?;
    let config = Config::default()
        .with_color(colour)
        .with_index_type(IndexType::Char)
        .with_char_set(CharSet::Unicode)
        .with_compact(false);
    let name = visible(&place.source);
    let at = (name.clone(), span);
    let mut report = Report::build(ReportKind::Custom("error", Color::Red), at.clone())
        .with_config(config)
        .with_message(harmless(&failure.message))
        .with_label(Label::new(at).with_color(Color::Red).with_message(label(failure)));
    for span in others(&text, place) {
        let label = Label::new((name.clone(), span)).with_color(Color::Red);
        report = report.with_label(label.with_message("and this argument"));
    }
    for line in calls(failure) {
        report = report.with_note(harmless(&line));
    }
    if let Some(hint) = hint(failure) {
        report = report.with_help(harmless(&hint));
    }
    let mut out = Vec::new();
    report.finish().write((name, Source::from(harmless(&text))), &mut out).ok()?;
    let mut text = String::from_utf8(out).ok()?;
    // The heading is coloured whatever the configuration says.
    text = if colour { with_codes(&text) } else { without_codes(&text) };
    // Trailing blanks would make transcripts hard to keep.
    Some(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
}

/// Returns the place at which the drawing of a failure has its arrow: that of the argument or the option to blame.
pub fn arrow(failure: &Failure, sources: &Sources) -> Option<SourcePlace> {
    let place = failure.place.as_ref()?;
    let text = sources.text(&place.source)?;
    let start = span(&text, place, &failure.message)?.start;
    let before: Vec<char> = text.chars().take(start).collect();
    let line = 1 + before.iter().filter(|letter| **letter == '\n').count();
    let column = 1 + before.iter().rev().take_while(|letter| **letter != '\n').count();
    Some(SourcePlace { line, column, ..place.clone() })
}

/// Returns the bytes of its text that the drawing of a failure has its arrow under.
pub fn covered(failure: &Failure, sources: &Sources) -> Option<std::ops::Range<usize>> {
    let place = failure.place.as_ref()?;
    let text = sources.text(&place.source)?;
    let span = span(&text, place, &failure.message)?;
    let byte = |letter: usize| text.char_indices().nth(letter).map_or(text.len(), |(at, _)| at);
    Some(byte(span.start)..byte(span.end))
}

/// Writes the colour codes of a text as codes of ours. No others can be in it: all that goes into it was made harmless.
fn with_codes(text: &str) -> String {
    recoded(text, |attributes| code(&format!("\x1b[{attributes}m")))
}

fn without_codes(text: &str) -> String {
    recoded(text, |_| String::new())
}

fn recoded(text: &str, code: impl Fn(&str) -> String) -> String {
    let mut pieces = text.split("\x1b[");
    let mut out = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (attributes, rest) = piece.split_once('m').unwrap_or((piece, ""));
        out.push_str(&code(attributes));
        out.push_str(rest);
    }
    out
}

/// Returns the words at the arrow: short, since the message stands above.
fn label(failure: &Failure) -> &'static str {
    match failure.kind.as_str() {
        "syntax" => "here",
        "name" => "not known",
        "thrown" => "thrown here",
        _ if failure.place.as_ref().is_some_and(|place| place.option.is_some()) => "this option",
        _ if failure.place.as_ref().is_some_and(|place| place.arg.is_some()) => "this argument",
        _ => "in this call",
    }
}

fn hint(failure: &Failure) -> Option<String> {
    match &failure.hint {
        Some(hint) => Some(hint.clone()),
        None if failure.kind == Kind::Bug.name() => {
            Some("this is a mistake in microtome; please report it with the script that shows it".into())
        }
        None => None,
    }
}

fn calls(failure: &Failure) -> impl Iterator<Item = String> + '_ {
    failure.frames.iter().rev().map(|frame| format!("in {}, called at {}", frame.function, shown(&frame.place)))
}

fn shown(place: &SourcePlace) -> String {
    format!("{}:{}:{}", visible(&place.source), place.line, place.column)
}

/// Finds the other arguments that are wrong, too.
fn others(text: &str, place: &SourcePlace) -> Vec<std::ops::Range<usize>> {
    let characters: Vec<char> = text.chars().collect();
    let Some(start) = start(&characters, place) else { return Vec::new() };
    place.also.iter().filter_map(|index| argument_span(&characters, start, *index)).collect()
}

/// Characters from the start of the text that the arrow covers: the blamed argument, in a map that is written down the
/// option to blame or what the message names, or the word at the place.
fn span(text: &str, place: &SourcePlace, message: &str) -> Option<std::ops::Range<usize>> {
    let characters: Vec<char> = text.chars().collect();
    let start = start(&characters, place)?;
    let argument = place.arg.and_then(|index| argument_span(&characters, start, index));
    let key = place.option.as_deref().or_else(|| message.split('`').nth(1));
    let part = key.zip(argument.clone()).and_then(|(key, argument)| option_span(&characters, argument, key));
    Some(part.or(argument).unwrap_or_else(|| word_span(&characters, start)))
}

/// Finds the character that the place means.
fn start(characters: &[char], place: &SourcePlace) -> Option<usize> {
    let line_start = match place.line.checked_sub(2) {
        None => 0,
        Some(breaks_before) => 1 + characters.iter().enumerate().filter(|(_, c)| **c == '\n').nth(breaks_before)?.0,
    };
    let mut start = (line_start + place.column.saturating_sub(1)).min(characters.len());
    // What is missing at the end of the text is shown at its last visible character.
    while start > 0 && characters.get(start).is_none_or(|c| c.is_whitespace()) {
        start -= 1;
    }
    Some(start)
}

fn word_span(characters: &[char], start: usize) -> std::ops::Range<usize> {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_' || *c == '$';
    let length = match characters.get(start) {
        Some(c) if is_word(c) => characters[start..].iter().take_while(|c| is_word(c)).count(),
        Some('"' | '`' | '\'') => skip_string(characters, start) - start,
        _ => 1,
    };
    start..(start + length).min(characters.len().max(start + 1))
}

/// Finds the `index`-th argument of the call whose name, or whose opening bracket, stands at `start`.
fn argument_span(characters: &[char], start: usize, index: usize) -> Option<std::ops::Range<usize>> {
    let mut at = start;
    while characters.get(at)? != &'(' {
        // The name of a qualified call may stand some words before its bracket; another line is another story.
        if matches!(characters[at], '\n' | ';' | ')' | '}') {
            return None;
        }
        at += 1;
    }
    let mut depth = 0_usize;
    let mut argument = 0;
    let mut begin = at + 1;
    while at < characters.len() {
        match characters[at] {
            '"' | '`' | '\'' => {
                at = skip_string(characters, at);
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth -= 1;
                if depth == 0 {
                    return (argument == index).then(|| trimmed(characters, begin..at))?;
                }
            }
            ',' if depth == 1 => {
                if argument == index {
                    return trimmed(characters, begin..at);
                }
                argument += 1;
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Finds the option of this name, with its value, in a map that is written down at `span`.
fn option_span(characters: &[char], span: std::ops::Range<usize>, key: &str) -> Option<std::ops::Range<usize>> {
    let key: Vec<char> = key.chars().collect();
    let is_key = |behind: usize| characters[behind..span.end].iter().find(|c| !c.is_whitespace()) == Some(&':');
    let mut depth = 0_usize;
    let mut at = span.start;
    let mut begin = None;
    while at < span.end {
        let is_at_depth = depth == 1;
        match characters[at] {
            '"' | '`' | '\'' => {
                let end = skip_string(characters, at).min(span.end);
                let text = characters[at + 1..end].strip_suffix(&['"']);
                if begin.is_none() && is_at_depth && text == Some(key.as_slice()) && is_key(end) {
                    begin = Some(at);
                }
                at = end;
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_end = is_at_depth && (characters[at] == ',' || depth == 0);
        if let (true, Some(begin)) = (is_end, begin) {
            return trimmed(characters, begin..at);
        }
        if begin.is_none() && depth == 1 && characters[at..span.end].starts_with(&key) {
            let is_whole = !characters[at - 1].is_alphanumeric() && characters[at - 1] != '_';
            begin = (is_key(at + key.len()) && is_whole).then_some(at);
        }
        at += 1;
    }
    None
}

fn trimmed(characters: &[char], span: std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    let inside = &characters[span.clone()];
    let before = inside.iter().take_while(|c| c.is_whitespace()).count();
    let after = inside.iter().rev().take_while(|c| c.is_whitespace()).count();
    (before < inside.len()).then(|| span.start + before..span.end - after)
}

/// Returns the position after the string that opens at `start`.
fn skip_string(characters: &[char], start: usize) -> usize {
    let quote = characters[start];
    let mut at = start + 1;
    while at < characters.len() && characters[at] != quote {
        at += if characters[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(characters.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, line: usize, column: usize, arg: Option<usize>) -> String {
        let characters: Vec<char> = text.chars().collect();
        let place = SourcePlace { source: "s".into(), line, column, arg, also: Box::default(), option: None };
        span(text, &place, "").map(|s| characters[s].iter().collect()).unwrap_or_default()
    }

    #[test]
    fn the_arrow_covers_the_word_or_the_argument() {
        let text = "let a = 1;\nlet b = tensor::zeros([2, \"x,)\"], #{ dtype: \"f\" });\n";
        assert_eq!(drawn(text, 2, 9, None), "tensor");
        assert_eq!(drawn(text, 2, 17, Some(0)), "[2, \"x,)\"]");
        assert_eq!(drawn(text, 2, 17, Some(1)), "#{ dtype: \"f\" }");
        assert_eq!(drawn(text, 2, 17, Some(2)), "zeros");
        assert_eq!(drawn("f(", 1, 1, Some(0)), "f");
        assert_eq!(drawn("é + ü", 1, 5, None), "ü");
        assert_eq!(drawn("fn f() {\n\n", 3, 1, None), "{");
    }

    #[test]
    fn the_arrow_covers_the_option_in_its_map() {
        let text: Vec<char> =
            "f(x, #{ kinds: 1, kind: g(\"kind: , }\", [1, 2]), k: 3, \"a.0\" : 4 })".chars().collect();
        let found = |key: &str| {
            let map = argument_span(&text, 0, 1).unwrap();
            option_span(&text, map, key).map(|span| text[span].iter().collect::<String>())
        };
        assert_eq!(found("kind").as_deref(), Some("kind: g(\"kind: , }\", [1, 2])"));
        assert_eq!(found("k").as_deref(), Some("k: 3"));
        assert_eq!(found("kinds").as_deref(), Some("kinds: 1"));
        assert_eq!(found("a.0").as_deref(), Some("\"a.0\" : 4"));
        assert_eq!(found("ki"), None);
    }

    #[test]
    fn the_arrow_covers_the_key_that_the_message_names() {
        let text = "f(m, #{ site: v, \"resid.9\": w });";
        let place =
            SourcePlace { source: "s".into(), line: 1, column: 1, arg: Some(1), also: Box::default(), option: None };
        let covered = |message: &str| text[span(text, &place, message).unwrap()].to_string();
        assert_eq!(covered("unknown site `site`"), "site: v");
        assert_eq!(covered("expected a vector at `resid.9`, found none"), "\"resid.9\": w");
        assert_eq!(covered("unknown site `other`"), "#{ site: v, \"resid.9\": w }");
    }

    #[test]
    fn what_is_covered_is_counted_in_bytes() {
        let sources = Sources::default();
        sources.add("s", "// é\nlet ü = \"é\" + oops;");
        let place =
            SourcePlace { source: "s".into(), line: 2, column: 15, arg: None, also: Box::default(), option: None };
        let failure = Failure {
            kind: "name".into(),
            message: "unknown".into(),
            hint: None,
            place: Some(place),
            frames: Vec::new(),
        };
        let text = sources.text("s").unwrap();
        assert_eq!(&text[covered(&failure, &sources).unwrap()], "oops");
    }

    #[test]
    fn no_colour_means_no_escape_codes() {
        let sources = Sources::default();
        sources.add("a.rhai", "let x = oops;");
        let failure = Failure {
            kind: "name".into(),
            message: "unknown variable `oops`".into(),
            hint: Some("did you mean `x`?".into()),
            place: Some(SourcePlace {
                source: "a.rhai".into(),
                line: 1,
                column: 9,
                arg: None,
                also: Box::default(),
                option: None,
            }),
            frames: Vec::new(),
        };
        let text = draw(&failure, &sources, false);
        assert!(!text.contains('\x1b'));
        assert!(
            text.contains("a.rhai:1:9") && text.contains("did you mean `x`?") && text.contains("let x = oops;"),
            "{text}"
        );
        assert!(draw(&failure, &sources, true).contains('\x1b'));
    }

    #[test]
    fn the_name_of_a_source_is_no_code() {
        let sources = Sources::default();
        let name = "a\x1b]52;c;x\x07\n.rhai";
        sources.add(name, "oops");
        let place =
            SourcePlace { source: name.into(), line: 1, column: 1, arg: None, also: Box::default(), option: None };
        let frame =
            crate::script::engine::failure::CallFrame { function: "import \"\x1b[2J\"".into(), place: place.clone() };
        let failure = Failure {
            kind: "name".into(),
            message: "unknown".into(),
            hint: None,
            place: Some(place),
            frames: vec![frame],
        };
        for colour in [false, true] {
            let sent = crate::report::terminal::codes::obeyed(&draw(&failure, &sources, colour));
            assert!(
                !sent.contains("\x1b]") && !sent.contains("\x1b[2J") && sent.contains("a␛]52;c;x␇↵.rhai"),
                "{sent:?}"
            );
        }
    }
}
