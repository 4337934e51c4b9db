//! Paragraphs between the results, written in Markdown.

use serde_json::Value;

use super::Item;
use crate::base::Result;
use crate::report::html::markdown::{self, BlockKind, MarkdownBlock};
use crate::report::terminal::screen::{self, Screen};

/// Text with headings, lists, code and emphasis.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkdownText(pub String);

impl Item for MarkdownText {
    fn kind(&self) -> &'static str {
        "text"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let room = screen.width.min(100);
        let blocks = markdown::blocks(&self.0);
        let mut out = String::new();
        let mut before: Option<&MarkdownBlock> = None;
        for block in &blocks {
            out += match before {
                None => "",
                Some(before) if !before.mark.is_empty() && !block.mark.is_empty() => "\n",
                Some(_) => "\n\n",
            };
            out += &written(block, room, screen);
            before = Some(block);
        }
        Ok(out + "\n")
    }

    fn html(&self) -> Result<String> {
        Ok(markdown::html(&self.0))
    }

    fn data(&self) -> Result<Value> {
        Ok(Value::from(self.0.as_str()))
    }
}

fn written(MarkdownBlock { kind, mark, text }: &MarkdownBlock, room: usize, screen: &Screen) -> String {
    // As wide for all marks of a list that is not within another.
    let room = if mark.is_empty() { room } else { room.saturating_sub(mark.len().max(4)) };
    let lines = || screen::wrapped(text, room);
    match kind {
        BlockKind::Heading => screen.bold(&lines().join("\n")),
        BlockKind::Paragraph => format!("{mark}{}", lines().join(&format!("\n{}", " ".repeat(mark.len())))),
        BlockKind::Code => text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_read_in_the_terminal_too() {
        let text = MarkdownText("# Title\nSome *words* and `code`.\n\n1. one\n2. two\n\n```\nlet x = 1;\n```".into());
        let expected = "Title\n\nSome words and code.\n\n1. one\n2. two\n\n    let x = 1;\n";
        assert_eq!(text.terminal(&Screen::default()).unwrap(), expected);
    }
}
