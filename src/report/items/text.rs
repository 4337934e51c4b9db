//! Paragraphs between the results, written in a little markdown.

use serde_json::Value;

use super::Item;
use crate::base::Result;
use crate::report::html::markdown::{self, Block};
use crate::report::terminal::screen::{self, Screen};

/// Text with headings, lists, code and emphasis.
#[derive(Debug, Clone, PartialEq)]
pub struct Text(pub String);

impl Item for Text {
    fn kind(&self) -> &'static str {
        "text"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let room = screen.width.min(100);
        let blocks: Vec<String> = markdown::blocks(&self.0).iter().map(|block| written(block, room, screen)).collect();
        Ok(blocks.join("\n\n") + "\n")
    }

    fn html(&self) -> Result<String> {
        Ok(markdown::html(&self.0))
    }

    fn data(&self) -> Result<Value> {
        Ok(Value::from(self.0.as_str()))
    }
}

fn written(block: &Block, room: usize, screen: &Screen) -> String {
    match block {
        Block::Heading(_, text) => screen.bold(&screen::wrapped(&markdown::plain(text), room).join("\n")),
        Block::Paragraph(text) => screen::wrapped(&markdown::plain(text), room).join("\n"),
        Block::Code(text) => text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"),
        Block::List { numbered, items } => {
            let item = |(i, text): (usize, &String)| {
                let key = if *numbered { format!("{}. ", i + 1) } else { "- ".into() };
                let indent = " ".repeat(key.len());
                let lines = screen::wrapped(&markdown::plain(text), room.saturating_sub(4));
                format!("{key}{}", lines.join(&format!("\n{indent}")))
            };
            items.iter().enumerate().map(item).collect::<Vec<_>>().join("\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_read_in_the_terminal_too() {
        let text = Text("# Title\nSome *words* and `code`.\n\n1. one\n2. two\n\n```\nlet x = 1;\n```".into());
        let expected = "Title\n\nSome words and code.\n\n1. one\n2. two\n\n    let x = 1;\n";
        assert_eq!(text.terminal(&Screen::default()).unwrap(), expected);
    }
}
