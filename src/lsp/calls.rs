//! Signatures of the call that is being written, with the parameter at the cursor.

use lsp_types::{ParameterInformation, ParameterLabel, SignatureHelp, SignatureInformation};

use super::markdown;
use super::scopes::Scopes;
use super::view::View;
use crate::repl::{signature, value_shape};
use crate::script::docs::{Overload, ReferenceEntry, Role, parse};

/// Returns the ways of calling the function around a byte, and which parameter is written there.
pub fn signatures(view: &View, byte: usize) -> Option<SignatureHelp> {
    let cursor = view.scopes.before(byte)?;
    if cursor.tokens.last().is_some_and(|last| last.open && last.of(cursor.text).starts_with('/')) {
        return None;
    }
    let call = cursor.call()?;
    let own = match (call.callee.module, call.callee.dot) {
        ("", None) => view.scopes.functions(call.callee.name, None),
        _ => Vec::new(),
    };
    let signatures: Vec<SignatureInformation> = if own.is_empty() {
        let scene = view.scene(byte);
        let receiver = call.callee.dot.and_then(|dot| value_shape::before(&cursor, dot, &scene));
        let receiver = receiver.map(|shape| shape.kind);
        let called = view.called(&call.callee, receiver.as_deref());
        let entry = called.first()?;
        of_entry(entry, call.callee.dot.is_some(), receiver.as_deref())
    } else {
        own.into_iter().map(|function| of_function(&view.scopes, function)).collect()
    };
    let takes = |one: &SignatureInformation| one.parameters.as_ref().map_or(0, Vec::len);
    let active = signatures.iter().position(|one| takes(one) > call.argument).unwrap_or(0);
    Some(SignatureHelp {
        signatures,
        active_signature: Some(active as u32),
        active_parameter: Some(call.argument as u32),
    })
}

/// Writes each overload of an entry that a script can reach, those with fewer parameters first. Called on a value, a
/// function known everywhere has lost its first parameter.
fn of_entry(entry: &ReferenceEntry, is_method: bool, receiver: Option<&str>) -> Vec<SignatureInformation> {
    let skipped = usize::from(is_method && entry.role == Role::Function);
    let fits =
        |overload: &&Overload| skipped == 0 || receiver.is_none_or(|kind| signature::takes_first(overload, kind));
    let mut fitting: Vec<&Overload> = signature::overloads(entry).filter(fits).collect();
    fitting.sort_by_key(|overload| overload.parameters.len());
    let signature = |overload: &Overload| {
        let parameters = overload.parameters.iter().skip(skipped);
        let typed =
            |(name, kind): &(String, String)| if kind == "any" { name.clone() } else { format!("{name}: {kind}") };
        let returns = match overload.returns.as_str() {
            "nothing" | "any" | "result" => String::new(),
            kind => format!(" -> {kind}"),
        };
        written(&entry.path(), &parameters.map(typed).collect::<Vec<_>>(), &returns, &entry.doc.summary)
    };
    fitting.into_iter().map(signature).collect()
}

fn of_function(scopes: &Scopes, function: usize) -> SignatureInformation {
    let parameters = scopes.definitions.get(function).map(|found| found.parameters.as_slice()).unwrap_or_default();
    let text = scopes.text();
    let parameters: Vec<String> = parameters.iter().map(|token| text.word(*token).to_string()).collect();
    written(scopes.name(function), &parameters, "", &parse(&scopes.comments(function)).summary)
}

/// Writes a signature, and where its parameters stand in it.
fn written(name: &str, parameters: &[String], returns: &str, summary: &str) -> SignatureInformation {
    let units = |text: &str| text.encode_utf16().count() as u32;
    let mut label = format!("{name}(");
    let mut places = Vec::new();
    for (number, parameter) in parameters.iter().enumerate() {
        if number > 0 {
            label.push_str(", ");
        }
        let start = units(&label);
        label.push_str(parameter);
        places.push(ParameterInformation {
            label: ParameterLabel::LabelOffsets([start, units(&label)]),
            documentation: None,
        });
    }
    label.push_str(&format!("){returns}"));
    SignatureInformation {
        label,
        documentation: markdown::beside(summary),
        parameters: Some(places),
        active_parameter: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::view::tests::look;

    /// Returns the signature at the end of a text and the parameter that is written there.
    fn shown(text: &str) -> Option<(String, String)> {
        look(text, |view, byte| {
            let help = signatures(view, byte)?;
            let signature = &help.signatures[help.active_signature.unwrap() as usize];
            let parameter = &signature.parameters.as_ref().unwrap()[help.active_parameter.unwrap() as usize];
            let ParameterLabel::LabelOffsets([start, end]) = parameter.label else { return None };
            Some((signature.label.clone(), signature.label[start as usize..end as usize].to_string()))
        })
    }

    #[test]
    fn the_parameter_at_the_cursor_is_told() {
        let pair = |label: &str, parameter: &str| Some((label.to_string(), parameter.to_string()));
        assert_eq!(shown("fn mix(a, b) { a }\nmix(f(1), "), pair("mix(a, b)", "b"));
        let check = "run::check(condition: bool, message: string) -> bool";
        assert_eq!(shown("run::check(1 == 1, \"x"), pair(check, "message: string"));
        let library = "import \"std/stats\" as st; st::auroc([1], ";
        assert_eq!(shown(library), pair("st::auroc(positive, negative)", "negative"));
        assert_eq!(shown("let list = [1]; list.pad(3, "), pair("array.pad(length: integer, value)", "value"));
        for none in ["unknown(", "// mix(", "fn f(", "1 + "] {
            assert_eq!(shown(none), None, "{none}");
        }
    }
}
