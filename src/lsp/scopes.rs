//! Definitions of a script and the places that mean them, told from its words alone: a script that is being written
//! does not parse.
//!
//! Names are seen as the language has it: a variable from behind its own value to the end of its block, a parameter
//! in its function or closure, a function everywhere in its script. A function sees no variables from outside, but
//! imports at the top, and constants there as `global::NAME`; a closure sees what stands around it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::repl::cursor::CursorText;
use crate::script::engine::tokens::{CLOSING, OPENING, Token, TokenKind, tokens};

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
}

/// The definitions of a script, and what its words mean.
pub struct Scopes<'t> {
    /// The text, cut into tokens without comments.
    pub text: CursorText<'t>,
    /// Functions first, then the others in their order.
    pub definitions: Vec<Definition>,
    /// The definition that a token means, by token; the name of a definition means that itself.
    uses: BTreeMap<usize, usize>,
    /// Number of arguments by the bracket of a call.
    arguments: BTreeMap<usize, usize>,
}

impl<'t> Scopes<'t> {
    pub fn new(text: &'t str) -> Self {
        let code: Vec<Token> = tokens(text).into_iter().filter(|token| token.kind != TokenKind::Comment).collect();
        let text = CursorText { text, tokens: code };
        let found = Self { text, definitions: Vec::new(), uses: BTreeMap::new(), arguments: BTreeMap::new() };
        Walker::new(found).walked()
    }

    /// Returns the number of arguments in the bracket behind a token.
    pub fn arguments(&self, token: usize) -> Option<usize> {
        self.arguments.get(&(token + 1)).copied()
    }

    pub fn name(&self, definition: usize) -> &'t str {
        self.definitions.get(definition).map_or("", |found| self.text.word(found.token))
    }

    /// Returns the token at a byte, or the one that ends there; of two that touch there a word.
    pub fn token_at(&self, byte: usize) -> Option<usize> {
        let tokens = &self.text.tokens;
        let next = tokens.partition_point(|token| token.start <= byte);
        let here = next.checked_sub(1).filter(|at| byte <= tokens[*at].end)?;
        let touches = |at: &usize| tokens[*at].end == byte && tokens[*at].kind == TokenKind::Word;
        let is_word = tokens[here].kind == TokenKind::Word;
        Some(here.checked_sub(1).filter(|before| !is_word && touches(before)).unwrap_or(here))
    }

    /// Returns the bytes of a token, of a string without its quotes.
    pub fn bytes(&self, token: usize) -> Range<usize> {
        let Some(found) = self.text.tokens.get(token) else { return 0..0 };
        // A piece of a template ends where `${` begins, and in no quote.
        let word = found.of(self.text.text);
        let mark = word.chars().next().filter(|mark| matches!(mark, '"' | '\'' | '`'));
        let is_quoted = !found.open && word.len() >= 2 && mark.is_some_and(|mark| word.ends_with(mark));
        let quote = usize::from(found.kind == TokenKind::Text && is_quoted);
        found.start + quote..found.end - quote
    }

    /// Returns the definition that a token means.
    pub fn meant(&self, token: usize) -> Option<usize> {
        self.uses.get(&token).copied()
    }

    /// Lists all tokens that mean what this one means, in their order. Functions of one name are one thing, whatever
    /// they take.
    pub fn alike(&self, token: usize) -> Vec<usize> {
        let Some(meant) = self.meant(token) else { return Vec::new() };
        let is_function = |definition: usize| {
            self.definitions.get(definition).is_some_and(|found| found.kind == DefinitionKind::Function)
        };
        let name = self.name(meant);
        let is_alike =
            |other: usize| other == meant || is_function(meant) && is_function(other) && self.name(other) == name;
        self.uses.iter().filter(|(_, other)| is_alike(**other)).map(|(token, _)| *token).collect()
    }

    /// Returns whether another text means the same by its words: each means the definition at the same place.
    pub fn is_same(&self, other: &Scopes) -> bool {
        self.text.tokens.len() == other.text.tokens.len() && self.uses == other.uses
    }

    /// Returns the function whose body a byte is in.
    pub fn function_at(&self, byte: usize) -> Option<usize> {
        let is_around = |found: &Definition| found.kind == DefinitionKind::Function && found.visible.contains(&byte);
        self.definitions.iter().position(is_around)
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
                nearest.insert(self.text.word(found.token), number);
            }
        }
        let mut all: Vec<usize> = nearest.into_values().collect();
        all.sort_unstable();
        all
    }

    /// Returns the variable, parameter or import of a name that is seen at a byte.
    pub fn named(&self, name: &str, byte: usize) -> Option<usize> {
        let function = self.function_at(byte);
        self.definitions.iter().rposition(|found| {
            found.kind != DefinitionKind::Function
                && self.text.word(found.token) == name
                && found.function == function
                && found.visible.start <= byte
                && byte <= found.visible.end
        })
    }

    /// Returns the path that is imported under a name.
    pub fn import_path(&self, name: &str) -> Option<&'t str> {
        let is_meant = |found: &&Definition| {
            found.kind == DefinitionKind::Import && self.text.word(found.token) == name && !found.value.is_empty()
        };
        let found = self.definitions.iter().rfind(is_meant)?;
        self.text.text.get(self.bytes(found.value.start))
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
        let words: Vec<&str> = parameters.iter().map(|token| self.text.word(*token)).collect();
        format!("{}({})", self.name(definition), words.join(", "))
    }

    /// Returns the lines of documentation above a definition.
    pub fn comments(&self, definition: usize) -> String {
        let Some(found) = self.definitions.get(definition) else { return String::new() };
        let before = self.text.text.get(..found.whole.start).unwrap_or_default();
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

struct Walker<'t> {
    scopes: Scopes<'t>,
    /// Functions by the tokens of their `fn`.
    functions: BTreeMap<usize, usize>,
    /// The functions of each name.
    by_name: BTreeMap<&'t str, Vec<usize>>,
    frames: Vec<Frame>,
    /// The variables that are seen, by name, the nearest last.
    seen: BTreeMap<&'t str, Vec<usize>>,
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
}

impl<'t> Walker<'t> {
    fn new(scopes: Scopes<'t>) -> Self {
        let first = Frame { depth: 0, is_closure: false, names: Vec::new(), function: None };
        let mut walker = Self {
            scopes,
            functions: BTreeMap::new(),
            by_name: BTreeMap::new(),
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
        };
        walker.count_arguments();
        walker.find_functions();
        walker
    }

    fn word(&self, token: usize) -> &'t str {
        self.scopes.text.word(token)
    }

    fn is_symbol(&self, token: usize, symbols: &[&str]) -> bool {
        self.scopes.text.is_symbol(token, symbols)
    }

    fn is_name(&self, token: usize) -> bool {
        self.scopes.text.is_name(token)
    }

    /// Returns the byte at which a token begins, or the end of the text.
    fn start(&self, token: usize) -> usize {
        self.scopes.text.tokens.get(token).map_or(self.scopes.text.text.len(), |token| token.start)
    }

    /// Returns the byte at which a token ends.
    fn end(&self, token: usize) -> usize {
        self.scopes.text.tokens.get(token).map_or(self.scopes.text.text.len(), |token| token.end)
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
                || matches!(self.scopes.text.kind(token), Some(TokenKind::Number | TokenKind::Text))
        };
        if bar.checked_sub(1).is_some_and(ends_value) {
            return None;
        }
        let mut parameters = Vec::new();
        for token in bar + 1..self.scopes.text.tokens.len() {
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
        while token < self.scopes.text.tokens.len() {
            if self.is_symbol(token, OPENING) {
                open.push((token, 0));
            } else if self.is_symbol(token, CLOSING) {
                if let Some((bracket, commas)) = open.pop() {
                    let count = if token == bracket + 1 { 0 } else { commas + 1 };
                    self.scopes.arguments.insert(bracket, count);
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
        for token in 0..self.scopes.text.tokens.len() {
            if self.word(token) == "fn" && self.scopes.text.kind(token) == Some(TokenKind::Word) {
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
        let close = (name + 2..self.scopes.text.tokens.len()).find(|token| !self.is_parameter_list(*token));
        let close = close.unwrap_or(self.scopes.text.tokens.len());
        let parameters = (name + 2..close).filter(|token| self.is_name(*token)).collect();
        let first = at.checked_sub(1).filter(|before| self.word(*before) == "private").unwrap_or(at);
        let number = self.scopes.definitions.len();
        let whole = self.start(first)..self.end(close);
        self.scopes.definitions.push(Definition {
            parameters,
            visible: whole.end..whole.end,
            whole,
            ..self.definition(DefinitionKind::Function, name)
        });
        self.functions.insert(at, number);
        self.by_name.entry(self.word(name)).or_default().push(number);
        self.scopes.uses.insert(name, number);
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
        }
    }

    /// Adds a definition that is not seen yet.
    fn define(&mut self, definition: Definition) -> usize {
        let number = self.scopes.definitions.len();
        self.scopes.uses.insert(definition.token, number);
        self.scopes.definitions.push(definition);
        number
    }

    /// Makes a definition seen from a byte on.
    fn show(&mut self, number: usize, from: usize) {
        let end = self.scopes.text.text.len();
        let Some(found) = self.scopes.definitions.get_mut(number) else { return };
        found.visible = from..end;
        let name = self.scopes.text.word(found.token);
        self.seen.entry(name).or_default().push(number);
        if let Some(frame) = self.frames.last_mut() {
            frame.names.push(number);
        }
    }

    /// Leaves the innermost block or closure; what it defines is not seen from this byte on.
    fn leave(&mut self, byte: usize) {
        let Some(frame) = self.frames.pop() else { return };
        for number in frame.names.into_iter().rev() {
            if let Some(found) = self.scopes.definitions.get_mut(number) {
                found.visible.end = byte;
                if let Some(all) = self.seen.get_mut(self.scopes.text.word(found.token)) {
                    all.pop();
                }
            }
        }
        if frame.function != self.function {
            if let Some(found) = self.function.and_then(|number| self.scopes.definitions.get_mut(number)) {
                found.visible.end = byte;
                found.whole.end = (byte + 1).min(self.scopes.text.text.len());
            }
            self.function = frame.function;
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
            if let Some(found) = self.scopes.definitions.get_mut(number) {
                found.value.end = token.max(found.value.start);
                found.whole.end = end.max(found.whole.end);
            }
            self.show(number, self.start(token));
        }
    }

    fn walked(mut self) -> Scopes<'t> {
        let mut token = 0;
        while token < self.scopes.text.tokens.len() {
            token = self.step(token);
        }
        self.end_values(token);
        let end = self.scopes.text.text.len();
        while !self.frames.is_empty() {
            self.leave(end);
        }
        self.find_later();
        self.scopes
    }

    /// Walks over a token, and returns the next one.
    fn step(&mut self, token: usize) -> usize {
        match self.scopes.text.kind(token) {
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
            let depth = self.brackets.len();
            self.heads.retain(|head| head.depth != depth);
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
            if let Some(found) = self.scopes.definitions.get_mut(number) {
                found.visible.start = from;
            }
        }
        for number in head.names {
            if let Some(found) = self.scopes.definitions.get_mut(number) {
                found.function = self.function;
            }
            self.show(number, from);
        }
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
            self.heads.retain(|head| head.depth < depth);
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
                let definition = self.definition(kind, token + 1);
                let number = self.define(Definition { value: value..value, whole, ..definition });
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
                let is_written = self.scopes.text.kind(token + 1) == Some(TokenKind::Text);
                self.naming = Naming::Import(is_written.then_some(token + 1));
                self.exported = Some(token);
                token + 1
            }
            "export" => {
                self.begin_statement(token);
                self.naming = Naming::Export;
                self.exported = Some(token);
                token + 1
            }
            "as" if self.is_name(token + 1) => {
                if let Naming::Import(path) = self.naming {
                    let value = path.map_or(0..0, |path| path..path + 1);
                    let first = self.exported.unwrap_or(token);
                    let whole = self.start(first)..self.end(token + 1);
                    let definition = self.definition(DefinitionKind::Import, token + 1);
                    let number = self.define(Definition { value, whole, ..definition });
                    self.show(number, self.end(token + 1));
                }
                token + 2
            }
            "this" => {
                if let Some(found) = self.function.and_then(|number| self.scopes.definitions.get_mut(number)) {
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
        let parameters = self.scopes.definitions.get(number).map(|found| found.parameters.clone()).unwrap_or_default();
        let last = parameters.last().copied();
        let names = parameters
            .into_iter()
            .map(|parameter| self.define(self.definition(DefinitionKind::Parameter, parameter)))
            .collect();
        self.heads.push(Head { depth: self.brackets.len(), names, function: Some(number) });
        let name = self.scopes.definitions.get(number).map_or(token, |found| found.token);
        // The closing bracket, which opened nothing here.
        let next = last.unwrap_or(name + 1) + 1;
        let is_left = |at: &usize| self.is_symbol(*at, &[",", ")"]);
        (next..self.scopes.text.tokens.len()).find(|at| !is_left(at)).unwrap_or(self.scopes.text.tokens.len())
    }

    /// Walks over the variables of a loop: `for x in ..`, `for (x, i) in ..`.
    fn loop_head(&mut self, token: usize) -> usize {
        let is_pair = self.is_symbol(token + 1, &["("]);
        let first = if is_pair { token + 2 } else { token + 1 };
        let last = (first..self.scopes.text.tokens.len()).find(|at| !self.is_parameter_list(*at)).unwrap_or(first);
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
            let is_import = |number: &&usize| self.scopes.definitions[**number].kind == DefinitionKind::Import;
            if let Some(number) = self.seen.get(name).and_then(|all| all.iter().rfind(is_import)).copied() {
                self.scopes.uses.insert(token, number);
            } else {
                self.open.push((token, DefinitionKind::Import));
            }
            return;
        }
        let is_in_map = self.brackets.last().is_some_and(|open| self.is_symbol(*open, &["#{"]));
        if is_in_map && self.is_symbol(token + 1, &[":"]) {
            return;
        }
        let is_seen = |number: &&usize| self.scopes.definitions[**number].function == self.function;
        let variable = self.seen.get(name).and_then(|all| all.iter().rfind(is_seen)).copied();
        let function = || self.called(name, token);
        let meant = if is_called { function().or(variable) } else { variable.or_else(function) };
        let Some(number) = meant else { return };
        self.scopes.uses.insert(token, number);
        let assigning = ["=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^="];
        if self.is_symbol(token + 1, &assigning)
            && let Some(found) = self.scopes.definitions.get_mut(number)
        {
            found.is_assigned = true;
        }
    }

    /// Returns the function of a name, the one that takes as many arguments as stand in the bracket behind the token
    /// if there is one.
    fn called(&self, name: &str, token: usize) -> Option<usize> {
        let all = self.by_name.get(name)?;
        let Some(count) = self.scopes.arguments(token) else { return all.first().copied() };
        let fits = |number: &&usize| self.scopes.definitions[**number].parameters.len() == count;
        all.iter().find(fits).or(all.first()).copied()
    }

    /// Finds the function that `Fn("name")` points to.
    fn pointer(&mut self, token: usize) {
        if token < 2 || !self.is_symbol(token - 1, &["("]) || self.word(token - 2) != "Fn" {
            return;
        }
        let name = self.scopes.text.text.get(self.scopes.bytes(token)).unwrap_or_default();
        if let Some(number) = self.by_name.get(name).and_then(|all| all.first()).copied() {
            self.scopes.uses.insert(token, number);
        }
    }

    /// Finds what is named before it is defined: constants and imports of the top, and functions that are methods.
    fn find_later(&mut self) {
        for token in std::mem::take(&mut self.methods) {
            let method = self.called(self.word(token), token);
            if let Some(number) = method.filter(|number| self.scopes.definitions[*number].is_method) {
                self.scopes.uses.insert(token, number);
            }
        }
        let mut of_top: BTreeMap<(&str, bool), usize> = BTreeMap::new();
        for (number, found) in self.scopes.definitions.iter().enumerate() {
            let is_import = found.kind == DefinitionKind::Import;
            if found.is_top && (is_import || found.kind == DefinitionKind::Constant) {
                of_top.insert((self.scopes.text.word(found.token), is_import), number);
            }
        }
        for (token, kind) in &self.open {
            let key = (self.scopes.text.word(*token), *kind == DefinitionKind::Import);
            if let Some(number) = of_top.get(&key) {
                self.scopes.uses.insert(*token, *number);
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
        let text = marked.replace('¦', "");
        let scopes = Scopes::new(&text);
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
        assert_eq!(scopes.definitions.len(), 2);
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
                let words: Vec<&str> = found.value.clone().map(|token| scopes.text.word(token)).collect();
                format!("{}={}", scopes.text.word(found.token), words.concat())
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
            let scopes = Scopes::new(&text);
            for byte in 0..=text.len() {
                let found = scopes.token_at(byte);
                let _alike = found.map(|token| scopes.alike(token));
                let _visible = scopes.visible(byte);
            }
            for found in &scopes.definitions {
                assert!(found.whole.end <= text.len() && found.value.start <= scopes.text.tokens.len() + 1);
            }
        }
    }
}
