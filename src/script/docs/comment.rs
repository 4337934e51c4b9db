//! A doc comment taken apart: summary, body, options and example.

use super::option_groups::{self, OptionDoc};
use crate::report::visible_text::harmless;

/// The parts of a doc comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doc {
    /// The first paragraph.
    pub summary: String,
    /// Text between the summary and the options or the example.
    pub body: String,
    pub options: Vec<OptionDoc>,
    /// Lines of code; `//=> value` at the end of a line states its value.
    pub example: String,
}

impl Doc {
    /// Adds what is said of another form of the same function.
    pub fn join(&mut self, other: Self) {
        if self.summary.is_empty() {
            *self = other;
        } else if self.summary != other.summary {
            self.body = [self.body.as_str(), &other.summary, &other.body]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("\n\n");
            for option in other.options {
                if self.options.iter().all(|known| known.key != option.key) {
                    self.options.push(option);
                }
            }
            self.example.push_str(&other.example);
        }
    }
}

/// Takes a doc comment apart into summary, body, options and example.
pub fn parse(comments: &str) -> Doc {
    let mut doc = Doc::default();
    let mut section = "";
    let mut fenced = false;
    let mut paragraphs: Vec<String> = vec![String::new()];
    // A library's comments are shown in terminals, too.
    for line in harmless(comments).lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("///").or_else(|| line.strip_prefix("/**")).unwrap_or(line);
        let line = line.strip_prefix(' ').unwrap_or(line).trim_end().trim_end_matches("*/");
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            if section == "example" {
                doc.example.push_str(line);
                doc.example.push('\n');
            }
        } else if let Some(title) = line.strip_prefix("# ") {
            section = match title.trim().to_lowercase().as_str() {
                "options" => "options",
                "example" | "examples" => "example",
                _ => "other",
            };
            if section == "other" {
                paragraphs.push(format!("**{}**", title.trim()));
                paragraphs.push(String::new());
            }
        } else if section == "options" {
            option_line(line, &mut doc.options);
        } else if section != "example" {
            match (line.trim().is_empty(), paragraphs.last_mut()) {
                (false, Some(last)) => {
                    let list = line.trim_start().starts_with("- ");
                    let joint = if last.is_empty() {
                        ""
                    } else if list {
                        "\n"
                    } else {
                        " "
                    };
                    last.push_str(joint);
                    last.push_str(line.trim());
                }
                _ => paragraphs.push(String::new()),
            }
        }
    }
    let mut paragraphs = paragraphs.into_iter().filter(|p| !p.is_empty());
    doc.summary = paragraphs.next().unwrap_or_default();
    doc.body = paragraphs.collect::<Vec<_>>().join("\n\n");
    doc
}

fn option_line(line: &str, options: &mut Vec<OptionDoc>) {
    let text = line.trim();
    if let Some(name) = text.strip_prefix("- [").and_then(|rest| rest.strip_suffix(']')) {
        // What stands in the comment itself goes before what the group says.
        let written: Vec<String> = options.iter().map(|option| option.key.clone()).collect();
        options.extend(option_groups::group(name).into_iter().filter(|option| !written.contains(&option.key)));
        return;
    }
    match text.strip_prefix("- `") {
        Some(rest) => {
            let (key, rest) = rest.split_once('`').unwrap_or((rest, ""));
            let (default, meaning) = rest.split_once(": ").unwrap_or(("", rest));
            options.push(OptionDoc {
                key: key.into(),
                default: default.trim().trim_start_matches('=').trim().into(),
                meaning: meaning.trim().into(),
                ..OptionDoc::default()
            });
        }
        None => {
            if let (Some(last), false) = (options.last_mut(), text.is_empty()) {
                last.meaning.push(' ');
                last.meaning.push_str(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doc_comment_is_taken_apart() {
        let doc = parse(
            "/// Draws numbers.\n///\n/// From the run's seed,\n/// unless told otherwise.\n///\n/// # Options\n/// - `seed` = the run's: a seed\n///   of its own\n/// - `dtype` = \"f32\": the type\n///\n/// # Example\n/// ```\n/// tensor::randn([2]).shape //=> [2]\n/// ```",
        );
        assert_eq!(doc.summary, "Draws numbers.");
        assert_eq!(doc.body, "From the run's seed, unless told otherwise.");
        assert_eq!(doc.options.len(), 2);
        assert_eq!(doc.options[0].default, "the run's");
        assert_eq!(doc.options[0].meaning, "a seed of its own");
        assert_eq!(doc.options[1].key, "dtype");
        assert_eq!(doc.example, "tensor::randn([2]).shape //=> [2]\n");
    }
}
