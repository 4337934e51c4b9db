//! Words that Rhai keeps for itself and that scripts use as names: the method `with`, and `for` as a key of a map.

use std::cell::RefCell;

use rhai::{Engine, Position, Token};

/// The parser's place in a text.
#[derive(Default)]
struct ParserState {
    /// Whether each open bracket is that of a map.
    open: Vec<bool>,
    /// Whether a key of a map may stand here.
    at_key: bool,
    position: Position,
}

impl ParserState {
    fn next(&mut self, token: Token, position: Position) -> Token {
        // The parser may have given up on the text before this one.
        if position <= self.position {
            *self = Self::default();
        }
        self.position = position;
        let token = match token {
            Token::Reserved(word) if word.as_str() == "with" => Token::Identifier(word),
            Token::For if self.at_key => Token::Identifier(Box::new("for".into())),
            other => other,
        };
        match token {
            Token::MapStart => self.open.push(true),
            Token::LeftBrace | Token::LeftBracket | Token::LeftParen | Token::QuestionBracket => self.open.push(false),
            Token::RightBrace | Token::RightBracket | Token::RightParen => drop(self.open.pop()),
            Token::EOF => *self = Self::default(),
            _ => {}
        }
        let in_map = self.open.last().copied().unwrap_or(false);
        self.at_key = matches!(token, Token::MapStart) || in_map && matches!(token, Token::Comma);
        token
    }
}

pub fn free_words(engine: &mut Engine) {
    let place = RefCell::new(ParserState::default());
    #[expect(deprecated, reason = "the engine calls it volatile, not old")]
    engine.on_parse_token(move |token, position, _| place.borrow_mut().next(token, position));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_for_and_loops_stay_what_they_are() {
        let mut engine = Engine::new();
        free_words(&mut engine);
        engine.register_fn("with", |x: i64, y: i64| x + y);
        let eval = |text: &str| engine.eval::<i64>(text).unwrap();
        assert_eq!(eval("let m = #{ for: 3, a: [1, 2], for2: 1 }; m[\"for\"]"), 3);
        assert_eq!(eval("let m = #{ a: || { for i in 0..3 {} 1 }, for: 4 }; let n = 0; for i in 0..4 { n += i } n"), 6);
        assert_eq!(eval("let x = 1; x.with(2)"), 3);
        assert!(engine.compile("let a = #{ b: [").is_err());
        assert_eq!(eval("let n = 0; for i in [1, 2] { n += i } n"), 3);
    }
}
