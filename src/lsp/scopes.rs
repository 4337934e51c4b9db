//! Definitions of a script and the places that mean them, told from its words alone: a script that is being written
//! does not parse.
//!
//! Names are seen as the language has it: a variable from behind its own value to the end of its block, a parameter
//! in its function or closure, a function everywhere in its script. A function sees no variables from outside, but
//! imports at the top, and constants there as `global::NAME`; a closure sees what stands around it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use crate::repl::cursor::CursorText;
use crate::script::engine::tokens::{self, CLOSING, OPENING, Token, TokenKind};

/// Brackets that `}` closes.
const BRACES: &[&str] = &["{", "#{", "${"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionKind {
    Function,
    Variable,
    Constant,
    Parameter,
    /// The variable of a loop, or the counter beside it.
    Loop,
    /// The name of an error that is caught.
    Caught,
    Import,
    /// The name by which a variable is exported, if it is another one.
    Export,
}

/// A name that a script defines.
#[derive(Debug, Clone)]
pub struct Definition {
    pub kind: DefinitionKind,
    /// The token of the name.
    pub token: usize,
    /// The bytes at which the name is seen; of a function, which is seen everywhere, those of its body.
    pub visible: Range<usize>,
    /// The function whose body the definition stands in; none at the top.
    pub function: Option<usize>,
    /// The tokens of the value, or of the path of an import; empty where there is none.
    pub value: Range<usize>,
    /// The bytes of the whole definition.
    pub whole: Range<usize>,
    /// The tokens of a function's parameters.
    pub parameters: Vec<usize>,
    /// Whether a function is written to be called as a method: it mentions what it is called on.
    pub is_method: bool,
    /// Whether something else is assigned to the variable later.
    pub is_assigned: bool,
    /// Whether the definition stands at the top of the script, in no block.
    pub is_top: bool,
    /// Whether those who import the script may use it: public functions, what is exported, and imports at the top.
    pub is_shared: bool,
}

/// The definitions of a script, and what its words mean.
pub struct Scopes {
    source: Rc<str>,
    /// All tokens, comments too.
    tokens: Vec<Token>,
    /// The tokens without comments, by whose numbers words are known.
    code: Vec<Token>,
    /// Functions first, then the others in their order.
    pub definitions: Vec<Definition>,
    /// Numbers of the definitions of each name, functions left out, in the order of the text.
    by_name: BTreeMap<String, Vec<usize>>,
    meanings: Meanings,
}

/// The meaning of words.
#[derive(Default)]
struct Meanings {
    /// The definition that a token means, by token; the name of a definition means that itself.
    uses: BTreeMap<usize, usize>,
    /// Number of arguments by the bracket of a call.
    arguments: BTreeMap<usize, usize>,
    /// The bytes at which bodies of functions begin and end, in their order, and the function that goes on from there.
    bodies: Vec<(usize, Option<usize>)>,
}

/// Returns the bytes of a token of a text, of a string without its quotes.
fn bytes(text: &CursorText, token: usize) -> Range<usize> {
    let Some(found) = text.tokens.get(token) else { return 0..0 };
    // A piece of a template ends where `${` begins, and in no quote.
    let word = found.of(text.text);
    let mark = word.chars().next().filter(|mark| matches!(mark, '"' | '\'' | '`'));
    let is_quoted = !found.open && word.len() >= 2 && mark.is_some_and(|mark| word.ends_with(mark));
    let quote = usize::from(found.kind == TokenKind::Text && is_quoted);
    found.start + quote..found.end - quote
}

impl Scopes {
    pub fn new(source: impl Into<Rc<str>>) -> Self {
        let source = source.into();
        let tokens = tokens::tokens(&source);
        let code: Vec<Token> = tokens.iter().filter(|token| token.kind != TokenKind::Comment).copied().collect();
        let (definitions, meanings) = Walker::new(CursorText::of(&source, code.as_slice())).walked();
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, found) in definitions.iter().enumerate() {
            let name = code.get(found.token).filter(|_| found.kind != DefinitionKind::Function);
            if let Some(name) = name {
                by_name.entry(name.of(&source).into()).or_default().push(number);
            }
        }
        Self { source, tokens, code, definitions, by_name, meanings }
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns all tokens of the text, comments too.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Returns the text, cut into tokens without comments.
    pub fn text(&self) -> CursorText<'_> {
        CursorText::of(&self.source, self.code.as_slice())
    }

    /// Returns the text before a byte, cut into tokens with comments; none within a letter.
    pub fn before(&self, byte: usize) -> Option<CursorText<'_>> {
        Some(CursorText::of(self.source.get(..byte)?, tokens::before(&self.source, &self.tokens, byte)))
    }

    /// Returns the number of arguments in the bracket behind a token.
    pub fn arguments(&self, token: usize) -> Option<usize> {
        self.meanings.arguments.get(&(token + 1)).copied()
    }

    pub fn name(&self, definition: usize) -> &str {
        self.definitions.get(definition).map_or("", |found| self.text().word(found.token))
    }

    /// Returns the token at a byte, or the one that ends there; of two that touch there a word.
    pub fn token_at(&self, byte: usize) -> Option<usize> {
        let tokens = &self.code;
        let next = tokens.partition_point(|token| token.start <= byte);
        let here = next.checked_sub(1).filter(|at| byte <= tokens[*at].end)?;
        let touches = |at: &usize| tokens[*at].end == byte && tokens[*at].kind == TokenKind::Word;
        let is_word = tokens[here].kind == TokenKind::Word;
        Some(here.checked_sub(1).filter(|before| !is_word && touches(before)).unwrap_or(here))
    }

    /// Returns the bytes of a token, of a string without its quotes.
    pub fn bytes(&self, token: usize) -> Range<usize> {
        bytes(&self.text(), token)
    }

    /// Returns the definition that a token means.
    pub fn meant(&self, token: usize) -> Option<usize> {
        self.meanings.uses.get(&token).copied()
    }

    /// Returns whether two definitions are one thing: functions of one name are, whatever they take.
    fn is_one(&self, one: usize, other: usize) -> bool {
        let is_function =
            |number: usize| self.definitions.get(number).is_some_and(|found| found.kind == DefinitionKind::Function);
        one == other || is_function(one) && is_function(other) && self.name(one) == self.name(other)
    }

    /// Lists all tokens that mean what this one means, in their order.
    pub fn alike(&self, token: usize) -> Vec<usize> {
        let Some(meant) = self.meant(token) else { return Vec::new() };
        let uses = self.meanings.uses.iter().filter(|(_, other)| self.is_one(meant, **other));
        uses.map(|(token, _)| *token).collect()
    }

    /// Returns whether those who import the script may use a definition, or a function of its name.
    pub fn is_shared(&self, definition: usize) -> bool {
        let mut all = self.definitions.iter().enumerate();
        all.any(|(other, found)| found.is_shared && self.is_one(definition, other))
    }

    /// Lists the definitions of a name that those who import the script may use: its imports, or all others.
    pub fn shared(&self, name: &str, is_import: bool) -> Vec<usize> {
        let is_meant = |(number, found): &(usize, &Definition)| {
            found.is_shared && (found.kind == DefinitionKind::Import) == is_import && self.name(*number) == name
        };
        self.definitions.iter().enumerate().filter(is_meant).map(|(number, _)| number).collect()
    }

    /// Lists the tokens of a name behind the names of modules.
    pub fn members(&self, name: &str) -> Vec<usize> {
        let text = self.text();
        let is_meant = |token: &usize| text.word(*token) == name && !self.modules_before(*token).is_empty();
        (0..self.code.len()).filter(is_meant).collect()
    }

    /// Lists the names of modules before a name, as `a` and `b` in `a::b::f`.
    pub fn modules_before(&self, token: usize) -> Vec<usize> {
        let text = self.text();
        let mut modules = Vec::new();
        let mut at = token;
        while at >= 2 && text.is_name(at) && text.is_symbol(at - 1, &["::"]) && text.is_name(at - 2) {
            at -= 2;
            modules.push(at);
        }
        modules.reverse();
        modules
    }

    /// Returns whether another text means the same by its words: each means the definition at the same place.
    pub fn is_same(&self, other: &Self) -> bool {
        self.code.len() == other.code.len() && self.meanings.uses == other.meanings.uses
    }

    /// Returns whether a token is the name of a definition where that stands.
    pub fn is_definition(&self, token: usize) -> bool {
        self.meant(token).and_then(|meant| self.definitions.get(meant)).is_some_and(|found| found.token == token)
    }

    /// Returns the text with another word at these tokens, which come in their order; none where some word would mean
    /// something else then, or a function would have the name of another one.
    pub fn renamed(&self, tokens: &[usize], word: &str) -> Option<Self> {
        let is_function = |token: &usize| {
            let found = self.meant(*token).and_then(|meant| self.definitions.get(meant));
            found.is_some_and(|found| found.kind == DefinitionKind::Function)
        };
        if tokens.iter().any(is_function) && !self.functions(word, None).is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.source.len() + tokens.len() * word.len());
        let mut copied = 0;
        for token in tokens {
            let bytes = self.bytes(*token);
            text.push_str(self.source.get(copied..bytes.start)?);
            text.push_str(word);
            copied = bytes.end;
        }
        text.push_str(self.source.get(copied..)?);
        Some(Self::new(text)).filter(|renamed| self.is_same(renamed))
    }

    /// Returns the function whose body a byte is in.
    pub fn function_at(&self, byte: usize) -> Option<usize> {
        let bodies = &self.meanings.bodies;
        let last = bodies.partition_point(|(from, _)| *from <= byte).checked_sub(1)?;
        bodies.get(last)?.1
    }

    /// Lists the definitions that are seen at a byte, of each name the nearest one.
    pub fn visible(&self, byte: usize) -> Vec<usize> {
        let function = self.function_at(byte);
        let mut nearest: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, found) in self.definitions.iter().enumerate() {
            let is_seen = match found.kind {
                DefinitionKind::Function => true,
                DefinitionKind::Import if found.function.is_none() && function.is_some() => true,
                _ => found.function == function && found.visible.start <= byte && byte <= found.visible.end,
            };
            if is_seen {
                nearest.insert(self.name(number), number);
            }
        }
        let mut all: Vec<usize> = nearest.into_values().collect();
        all.sort_unstable();
        all
    }

    /// Returns the variable, parameter or import of a name that is seen at a byte.
    pub fn named(&self, name: &str, byte: usize) -> Option<usize> {
        let function = self.function_at(byte);
        let all = self.by_name.get(name)?;
        let found = |number: usize| self.definitions.get(number);
        let is_before = |number: &usize| found(*number).is_some_and(|found| self.bytes(found.token).start <= byte);
        let is_seen =
            |found: &Definition| found.function == function && found.visible.start <= byte && byte <= found.visible.end;
        let before = all.partition_point(is_before);
        all.iter().take(before).rev().copied().find(|number| found(*number).is_some_and(is_seen))
    }

    /// Returns the path that is imported under a name.
    pub fn import_path(&self, name: &str) -> Option<&str> {
        self.by_name.get(name)?.iter().rev().find_map(|number| self.imported(*number))
    }

    /// Returns the path of an import, if it is written down.
    pub fn imported(&self, definition: usize) -> Option<&str> {
        let found = self.definitions.get(definition)?;
        let is_written = found.kind == DefinitionKind::Import && !found.value.is_empty();
        is_written.then(|| self.source.get(self.bytes(found.value.start))).flatten()
    }

    /// Lists the functions of a name, the one with so many parameters first.
    pub fn functions(&self, name: &str, arguments: Option<usize>) -> Vec<usize> {
        let is_meant =
            |number: &usize| self.definitions[*number].kind == DefinitionKind::Function && self.name(*number) == name;
        let mut found: Vec<usize> = (0..self.definitions.len()).filter(is_meant).collect();
        found.sort_by_key(|number| arguments.is_some_and(|count| self.definitions[*number].parameters.len() != count));
        found
    }

    /// Writes a function as it is called: `area(f, k)`.
    pub fn signature(&self, definition: usize) -> String {
        let parameters = self.definitions.get(definition).map(|found| found.parameters.as_slice()).unwrap_or_default();
        let words: Vec<&str> = parameters.iter().map(|token| self.text().word(*token)).collect();
        format!("{}({})", self.name(definition), words.join(", "))
    }

    /// Returns the lines of documentation above a definition.
    pub fn comments(&self, definition: usize) -> String {
        let Some(found) = self.definitions.get(definition) else { return String::new() };
        let before = self.source.get(..found.whole.start).unwrap_or_default();
        let above = before.rfind('\n').map_or("", |end| &before[..end]);
        let is_comment = |line: &&str| line.trim_start().starts_with("///");
        let mut lines: Vec<&str> = above.lines().rev().take_while(is_comment).collect();
        lines.reverse();
        lines.join("\n")
    }
}

/// A block, a function or a closure that is being walked through.
struct Frame {
    /// Number of brackets that are open in it.
    depth: usize,
    is_closure: bool,
    /// The definitions that are seen in it.
    names: Vec<usize>,
    /// The function around it.
    function: Option<usize>,
}

/// Names that are seen in the block that comes next: those of a loop, of a function, of what is caught.
struct Head {
    depth: usize,
    names: Vec<usize>,
    /// The function whose body comes.
    function: Option<usize>,
}

/// A statement whose `as` gives a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Nothing,
    /// The import of the path at this token, or of one that is computed.
    Import(Option<usize>),
    Export,
}

/// The place of a name among those that are seen: whether it is that of an import, the function that it stands in, and
/// itself.
type SeenName<'t> = (bool, Option<usize>, &'t str);

fn seen_name<'t>(found: &Definition, text: &CursorText<'t>) -> SeenName<'t> {
    (found.kind == DefinitionKind::Import, found.function, text.word(found.token))
}

struct Walker<'t> {
    text: CursorText<'t>,
    definitions: Vec<Definition>,
    meanings: Meanings,
    /// Functions by the tokens of their `fn`.
    functions: BTreeMap<usize, usize>,
    /// The first function of each name.
    first: BTreeMap<&'t str, usize>,
    /// The first function of each name that takes so many arguments.
    taking: BTreeMap<(&'t str, usize), usize>,
    frames: Vec<Frame>,
    /// The variables and imports that are seen, the nearest last.
    seen: BTreeMap<SeenName<'t>, Vec<usize>>,
    brackets: Vec<usize>,
    /// Number of the open brackets that `}` closes.
    braces: usize,
    heads: Vec<Head>,
    /// Variables whose value is being written, with the number of open brackets.
    waiting: Vec<(usize, usize)>,
    naming: Naming,
    /// The first token of the statement that begins with `export`.
    exported: Option<usize>,
    /// The function whose body is walked through.
    function: Option<usize>,
    /// Names that may be defined at the top only later: constants and imports.
    open: Vec<(usize, DefinitionKind)>,
    /// Names that are called behind a dot: functions may be defined later that are methods.
    methods: Vec<usize>,
    /// Names of variables that are exported by themselves.
    exports: Vec<usize>,
}

impl<'t> Walker<'t> {
    fn new(text: CursorText<'t>) -> Self {
        let first = Frame { depth: 0, is_closure: false, names: Vec::new(), function: None };
        let mut walker = Self {
            text,
            definitions: Vec::new(),
            meanings: Meanings::default(),
            functions: BTreeMap::new(),
            first: BTreeMap::new(),
            taking: BTreeMap::new(),
            frames: vec![first],
            seen: BTreeMap::new(),
            brackets: Vec::new(),
            braces: 0,
            heads: Vec::new(),
            waiting: Vec::new(),
            naming: Naming::Nothing,
            exported: None,
            function: None,
            open: Vec::new(),
            methods: Vec::new(),
            exports: Vec::new(),
        };
        walker.count_arguments();
        walker.find_functions();
        walker
    }

    fn word(&self, token: usize) -> &'t str {
        self.text.word(token)
    }

    fn is_symbol(&self, token: usize, symbols: &[&str]) -> bool {
        self.text.is_symbol(token, symbols)
    }

    fn is_name(&self, token: usize) -> bool {
        self.text.is_name(token)
    }

    /// Returns the byte at which a token begins, or the end of the text.
    fn start(&self, token: usize) -> usize {
        self.text.tokens.get(token).map_or(self.text.text.len(), |token| token.start)
    }

    /// Returns the byte at which a token ends.
    fn end(&self, token: usize) -> usize {
        self.text.tokens.get(token).map_or(self.text.text.len(), |token| token.end)
    }

    /// Returns the parameters of the closure that a bar begins, and the token of its second bar.
    fn closure(&self, bar: usize) -> Option<(Vec<usize>, usize)> {
        if !self.is_symbol(bar, &["|"]) {
            return None;
        }
        let ends_value = |token: usize| {
            self.is_symbol(token, CLOSING)
                || self.is_name(token)
                || matches!(self.word(token), "this" | "true" | "false")
                || matches!(self.text.kind(token), Some(TokenKind::Number | TokenKind::Text))
        };
        if bar.checked_sub(1).is_some_and(ends_value) {
            return None;
        }
        let mut parameters = Vec::new();
        for token in bar + 1..self.text.tokens.len() {
            if self.is_symbol(token, &["|"]) {
                return Some((parameters, token));
            }
            if self.is_name(token) {
                parameters.push(token);
            } else if !self.is_symbol(token, &[","]) {
                return None;
            }
        }
        None
    }

    /// Counts the arguments of each call.
    fn count_arguments(&mut self) {
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut token = 0;
        while token < self.text.tokens.len() {
            if self.is_symbol(token, OPENING) {
                open.push((token, 0));
            } else if self.is_symbol(token, CLOSING) {
                if let Some((bracket, commas)) = open.pop() {
                    let count = if token == bracket + 1 { 0 } else { commas + 1 };
                    self.meanings.arguments.insert(bracket, count);
                }
            } else if self.is_symbol(token, &[","])
                && let Some((_, commas)) = open.last_mut()
            {
                *commas += 1;
            } else if let Some((_, bar)) = self.closure(token) {
                token = bar;
            }
            token += 1;
        }
    }

    /// Finds all functions, which are seen before they are defined.
    fn find_functions(&mut self) {
        for token in 0..self.text.tokens.len() {
            if self.word(token) == "fn" && self.text.kind(token) == Some(TokenKind::Word) {
                self.find_function(token);
            }
        }
    }

    fn find_function(&mut self, at: usize) {
        // A method of a type is `fn int.up()`.
        let name = if self.is_symbol(at + 2, &["."]) { at + 3 } else { at + 1 };
        if !self.is_name(name) || !self.is_symbol(name + 1, &["("]) {
            return;
        }
        let close = (name + 2..self.text.tokens.len()).find(|token| !self.is_parameter_list(*token));
        let close = close.unwrap_or(self.text.tokens.len());
        let parameters: Vec<usize> = (name + 2..close).filter(|token| self.is_name(*token)).collect();
        let first = at.checked_sub(1).filter(|before| self.word(*before) == "private").unwrap_or(at);
        let number = self.definitions.len();
        let whole = self.start(first)..self.end(close);
        let word = self.word(name);
        self.functions.insert(at, number);
        self.first.entry(word).or_insert(number);
        self.taking.entry((word, parameters.len())).or_insert(number);
        let definition = self.definition(DefinitionKind::Function, name);
        let visible = whole.end..whole.end;
        // One that is private has that word before it.
        self.definitions.push(Definition { parameters, visible, whole, is_shared: first == at, ..definition });
        self.meanings.uses.insert(name, number);
    }

    fn is_parameter_list(&self, token: usize) -> bool {
        self.is_name(token) || self.is_symbol(token, &[","])
    }

    fn definition(&self, kind: DefinitionKind, token: usize) -> Definition {
        Definition {
            kind,
            token,
            visible: usize::MAX..usize::MAX,
            function: self.function,
            value: 0..0,
            whole: self.start(token)..self.end(token),
            parameters: Vec::new(),
            is_method: false,
            is_assigned: false,
            is_top: self.brackets.is_empty(),
            is_shared: false,
        }
    }

    /// Adds a definition that is not seen yet.
    fn define(&mut self, definition: Definition) -> usize {
        let number = self.definitions.len();
        self.meanings.uses.insert(definition.token, number);
        self.definitions.push(definition);
        number
    }

    /// Makes a definition seen from a byte on.
    fn show(&mut self, number: usize, from: usize) {
        let end = self.text.text.len();
        let Some(found) = self.definitions.get_mut(number) else { return };
        found.visible = from..end;
        self.seen.entry(seen_name(found, &self.text)).or_default().push(number);
        if let Some(frame) = self.frames.last_mut() {
            frame.names.push(number);
        }
    }

    /// Leaves the innermost block or closure; what it defines is not seen from this byte on.
    fn leave(&mut self, byte: usize) {
        let Some(frame) = self.frames.pop() else { return };
        for number in frame.names.into_iter().rev() {
            if let Some(found) = self.definitions.get_mut(number) {
                found.visible.end = byte;
                if let Some(all) = self.seen.get_mut(&seen_name(found, &self.text)) {
                    all.pop();
                }
            }
        }
        if frame.function != self.function {
            if let Some(found) = self.function.and_then(|number| self.definitions.get_mut(number)) {
                found.visible.end = byte;
                found.whole.end = (byte + 1).min(self.text.text.len());
            }
            self.function = frame.function;
            // The brace that ends the body is in it.
            self.meanings.bodies.push((byte + 1, self.function));
        }
    }

    /// Ends the closures whose body ends here.
    fn end_closures(&mut self, token: usize) {
        let depth = self.brackets.len();
        while self.frames.last().is_some_and(|frame| frame.is_closure && frame.depth == depth) {
            self.leave(self.start(token));
        }
    }

    /// Makes the variables seen whose values end before a token.
    fn end_values(&mut self, token: usize) {
        let depth = self.brackets.len();
        while let Some((number, _)) = self.waiting.pop_if(|(_, opened)| *opened >= depth) {
            let end = token.checked_sub(1).map_or(0, |last| self.end(last));
            if let Some(found) = self.definitions.get_mut(number) {
                found.value.end = token.max(found.value.start);
                found.whole.end = end.max(found.whole.end);
            }
            self.show(number, self.start(token));
        }
    }

    fn walked(mut self) -> (Vec<Definition>, Meanings) {
        let mut token = 0;
        while token < self.text.tokens.len() {
            token = self.step(token);
        }
        self.end_values(token);
        let end = self.text.text.len();
        while !self.frames.is_empty() {
            self.leave(end);
        }
        self.find_later();
        (self.definitions, self.meanings)
    }

    /// Walks over a token, and returns the next one.
    fn step(&mut self, token: usize) -> usize {
        match self.text.kind(token) {
            Some(TokenKind::Symbol) => self.symbol(token),
            Some(TokenKind::Word) if self.is_name(token) => {
                self.refer(token);
                token + 1
            }
            Some(TokenKind::Word) => self.keyword(token),
            Some(TokenKind::Text) => {
                self.pointer(token);
                token + 1
            }
            _ => token + 1,
        }
    }

    fn symbol(&mut self, token: usize) -> usize {
        if self.is_symbol(token, OPENING) {
            self.open_bracket(token);
        } else if self.is_symbol(token, CLOSING) {
            self.close_bracket(token);
        } else if self.is_symbol(token, &[","]) {
            self.end_closures(token);
        } else if self.is_symbol(token, &[";"]) {
            self.end_closures(token);
            self.end_values(token);
            self.drop_heads(self.brackets.len());
            (self.naming, self.exported) = (Naming::Nothing, None);
        } else if let Some((parameters, bar)) = self.closure(token) {
            let depth = self.brackets.len();
            self.frames.push(Frame { depth, is_closure: true, names: Vec::new(), function: self.function });
            for parameter in parameters {
                let number = self.define(self.definition(DefinitionKind::Parameter, parameter));
                self.show(number, self.end(bar));
            }
            return bar + 1;
        }
        token + 1
    }

    fn open_bracket(&mut self, token: usize) {
        let depth = self.brackets.len();
        self.brackets.push(token);
        self.braces += usize::from(self.is_symbol(token, BRACES));
        if !self.is_symbol(token, &["{", "${"]) {
            return;
        }
        let head = if self.is_symbol(token, &["{"]) { self.heads.pop_if(|head| head.depth == depth) } else { None };
        self.frames.push(Frame { depth: depth + 1, is_closure: false, names: Vec::new(), function: self.function });
        let Some(head) = head else { return };
        let from = self.end(token);
        if let Some(number) = head.function {
            self.function = Some(number);
            self.meanings.bodies.push((from, self.function));
            if let Some(found) = self.definitions.get_mut(number) {
                found.visible.start = from;
            }
        }
        for number in head.names {
            if let Some(found) = self.definitions.get_mut(number) {
                found.function = self.function;
            }
            self.show(number, from);
        }
    }

    /// Drops the heads whose blocks do not come any more, within so many brackets.
    fn drop_heads(&mut self, depth: usize) {
        // They stand in the order of their depths.
        while self.heads.pop_if(|head| head.depth >= depth).is_some() {}
    }

    fn fits(&self, open: usize, closing: usize) -> bool {
        match self.word(closing) {
            ")" => self.word(open) == "(",
            "]" => matches!(self.word(open), "[" | "?["),
            _ => self.is_symbol(open, BRACES),
        }
    }

    /// Closes the bracket that fits; a brace closes what was left open in it, another bracket that fits none is
    /// passed over.
    fn close_bracket(&mut self, token: usize) {
        let is_open = if self.is_symbol(token, &["}"]) {
            self.braces > 0
        } else {
            self.brackets.last().is_some_and(|open| self.fits(*open, token))
        };
        if !is_open {
            return;
        }
        while let Some(open) = self.brackets.last().copied() {
            let is_last = self.fits(open, token);
            self.end_closures(token);
            self.end_values(token);
            let depth = self.brackets.len();
            if self.frames.last().is_some_and(|frame| frame.depth == depth) {
                self.leave(self.start(token));
            }
            self.brackets.pop();
            self.braces -= usize::from(self.is_symbol(open, BRACES));
            self.drop_heads(depth);
            if is_last {
                return;
            }
        }
    }

    /// Ends the values before a statement, also where a semicolon is missing.
    fn begin_statement(&mut self, token: usize) {
        self.end_closures(token);
        self.end_values(token);
    }

    fn keyword(&mut self, token: usize) -> usize {
        let depth = self.brackets.len();
        match self.word(token) {
            "let" | "const" if self.is_name(token + 1) => {
                self.begin_statement(token);
                let is_constant = self.word(token) == "const";
                let kind = if is_constant { DefinitionKind::Constant } else { DefinitionKind::Variable };
                let has_value = self.is_symbol(token + 2, &["="]);
                let value = if has_value { token + 3 } else { token + 2 };
                let first = self.exported.unwrap_or(token);
                let whole = self.start(first)..self.end(token + 1);
                let is_shared = self.naming == Naming::Export && self.exported == token.checked_sub(1);
                let definition = self.definition(kind, token + 1);
                let number = self.define(Definition { value: value..value, whole, is_shared, ..definition });
                self.waiting.push((number, depth));
                value
            }
            "fn" => self.function_head(token),
            "for" => self.loop_head(token),
            "catch" if self.is_symbol(token + 1, &["("]) && self.is_name(token + 2) => {
                let number = self.define(self.definition(DefinitionKind::Caught, token + 2));
                self.heads.push(Head { depth, names: vec![number], function: None });
                if self.is_symbol(token + 3, &[")"]) { token + 4 } else { token + 3 }
            }
            "import" => {
                self.begin_statement(token);
                let is_written = self.text.kind(token + 1) == Some(TokenKind::Text);
                self.naming = Naming::Import(is_written.then_some(token + 1));
                self.exported = Some(token);
                token + 1
            }
            "export" => {
                self.begin_statement(token);
                self.naming = Naming::Export;
                self.exported = Some(token);
                if self.is_name(token + 1) && self.word(token + 2) != "as" {
                    self.exports.push(token + 1);
                }
                token + 1
            }
            "as" if self.is_name(token + 1) => {
                let first = self.exported.unwrap_or(token);
                let whole = self.start(first)..self.end(token + 1);
                match self.naming {
                    Naming::Import(path) => {
                        // A path that is a part of a sum is known only when the script runs.
                        let value = path.filter(|path| path + 1 == token).map_or(0..0, |path| path..path + 1);
                        let definition = self.definition(DefinitionKind::Import, token + 1);
                        let is_shared = definition.is_top;
                        let number = self.define(Definition { value, whole, is_shared, ..definition });
                        self.show(number, self.end(token + 1));
                    }
                    Naming::Export => {
                        let definition = self.definition(DefinitionKind::Export, token + 1);
                        self.define(Definition { whole, is_shared: true, ..definition });
                    }
                    Naming::Nothing => {}
                }
                token + 2
            }
            "this" => {
                if let Some(found) = self.function.and_then(|number| self.definitions.get_mut(number)) {
                    found.is_method = true;
                }
                token + 1
            }
            _ => token + 1,
        }
    }

    /// Walks over the head of a function up to its body.
    fn function_head(&mut self, token: usize) -> usize {
        self.begin_statement(token);
        let Some(number) = self.functions.get(&token).copied() else { return token + 1 };
        let parameters = self.definitions.get(number).map(|found| found.parameters.clone()).unwrap_or_default();
        let last = parameters.last().copied();
        let names = parameters
            .into_iter()
            .map(|parameter| self.define(self.definition(DefinitionKind::Parameter, parameter)))
            .collect();
        self.heads.push(Head { depth: self.brackets.len(), names, function: Some(number) });
        let name = self.definitions.get(number).map_or(token, |found| found.token);
        // The closing bracket, which opened nothing here.
        let next = last.unwrap_or(name + 1) + 1;
        let is_left = |at: &usize| self.is_symbol(*at, &[",", ")"]);
        (next..self.text.tokens.len()).find(|at| !is_left(at)).unwrap_or(self.text.tokens.len())
    }

    /// Walks over the variables of a loop: `for x in ..`, `for (x, i) in ..`.
    fn loop_head(&mut self, token: usize) -> usize {
        let is_pair = self.is_symbol(token + 1, &["("]);
        let first = if is_pair { token + 2 } else { token + 1 };
        let last = (first..self.text.tokens.len()).find(|at| !self.is_parameter_list(*at)).unwrap_or(first);
        let tokens: Vec<usize> = (first..last).filter(|at| self.is_name(*at)).collect();
        let names = tokens.into_iter().map(|name| self.define(self.definition(DefinitionKind::Loop, name))).collect();
        self.heads.push(Head { depth: self.brackets.len(), names, function: None });
        if is_pair && self.is_symbol(last, &[")"]) { last + 1 } else { last }
    }

    /// Finds what a name means.
    fn refer(&mut self, token: usize) {
        let name = self.word(token);
        let before = token.checked_sub(1);
        let is_called = self.is_symbol(token + 1, &["("]);
        if before.is_some_and(|before| self.is_symbol(before, &[".", "?."])) {
            if is_called {
                self.methods.push(token);
            }
            return;
        }
        if before.is_some_and(|before| self.is_symbol(before, &["::"])) {
            if token >= 2 && self.word(token - 2) == "global" {
                self.open.push((token, DefinitionKind::Constant));
            }
            return;
        }
        if self.is_symbol(token + 1, &["::"]) {
            let import = self.nearest((true, self.function, name)).or_else(|| self.nearest((true, None, name)));
            if let Some(number) = import {
                self.meanings.uses.insert(token, number);
            } else {
                self.open.push((token, DefinitionKind::Import));
            }
            return;
        }
        let is_in_map = self.brackets.last().is_some_and(|open| self.is_symbol(*open, &["#{"]));
        if is_in_map && self.is_symbol(token + 1, &[":"]) {
            return;
        }
        let variable = self.nearest((false, self.function, name));
        let function = || self.called(name, token);
        let meant = if is_called { function().or(variable) } else { variable.or_else(function) };
        let Some(number) = meant else { return };
        self.meanings.uses.insert(token, number);
        let assigning = ["=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^="];
        if self.is_symbol(token + 1, &assigning)
            && let Some(found) = self.definitions.get_mut(number)
        {
            found.is_assigned = true;
        }
    }

    fn nearest(&self, name: SeenName<'t>) -> Option<usize> {
        self.seen.get(&name).and_then(|all| all.last()).copied()
    }

    /// Returns the function of a name, the one that takes as many arguments as stand in the bracket behind the token
    /// if there is one.
    fn called(&self, name: &'t str, token: usize) -> Option<usize> {
        let count = self.meanings.arguments.get(&(token + 1));
        let fitting = count.and_then(|count| self.taking.get(&(name, *count)));
        fitting.or_else(|| self.first.get(name)).copied()
    }

    /// Finds the function that `Fn("name")` points to.
    fn pointer(&mut self, token: usize) {
        if token < 2 || !self.is_symbol(token - 1, &["("]) || self.word(token - 2) != "Fn" {
            return;
        }
        let name = self.text.text.get(bytes(&self.text, token)).unwrap_or_default();
        if let Some(number) = self.first.get(name).copied() {
            self.meanings.uses.insert(token, number);
        }
    }

    /// Finds what is named before it is defined: constants and imports of the top, and functions that are methods; and
    /// what is exported.
    fn find_later(&mut self) {
        for token in std::mem::take(&mut self.exports) {
            let meant = self.meanings.uses.get(&token).and_then(|number| self.definitions.get_mut(*number));
            if let Some(found) = meant.filter(|found| found.kind != DefinitionKind::Function) {
                found.is_shared = true;
            }
        }
        for token in std::mem::take(&mut self.methods) {
            let method = self.called(self.word(token), token);
            if let Some(number) = method.filter(|number| self.definitions[*number].is_method) {
                self.meanings.uses.insert(token, number);
            }
        }
        let mut of_top: BTreeMap<(&str, bool), usize> = BTreeMap::new();
        for (number, found) in self.definitions.iter().enumerate() {
            let is_import = found.kind == DefinitionKind::Import;
            if found.is_top && (is_import || found.kind == DefinitionKind::Constant) {
                of_top.insert((self.text.word(found.token), is_import), number);
            }
        }
        for (token, kind) in &self.open {
            let key = (self.text.word(*token), *kind == DefinitionKind::Import);
            if let Some(number) = of_top.get(&key) {
                self.meanings.uses.insert(*token, *number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes at which words mean what the word behind `¦` means.
    fn alike(marked: &str) -> Vec<usize> {
        let byte = marked.find('¦').unwrap();
        let scopes = Scopes::new(marked.replace('¦', ""));
        let token = scopes.token_at(byte).unwrap();
        scopes.alike(token).into_iter().map(|token| scopes.bytes(token).start).collect()
    }

    /// Returns the places of a word in a text, by their numbers.
    fn places(marked: &str, word: &str, numbers: &[usize]) -> Vec<usize> {
        let text = marked.replace('¦', "");
        let is_letter = |c: char| c.is_alphanumeric() || c == '_';
        let all: Vec<usize> = text
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|at| !text[..*at].ends_with(is_letter) && !text[at + word.len()..].starts_with(is_letter))
            .collect();
        numbers.iter().map(|number| all[*number]).collect()
    }

    fn check(marked: &str, word: &str, numbers: &[usize]) {
        assert_eq!(alike(marked), places(marked, word, numbers), "{marked}");
    }

    #[test]
    fn a_variable_is_seen_behind_its_value_and_hides_the_one_before() {
        let text = "let x = 1; let x = x + 1; if true { let x = 3; x } x";
        check("let ¦x = 1; let x = x + 1; if true { let x = 3; x } x", "x", &[0, 2]);
        check("let x = 1; let ¦x = x + 1; if true { let x = 3; x } x", "x", &[1, 5]);
        check("let x = 1; let x = x + 1; if true { let x = 3; ¦x } x", "x", &[3, 4]);
        assert_eq!(Scopes::new(text).definitions.len(), 3);
    }

    #[test]
    fn parameters_belong_to_their_function_or_closure() {
        check("let a = 1; fn f(¦a, b) { a + b } a", "a", &[1, 2]);
        check("let ¦a = 1; fn f(a, b) { a + b } a", "a", &[0, 3]);
        check("let a = 1; let g = |¦a| a + 1; a", "a", &[1, 2]);
        check("let ¦a = 1; let g = |b| a + b; [1].map(|a| a); a", "a", &[0, 1, 4]);
        check("xs.map(|¦x| { let y = x; y + x }).map(|x| x)", "x", &[0, 1, 2]);
        check("let ¦y = 2; f(|x, z| y, y | z)", "y", &[0, 1, 2]);
        check("let ¦n = 1; let f = || n; n", "n", &[0, 1, 2]);
    }

    #[test]
    fn functions_are_seen_everywhere_and_see_no_variables() {
        check("¦f(1); fn f(a) { if a > 0 { f(a - 1) } }", "f", &[0, 1, 2]);
        check("let ¦k = 1; fn f() { k } k", "k", &[0, 2]);
        check("fn ¦f(a) { a } [1].map(f); Fn(\"f\"); x.f; #{ f: 1 }", "f", &[0, 1, 2]);
        check("fn ¦area(a) { a } fn area(a, b) { a * b } area(1); area(1, 2);", "area", &[0, 1, 2, 3]);
        check("fn ¦up() { this + 1 } 1.up(); \"a\".up(1);", "up", &[0, 1, 2]);
        check("fn ¦sum(a) { a } t.sum(0);", "sum", &[0]);
        check("fn int.¦up() { this + 1 } 1.up()", "up", &[0, 1]);
    }

    #[test]
    fn loops_and_errors_have_names_of_their_own() {
        check("for ¦x in [x] { x } x", "x", &[0, 2]);
        check("for (x, ¦i) in list { x + i } i", "i", &[0, 1]);
        check("let ¦e = 1; try { e } catch (e) { e }", "e", &[0, 1]);
        check("try { 1 } catch (¦e) { e.kind } e", "e", &[0, 1]);
    }

    #[test]
    fn imports_and_constants_of_the_top_are_seen_in_functions() {
        check("import \"std/stats\" as ¦st; fn f() { st::mean([1]) } st::x", "st", &[0, 1, 2]);
        check("fn f() { ¦st::mean([1]) } import \"std/stats\" as st;", "st", &[0, 1]);
        check("fn f() { global::¦K } const K = 3; K", "K", &[0, 1, 2]);
        let scopes = Scopes::new("import \"std/stats\" as st; export let a = 1; export a as b;");
        assert_eq!((scopes.import_path("st"), scopes.import_path("a")), (Some("std/stats"), None));
        assert_eq!(scopes.definitions.len(), 3);
        let scopes = Scopes::new("import \"a\" + b as st; import `a${b}` as t; st::f(1)");
        assert_eq!((scopes.import_path("st"), scopes.import_path("t")), (None, None));
    }

    #[test]
    fn a_script_shares_functions_exports_and_imports() {
        let text = "import \"m\" as m; fn f(a) { import \"n\" as n; a } private fn f() { 1 } private fn p() { 2 } \
                    let a = 1; let b = 2; let c = 3; export a; export b as d; export const K = 4; { let x = 5; }";
        let scopes = Scopes::new(text);
        let shared = |number: &usize| scopes.definitions[*number].is_shared;
        let names: Vec<&str> = (0..scopes.definitions.len()).filter(shared).map(|one| scopes.name(one)).collect();
        assert_eq!(names, ["f", "m", "a", "d", "K"]);
        assert_eq!((scopes.shared("m", true).len(), scopes.shared("m", false).len()), (1, 0));
        let [public, private] = scopes.functions("f", Some(1))[..] else { panic!("two functions") };
        assert!(scopes.is_shared(public) && scopes.is_shared(private));
        assert!(!scopes.functions("p", None).iter().any(|number| scopes.is_shared(*number)));
    }

    #[test]
    fn names_behind_modules_are_found_with_these() {
        let scopes = Scopes::new("a::f(1); b :: c::f; f(2); x.f(); global::f; `${a::f}`");
        let members: Vec<Vec<&str>> = scopes
            .members("f")
            .into_iter()
            .map(|token| scopes.modules_before(token).into_iter().map(|module| scopes.text().word(module)).collect())
            .collect();
        assert_eq!(members, [vec!["a"], vec!["b", "c"], vec!["a"]]);
    }

    #[test]
    fn another_word_stands_where_it_means_the_same() {
        let scopes = Scopes::new("let x = 1; fn f(y) { y } `${x}` + x");
        let uses = scopes.alike(1);
        assert_eq!(scopes.renamed(&uses, "start").unwrap().source(), "let start = 1; fn f(y) { y } `${start}` + start");
        assert!(scopes.renamed(&uses[..2], "z").is_none() && scopes.renamed(&uses, "if").is_none());
        let scopes = Scopes::new("fn f(a) { a } fn g(a, b) { a }");
        assert!(scopes.renamed(&[1], "h").is_some() && scopes.renamed(&[1], "g").is_none());
    }

    #[test]
    fn code_within_strings_is_code_and_keys_are_none() {
        check("let ¦x = 1; `a ${x + 1} ${[x].map(|x| x)} x`", "x", &[0, 1, 2]);
        check("let ¦x = 1; #{ x: x, \"x\": 2 }.x", "x", &[0, 2]);
        check("let ¦x = 1; // x\nx /* x */", "x", &[0, 2]);
    }

    #[test]
    fn values_are_known_by_their_tokens() {
        let scopes = Scopes::new("let a = f(1, |x| x); const B = [1, 2]\nlet c; for d in a {} a = 2;");
        let values: Vec<String> = scopes
            .definitions
            .iter()
            .map(|found| {
                let words: Vec<&str> = found.value.clone().map(|token| scopes.text().word(token)).collect();
                format!("{}={}", scopes.text().word(found.token), words.concat())
            })
            .collect();
        assert_eq!(values, ["a=f(1,|x|x)", "x=", "B=[1,2]", "c=", "d="]);
        assert!(scopes.definitions[0].is_assigned && !scopes.definitions[2].is_assigned);
    }

    #[test]
    fn what_is_seen_at_a_byte_is_listed() {
        let text = "import \"m\" as m; let a = 1; fn f(p) { let b = p;  } { let c = 2;  } let d = 3;";
        let scopes = Scopes::new(text);
        let seen = |marker: &str| {
            let byte = text.find(marker).unwrap() + marker.len() + 1;
            scopes.visible(byte).into_iter().map(|number| scopes.name(number)).collect::<Vec<_>>()
        };
        assert_eq!(seen("b = p;"), ["f", "m", "p", "b"]);
        assert_eq!(seen("c = 2;"), ["f", "m", "a", "c"]);
        assert_eq!(scopes.signature(0), "f(p)");
    }

    #[test]
    fn comments_above_a_function_are_its_documentation() {
        let scopes = Scopes::new("// no\n/// Adds.\n///\n/// More.\nprivate fn add(x, y) { x + y }\nfn none() {}");
        assert_eq!(scopes.comments(0), "/// Adds.\n///\n/// More.");
        assert_eq!(scopes.comments(1), "");
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(
            text in "(let |fn |f\\(|for |in |import |as |\\|x\\||x|\\{|\\}|\\(|\\)|\"|`\\$\\{|;|,|=|::|\\.|é){0,40}"
        ) {
            let scopes = Scopes::new(text.as_str());
            for byte in 0..=text.len() {
                let found = scopes.token_at(byte);
                let _alike = found.map(|token| scopes.alike(token));
                // By its name a definition is found where it is seen, and no other.
                let visible = scopes.visible(byte);
                assert!(visible.iter().all(|number| {
                    let found = &scopes.definitions[*number];
                    let is_here = found.kind != DefinitionKind::Function && found.function == scopes.function_at(byte);
                    !is_here || scopes.named(scopes.name(*number), byte) == Some(*number)
                }));
            }
            for found in &scopes.definitions {
                assert!(found.whole.end <= text.len() && found.value.start <= scopes.text().tokens.len() + 1);
            }
        }
    }
}
