//! Shapes of tensors that stand in the text, shown beside the variables that hold them: sizes that are written down, of
//! calls that give a tensor of just these sizes, and what keeps, transposes or reshapes such a tensor for certain. No
//! tensor is computed, and of all others nothing is said.

use lsp_types::{InlayHint, InlayHintKind, InlayHintLabel, Range};

use super::scopes::{Definition, DefinitionKind, Scopes};
use super::view::View;
use crate::repl::cursor::CursorText;
use crate::script::docs::{Docs, Role};
use crate::script::engine::tokens::TokenKind;

/// Operators that work element by element.
const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "**"];

/// Most brackets within one another that are looked into.
const MOST_BRACKETS: usize = 32;

/// A value as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Number,
    /// A tensor of these sizes.
    Tensor(Vec<usize>),
}

/// Lists the shapes that are known in a part of the text.
pub fn known(view: &View, part: Range) -> Vec<InlayHint> {
    let docs = view.session.docs();
    let text = view.scopes.text();
    let bytes = view.lines.bytes(part);
    // What a value is made of stands before it.
    let mut before: Vec<Option<Known>> = Vec::new();
    let mut found = Vec::new();
    for definition in &view.scopes.definitions {
        let value = value(&text, &view.scopes, &docs, definition, &before);
        let name = view.scopes.bytes(definition.token);
        if let Some(Known::Tensor(sizes)) = &value
            && name.end >= bytes.start
            && name.start <= bytes.end
        {
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            found.push(InlayHint {
                position: view.lines.position(name.end),
                label: InlayHintLabel::String(format!(": [{}]", sizes.join(", "))),
                kind: Some(InlayHintKind::TYPE),
                text_edits: None,
                tooltip: None,
                padding_left: None,
                padding_right: None,
                data: None,
            });
        }
        before.push(value);
    }
    found
}

/// Returns the value of a variable that is never another one, if it is known.
fn value(
    text: &CursorText,
    scopes: &Scopes,
    docs: &Docs,
    definition: &Definition,
    before: &[Option<Known>],
) -> Option<Known> {
    if definition.is_assigned || definition.value.is_empty() {
        return None;
    }
    let mut reader = ValueReader { text, scopes, docs, before, at: definition.value.start };
    let found = reader.operation(MOST_BRACKETS)?;
    (reader.at == definition.value.end).then_some(found)
}

/// Reader of a value, token by token.
struct ValueReader<'r> {
    text: &'r CursorText<'r>,
    scopes: &'r Scopes,
    docs: &'r Docs,
    /// The values of the definitions before this one.
    before: &'r [Option<Known>],
    at: usize,
}

impl ValueReader<'_> {
    /// Goes on behind one of these symbols, if it is there.
    fn takes(&mut self, symbols: &[&str]) -> bool {
        let is_there = self.text.is_symbol(self.at, symbols);
        self.at += usize::from(is_there);
        is_there
    }

    /// Reads operands and the operators between them. Whichever is first, numbers and tensors of one shape give a tensor
    /// of this shape.
    fn operation(&mut self, brackets: usize) -> Option<Known> {
        let mut found = self.operand(brackets)?;
        while self.takes(OPERATORS) {
            found = match (found, self.operand(brackets)?) {
                (Known::Number, other) | (other, Known::Number) => other,
                (Known::Tensor(one), Known::Tensor(other)) if one == other => Known::Tensor(one),
                _ => return None,
            };
        }
        Some(found)
    }

    /// Reads an operand with its sign and the methods that are called on it.
    fn operand(&mut self, brackets: usize) -> Option<Known> {
        while self.takes(&["-"]) {}
        let mut found = self.first(brackets)?;
        while self.takes(&["."]) {
            found = Known::Tensor(self.method(found)?);
        }
        Some(found)
    }

    fn first(&mut self, brackets: usize) -> Option<Known> {
        if self.takes(&["("]) {
            let found = self.operation(brackets.checked_sub(1)?)?;
            return self.takes(&[")"]).then_some(found);
        }
        let token = self.at;
        self.at += 1;
        match self.text.kind(token)? {
            TokenKind::Number => Some(Known::Number),
            TokenKind::Word if self.text.word(token) == "tensor" && self.takes(&["::"]) => self.made(),
            TokenKind::Word => self.before.get(self.scopes.meant(token)?)?.clone(),
            _ => None,
        }
    }

    /// Reads the call of a function of `tensor` whose first parameter is the shape.
    fn made(&mut self) -> Option<Known> {
        let open = self.at + 1;
        if !takes_shape(self.text.word(self.at), self.docs) || !self.text.is_symbol(open, &["("]) {
            return None;
        }
        self.at = open + 1;
        let sizes = self.sizes()?;
        if !self.text.is_symbol(self.at, &[",", ")"]) {
            return None;
        }
        let close = (self.at..self.text.tokens.len()).find(|token| self.text.opening(*token) == Some(open))?;
        self.at = close + 1;
        self.text.is_symbol(close, &[")"]).then_some(Known::Tensor(sizes))
    }

    /// Reads the call of a method behind its dot, and returns the sizes of the tensor that it returns.
    fn method(&mut self, of: Known) -> Option<Vec<usize>> {
        let Known::Tensor(mut sizes) = of else { return None };
        let name = self.text.word(self.at);
        self.at += 1;
        if self.is_own(name) || !self.takes(&["("]) {
            return None;
        }
        match name {
            "reshape" => {
                let new = self.sizes()?;
                if count(&new)? != count(&sizes)? {
                    return None;
                }
                sizes = new;
            }
            "transpose" => {
                let axes = sizes.len();
                let (one, other) = if self.text.is_symbol(self.at, &[")"]) {
                    (axes.checked_sub(2)?, axes - 1)
                } else {
                    let one = self.axis(axes)?;
                    let has_other = self.takes(&[","]);
                    (one, self.axis(axes).filter(|_| has_other)?)
                };
                sizes.swap(one, other);
            }
            _ => return None,
        }
        self.takes(&[")"]).then_some(sizes)
    }

    /// Returns whether the script has a function of this name, which may be called instead of the method.
    fn is_own(&self, name: &str) -> bool {
        let mut all = self.scopes.definitions.iter().enumerate();
        all.any(|(number, found)| found.kind == DefinitionKind::Function && self.scopes.name(number) == name)
    }

    /// Reads sizes: a list of numbers, or one number.
    fn sizes(&mut self) -> Option<Vec<usize>> {
        if !self.takes(&["["]) {
            return Some(vec![self.number()?]);
        }
        let mut sizes = vec![self.number()?];
        while self.takes(&[","]) {
            sizes.push(self.number()?);
        }
        self.takes(&["]"]).then_some(sizes)
    }

    /// Reads the number of an axis, which may be counted from the last.
    fn axis(&mut self, axes: usize) -> Option<usize> {
        let is_from_last = self.takes(&["-"]);
        let number = self.number()?;
        let axis = if is_from_last { axes.checked_sub(number)? } else { number };
        (axis < axes).then_some(axis)
    }

    fn number(&mut self) -> Option<usize> {
        let word = self.text.word(self.at);
        let is_number = self.text.kind(self.at) == Some(TokenKind::Number);
        self.at += 1;
        if is_number && word.bytes().all(|byte| byte.is_ascii_digit()) { word.parse().ok() } else { None }
    }
}

/// Counts the elements of a tensor.
fn count(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))
}

fn takes_shape(name: &str, docs: &Docs) -> bool {
    let mut entries = docs.named(name).filter(|entry| entry.module == "tensor");
    entries.any(|entry| {
        let is_shape = |parameters: &[(String, String)]| parameters.first().is_some_and(|(name, _)| name == "shape");
        entry.role == Role::Function
            && entry.overloads.iter().all(|one| one.returns == "Tensor" && is_shape(&one.parameters))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::view::tests::look;

    fn shown(text: &str) -> Vec<String> {
        let hint = |hint: InlayHint| match hint.label {
            InlayHintLabel::String(label) => format!("{}{label}", hint.position.character),
            InlayHintLabel::LabelParts(_) => String::new(),
        };
        look(text, |view, _| known(view, view.lines.whole()).into_iter().map(hint).collect())
    }

    #[test]
    fn sizes_that_are_written_are_shown_and_no_others() {
        assert_eq!(shown("let t = tensor::zeros([2, 3]);"), ["5: [2, 3]"]);
        assert_eq!(shown("let t = tensor::randn([4], #{ seed: 1 });"), ["5: [4]"]);
        assert_eq!(shown("const K = tensor::full([2], 1.0);"), ["7: [2]"]);
        assert_eq!(shown("let t = tensor::ones(7);"), ["5: [7]"]);
        for text in [
            "let t = tensor::zeros([n, 3]);",
            "let t = tensor::zeros([2, 3]).sum(0);",
            "let t = tensor::arange(3);",
            "let t = tensor::zeros([2 + 1]);",
            "let t = tensor::zeros([2]); t = 1;",
            "let t = tensor::zeros([",
            "let t = tensor::zeros(2 + 1);",
        ] {
            assert!(shown(text).is_empty(), "{text}: {:?}", shown(text));
        }
    }

    #[test]
    fn sizes_follow_through_what_keeps_them_for_certain() {
        let t = "const T = tensor::zeros([2, 3], #{ dtype: \"f64\" }); const K = 2.5; ";
        let of = |value: &str| shown(&format!("{t}\nlet u = {value};")).split_off(1);
        for (value, shape) in [
            ("T + 1", "[2, 3]"),
            ("-T * K - (T / 2 + -T) ** 2", "[2, 3]"),
            ("1 - tensor::ones([2, 3])", "[2, 3]"),
            ("T.reshape([3, 2])", "[3, 2]"),
            ("T.reshape(6) % 2", "[6]"),
            ("T.transpose()", "[3, 2]"),
            ("T.reshape([1, 2, 3]).transpose(0, -1)", "[3, 2, 1]"),
            ("(T + T).transpose(0, 1) + tensor::zeros([3, 2])", "[3, 2]"),
        ] {
            assert_eq!(of(value), [format!("5: {shape}")], "{value}");
        }
        let deep = format!("{}T{}", "(".repeat(10_000), ")".repeat(10_000));
        for value in [
            "T + tensor::zeros([3])",
            "T @ T",
            "T == T",
            "T[0]",
            "T.sum(0)",
            "T.reshape([4, 2])",
            "T.reshape([n, 2])",
            "T.reshape([2, -1])",
            "T.transpose(0)",
            "T.transpose(0, 2)",
            "tensor::zeros([3]).transpose()",
            "T + other",
            "T(1)",
            "K.transpose()",
            "2 + K",
            "if true { T } else { K }",
            deep.as_str(),
        ] {
            assert!(of(value).is_empty(), "{value}: {:?}", of(value));
        }
        // What may be another value is not known.
        assert!(shown("let t = tensor::zeros([2]); let u = t + 1; t = 1;").is_empty());
        let own = "fn reshape(shape) { 1 }\nlet t = tensor::zeros([2]);\nlet u = t.reshape([2]);";
        assert_eq!(shown(own), ["5: [2]"]);
    }
}
