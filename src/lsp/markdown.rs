//! Documentation as Markdown, which editors show beside the text.

use lsp_types::{Documentation, MarkupContent, MarkupKind};

use crate::script::docs::option_groups::REQUIRED;
use crate::script::docs::{Doc, OptionDoc, ReferenceEntry};

const FENCE: &str = "```";

pub fn content(value: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value }
}

/// Returns the documentation beside a candidate; none where there is nothing to say.
pub fn beside(value: &str) -> Option<Documentation> {
    (!value.is_empty()).then(|| Documentation::MarkupContent(content(value.into())))
}

/// Writes lines of code.
pub fn code(lines: &str) -> String {
    format!("{FENCE}rhai\n{}\n{FENCE}\n", lines.trim_end())
}

/// Writes what the reference says of an entry: how it is called, its first paragraph, its options and its example.
pub fn entry(entry: &ReferenceEntry) -> String {
    code(&entry.signatures().join("\n")) + documented(&entry.doc).as_str()
}

/// Writes what a doc comment says.
pub fn documented(doc: &Doc) -> String {
    let mut text = String::new();
    if !doc.summary.is_empty() {
        text.push_str(&format!("\n{}\n", doc.summary));
    }
    if !doc.options.is_empty() {
        text.push('\n');
        doc.options.iter().for_each(|one| text.push_str(&format!("- {}\n", option(one))));
    }
    if !doc.example.is_empty() {
        text.push('\n');
        text.push_str(&code(&doc.example));
    }
    text
}

/// Writes an option on one line: its key, its default and what it means.
pub fn option(option: &OptionDoc) -> String {
    let default = match option.default.as_str() {
        "" => String::new(),
        REQUIRED => format!(" ({REQUIRED})"),
        default => format!(" = {default}"),
    };
    format!("`{}`{default}: {}", option.key, option.meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::docs::parse;

    #[test]
    fn a_comment_is_written_in_its_parts() {
        let first = "/// Adds.\n///\n/// And more.\n///\n/// # Options\n/// - `by` = 1: how much\n///\n";
        let doc = parse(&format!("{first}/// # Example\n/// ```\n/// add(1)\n/// ```"));
        assert_eq!(documented(&doc), "\nAdds.\n\n- `by` = 1: how much\n\n```rhai\nadd(1)\n```\n");
        assert_eq!(code("f(x)\n"), "```rhai\nf(x)\n```\n");
        assert_eq!(documented(&Doc::default()), "");
    }
}
