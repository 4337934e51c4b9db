//! Shapes of tensors that stand in the text, shown beside the variables that hold them: sizes that are written down,
//! of calls that give a tensor of just these sizes. Nothing is computed, and of all other tensors nothing is said.

use lsp_types::{InlayHint, InlayHintKind, InlayHintLabel, Range};

use super::scopes::Definition;
use super::view::View;
use crate::repl::cursor::CursorText;
use crate::script::docs::{Docs, Role};
use crate::script::engine::tokens::TokenKind;

/// Lists the shapes that are known in a part of the text.
pub fn known(view: &View, part: Range) -> Vec<InlayHint> {
    let docs = view.session.docs();
    let bytes = view.lines.bytes(part);
    let mut found = Vec::new();
    for definition in view.scopes.definitions.iter().filter(|definition| !definition.is_assigned) {
        let name = view.scopes.bytes(definition.token);
        if name.end < bytes.start || name.start > bytes.end {
            continue;
        }
        let Some(sizes) = sizes(&view.scopes.text, definition, &docs) else { continue };
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
    found
}

/// Returns the sizes of the tensor that a variable holds, if its value is one call of a function of `tensor` whose
/// first parameter is the shape, and they are written there.
fn sizes<'t>(text: &CursorText<'t>, definition: &Definition, docs: &Docs) -> Option<Vec<&'t str>> {
    let start = definition.value.start;
    let name = start + 2;
    let open = start + 3;
    let is_call = text.word(start) == "tensor" && text.is_symbol(start + 1, &["::"]) && text.is_symbol(open, &["("]);
    let last = definition.value.end.checked_sub(1).filter(|last| text.is_symbol(*last, &[")"]));
    let is_whole = last.and_then(|last| text.opening(last)) == Some(open);
    if definition.value.is_empty() || !is_call || !is_whole || !takes_shape(text.word(name), docs) {
        return None;
    }
    let number = |token: usize| {
        let word = text.word(token);
        let is_size = text.kind(token) == Some(TokenKind::Number) && word.bytes().all(|byte| byte.is_ascii_digit());
        is_size.then_some(word)
    };
    if !text.is_symbol(open + 1, &["["]) {
        let ends = text.is_symbol(open + 2, &[",", ")"]);
        return number(open + 1).filter(|_| ends).map(|size| vec![size]);
    }
    let mut sizes = Vec::new();
    let mut token = open + 2;
    loop {
        sizes.push(number(token)?);
        if text.is_symbol(token + 1, &["]"]) {
            return text.is_symbol(token + 2, &[",", ")"]).then_some(sizes);
        }
        if !text.is_symbol(token + 1, &[","]) {
            return None;
        }
        token += 2;
    }
}

fn takes_shape(name: &str, docs: &Docs) -> bool {
    let mut entries = docs.entries().iter().filter(|entry| entry.module == "tensor" && entry.name == name);
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
            "let t = tensor::zeros([2, 3]) + 1;",
            "let t = tensor::arange(3);",
            "let t = tensor::zeros([2 + 1]);",
            "let t = tensor::zeros([2]); t = 1;",
            "let t = tensor::zeros([",
            "let t = tensor::zeros(2 + 1);",
        ] {
            assert!(shown(text).is_empty(), "{text}: {:?}", shown(text));
        }
    }
}
