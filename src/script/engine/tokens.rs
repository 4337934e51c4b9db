//! A script cut into words with their places, for the prompt: it never fails, however unfinished the text is.
//!
//! The engine's own lexer stops at the first error and gives points instead of spans; what is being typed is almost
//! always in error. Places are byte offsets into the text.

use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A name or a keyword.
    Word,
    Number,
    /// A string or a character. One between backticks comes in pieces where `${..}` stands in it.
    Text,
    Comment,
    /// A bracket or an operator; of the longer ones only those that matter here stand together.
    Symbol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
    /// A string or a comment that the text ends before it is closed.
    pub open: bool,
}

impl Token {
    pub fn of<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start..self.end]
    }

    pub fn is_symbol(&self, text: &str, symbols: &[&str]) -> bool {
        self.kind == TokenKind::Symbol && symbols.contains(&self.of(text))
    }

    /// Returns the number of brackets that are open after this token, where `depth` were open before it.
    pub fn depth_after(&self, text: &str, depth: usize) -> usize {
        if self.is_symbol(text, OPENING) {
            depth + 1
        } else if self.is_symbol(text, CLOSING) {
            depth.saturating_sub(1)
        } else {
            depth
        }
    }
}

pub const OPENING: &[&str] = &["(", "[", "{", "#{", "${", "?["];
pub const CLOSING: &[&str] = &[")", "]", "}"];

/// Words that the language keeps for itself.
pub const KEYWORDS: &[&str] = &[
    "let", "const", "if", "else", "switch", "while", "loop", "do", "until", "for", "in", "break", "continue", "return",
    "fn", "private", "import", "export", "as", "global", "try", "catch", "throw", "true", "false", "this",
];

/// Symbols of more than one character that must not be taken apart.
const LONG_SYMBOLS: &[&str] = &[
    "**=", "<<=", ">>=", "..=", "::", "#{", "?.", "?[", "..", "=>", "==", "!=", "<=", ">=", "&&", "||", "??", "**",
    "<<", ">>", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=",
];

/// Cuts the text into tokens; white space is left out.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), interpolations: Vec::new() };
    while lexer.at < text.len() {
        lexer.next();
    }
    lexer.tokens
}

/// Returns the tokens of a text up to a byte, as if it ended there, given all of its tokens. Only what is cut there is
/// read again.
pub fn before<'a>(text: &str, all: &'a [Token], byte: usize) -> Cow<'a, [Token]> {
    let (whole, rest) = all.split_at(all.partition_point(|token| token.end <= byte));
    let Some(next) = rest.first() else { return Cow::Borrowed(whole) };
    if next.start <= byte && next.is_symbol(text, &["${"]) {
        // The string goes on, since no code has begun in it.
        let mut found = whole.to_vec();
        if let Some(piece) = found.last_mut() {
            (piece.end, piece.open) = (byte, true);
        }
        return Cow::Owned(found);
    }
    let is_behind_code = next.kind == TokenKind::Text
        && whole.last().is_some_and(|last| last.end == next.start && last.is_symbol(text, &["}"]))
        && closes_code(text, whole);
    if next.start > byte || next.start == byte && !is_behind_code {
        return Cow::Borrowed(whole);
    }
    let mut found = whole.to_vec();
    if is_behind_code {
        let open = hole_or_end(text.get(next.start..byte).unwrap_or_default()).is_none();
        found.push(Token { end: byte, open, ..*next });
    } else {
        let cut = tokens(text.get(next.start..byte).unwrap_or_default()).into_iter();
        found.extend(cut.map(|token| Token { start: next.start + token.start, end: next.start + token.end, ..token }));
    }
    Cow::Owned(found)
}

/// Returns whether the last of these tokens, a brace, closes code that stands in a string.
fn closes_code(text: &str, tokens: &[Token]) -> bool {
    // Number of braces that are open within each `${`.
    let mut within: Vec<usize> = Vec::new();
    let mut is_closed = false;
    for token in tokens.iter().filter(|token| token.kind == TokenKind::Symbol) {
        let word = token.of(text);
        is_closed = word == "}" && within.last() == Some(&0);
        match (word, within.last_mut()) {
            ("}", Some(_)) if is_closed => {
                within.pop();
            }
            ("}", Some(braces)) => *braces -= 1,
            ("{" | "#{", Some(braces)) => *braces += 1,
            ("${", _) => within.push(0),
            _ => {}
        }
    }
    is_closed
}

/// Returns the indices of the opening brackets that are not closed, outermost first; nothing if a closing one does not
/// fit.
pub fn open_brackets(text: &str, tokens: &[Token]) -> Option<Vec<usize>> {
    let mut open: Vec<usize> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.is_symbol(text, OPENING) {
            open.push(index);
        } else if token.is_symbol(text, CLOSING) && !tokens[open.pop()?].of(text).ends_with(partner(token.of(text))) {
            return None;
        }
    }
    Some(open)
}

fn partner(closing: &str) -> char {
    match closing {
        ")" => '(',
        "]" => '[',
        _ => '{',
    }
}

/// Counts the brackets that a line leaves open, or closes of those before it, and those before it that were closed for
/// a while; nothing where more than brackets is open in it.
pub fn brackets(line: &str) -> Option<(i64, i64)> {
    let tokens = tokens(line);
    if line.contains('`') || tokens.last().is_some_and(|last| last.open) {
        return None;
    }
    let mut open = 0;
    let mut least = 0;
    for token in &tokens {
        open += i64::from(token.is_symbol(line, OPENING)) - i64::from(token.is_symbol(line, CLOSING));
        least = least.min(open);
    }
    Some((open, least))
}

/// Returns whether the text cannot be whole, by its tokens alone: a bracket, a comment or a string that may go on is
/// open.
pub fn is_open(text: &str) -> bool {
    let tokens = tokens(text);
    if let Some(last) = tokens.last().filter(|last| last.open) {
        // A string between quotes ends with its line, unless a backslash carries it on.
        return !last.of(text).starts_with(['"', '\'']) || text.trim_end_matches('\n').ends_with('\\');
    }
    open_brackets(text, &tokens).is_some_and(|open| !open.is_empty())
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
    /// Number of braces that are open within each `${` around the place.
    interpolations: Vec<usize>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: TokenKind, length: usize, open: bool) {
        let end = self.at + length;
        self.tokens.push(Token { kind, start: self.at, end, open });
        self.at = end;
    }

    fn next(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return };
        if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            self.push(TokenKind::Comment, length, false);
        } else if rest.starts_with("/*") {
            let (length, open) = block_comment(rest);
            self.push(TokenKind::Comment, length, open);
        } else if first == '`' {
            self.backticks(1);
        } else if first == '"' || first == '\'' {
            let (length, open) = quoted(rest, first);
            self.push(TokenKind::Text, length, open);
        } else if let Some(hashes) = raw_string(rest) {
            let (length, open) = raw(rest, hashes);
            self.push(TokenKind::Text, length, open);
        } else if first.is_ascii_digit() {
            self.push(TokenKind::Number, number(rest), false);
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            self.push(TokenKind::Word, length, false);
        } else {
            self.symbol(first);
        }
    }

    fn symbol(&mut self, first: char) {
        let long = LONG_SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol));
        let length = long.map_or(first.len_utf8(), |symbol| symbol.len());
        let closes = first == '}';
        self.push(TokenKind::Symbol, length, false);
        match self.interpolations.last_mut() {
            Some(0) if closes => {
                self.interpolations.pop();
                self.backticks(0);
            }
            Some(depth) if closes => *depth -= 1,
            Some(depth) if long == Some(&"#{") || first == '{' => *depth += 1,
            _ => {}
        }
    }

    /// Reads a piece of a string between backticks, `skip` bytes of which are its opening.
    fn backticks(&mut self, skip: usize) {
        let inside = &self.rest()[skip..];
        match hole_or_end(inside) {
            Some(hole) if inside[hole..].starts_with('$') => {
                self.push(TokenKind::Text, skip + hole, false);
                self.push(TokenKind::Symbol, 2, false);
                self.interpolations.push(0);
            }
            end => {
                let length = skip + end.map_or(inside.len(), |end| end + 1);
                self.push(TokenKind::Text, length, end.is_none());
            }
        }
    }
}

/// Finds the `${` or the backtick at which a piece of a string between backticks ends. Two backticks are one of the
/// string's own, and `\${` begins no code.
fn hole_or_end(inside: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(place) = inside[at..].find(['`', '$', '\\']) {
        at += place;
        let rest = &inside[at..];
        let own = ["``", "\\${"].into_iter().find(|own| rest.starts_with(own));
        if own.is_none() && (rest.starts_with('`') || rest.starts_with("${")) {
            return Some(at);
        }
        at += own.map_or(1, str::len);
    }
    None
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Comments nest. A second asterisk is part of the beginning, as in the language, so that `/**/` is open.
fn block_comment(rest: &str) -> (usize, bool) {
    let mut depth = 1;
    let mut at = if rest.starts_with("/**") { 3 } else { 2 };
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return (at, false);
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    (rest.len(), true)
}

/// Reads a string that ends with its quote or, unclosed, with its line. Two quotes are one of the string's own.
fn quoted(rest: &str, quote: char) -> (usize, bool) {
    let mut escaped = false;
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            // Before the end of a line that a backslash carries on.
            '\r' => {}
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' => return (at, true),
            c if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() => return (at + 1, false),
            _ => {}
        }
    }
    (rest.len(), true)
}

/// Counts the hashes that open a raw string `##".."##`.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.bytes().take_while(|b| *b == b'#').count();
    (hashes > 0 && rest[hashes..].starts_with('"')).then_some(hashes)
}

fn raw(rest: &str, hashes: usize) -> (usize, bool) {
    let closing = format!("\"{}", "#".repeat(hashes));
    match rest[hashes + 1..].find(&closing) {
        Some(at) => (hashes + 1 + at + closing.len(), false),
        None => (rest.len(), true),
    }
}

/// Returns the length of a number: `1_000`, `0xff`, `2.5e-3`, but of `0..5` and `1.abs()` the digits only.
fn number(rest: &str) -> usize {
    let digits = |from: usize| rest[from..].find(|c| !is_word(c)).map_or(rest.len(), |length| from + length);
    let mut end = digits(0);
    if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        end = digits(end + 1);
    }
    let signed = rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['-', '+']);
    if signed && !rest[..end].contains(['x', 'X']) { digits(end + 1) } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        tokens(text).iter().map(|token| token.of(text)).collect()
    }

    #[test]
    fn a_line_is_cut_into_its_words() {
        assert_eq!(
            cut("let x_1 = tensor::zeros([2,3]);"),
            ["let", "x_1", "=", "tensor", "::", "zeros", "(", "[", "2", ",", "3", "]", ")", ";"]
        );
        assert_eq!(
            cut("0..5 1.5e-3 1_000 0xfe-1 1.abs()"),
            ["0", "..", "5", "1.5e-3", "1_000", "0xfe", "-", "1", "1", ".", "abs", "(", ")"]
        );
        assert_eq!(cut("x**=2 a<<b|=c **d"), ["x", "**=", "2", "a", "<<", "b", "|=", "c", "**", "d"]);
        assert_eq!(cut("x // rest \"a\n/* a /* b */ c */ y"), ["x", "// rest \"a", "/* a /* b */ c */", "y"]);
        assert_eq!(cut(r##""a\"b" 'c' #"raw " x"# #{ é: "##), ["\"a\\\"b\"", "'c'", "#\"raw \" x\"#", "#{", "é", ":"]);
    }

    #[test]
    fn code_inside_of_a_string_is_code() {
        assert_eq!(
            cut("`a ${x + #{b: 1}.b} c` d"),
            ["`a ", "${", "x", "+", "#{", "b", ":", "1", "}", ".", "b", "}", " c`", "d"]
        );
        let text = "`a ${`b ${c}`} d";
        assert_eq!(cut(text), ["`a ", "${", "`b ", "${", "c", "}", "`", "}", " d"]);
        assert!(tokens(text).last().is_some_and(|last| last.open));
    }

    #[test]
    fn a_quote_that_stands_twice_is_a_character_of_its_string() {
        assert_eq!(cut(r#""a""b" "" """" 'x'"#), [r#""a""b""#, r#""""#, r#""""""#, "'x'"]);
        assert_eq!(cut("`a``b ${c}``d` ``"), ["`a``b ", "${", "c", "}", "``d`", "``"]);
        assert_eq!(cut(r"`a \${b` c"), [r"`a \${b`", "c"]);
        assert!(is_open("`a``") && !is_open("`a```"));
    }

    #[test]
    fn numbers_and_comments_end_where_the_language_ends_them() {
        assert_eq!(cut("0X1e-3 /**/ x */ 1e-3"), ["0X1e", "-", "3", "/**/ x */", "1e-3"]);
        assert!(is_open("/**/") && !is_open("/***/") && !is_open("/* */"));
        assert_eq!(cut("\"a\\\r\n b\" c"), ["\"a\\\r\n b\"", "c"]);
    }

    #[test]
    fn what_is_open_is_known() {
        for text in
            ["f(", "#{ a: [1", "`text", "`a ${", "`a ${b} c", "/* x", "#\"raw", "if x {", "\"carried on \\", "{ \"}\""]
        {
            assert!(is_open(text), "{text}");
        }
        for text in ["", "f()", "f)", "(]", "\"unclosed", "'x", "x // (", "`{`", "\"(\"", "1 + 2;"] {
            assert!(!is_open(text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "[a-z0-9 (){}\\[\\]#$`\"'/*.:\\\\\né]{0,40}") {
            let tokens = tokens(&text);
            let mut at = 0;
            for token in tokens {
                assert!(token.start >= at && token.end > token.start || token.start == token.end);
                assert!(text[at..token.start].chars().all(char::is_whitespace));
                at = token.end;
            }
            assert!(text[at..].chars().all(char::is_whitespace));
        }

        #[test]
        fn tokens_before_a_byte_are_those_of_the_text_that_ends_there(
            text in "(`|\\$\\{|\\{|#\\{|\\}|\"|'|#\"|\"#|//|/\\*|\\*/|\n|[a-z]|1\\.5|2e-3|\\*\\*=|\\$|é| ){0,30}"
        ) {
            let all = tokens(&text);
            for byte in (0..=text.len()).filter(|byte| text.is_char_boundary(*byte)) {
                assert_eq!(before(&text, &all, byte).to_vec(), tokens(&text[..byte]), "{text:?} at {byte}");
            }
        }
    }
}
