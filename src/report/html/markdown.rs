//! A little markdown: headings, lists, fenced code, `code`, *emphasis* and **strong** words. Everything else is text.

use super::escape;
use crate::report::symbols::{visible, visible_lines};

/// A paragraph or its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Level from 1 to 6, and its text.
    Heading(usize, String),
    Paragraph(String),
    List {
        numbered: bool,
        items: Vec<String>,
    },
    /// Lines as they are, control characters made visible.
    Code(String),
}

/// Returns the blocks of a text, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    let mut open: Option<Block> = None;
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        let next = if trimmed.starts_with("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|l| !l.trim().starts_with("```")).collect();
            found.extend(open.take());
            found.push(Block::Code(visible_lines(&code.join("\n"))));
            continue;
        } else if trimmed.is_empty() {
            found.extend(open.take());
            continue;
        } else if let Some((level, text)) = heading(trimmed) {
            found.extend(open.take());
            found.push(Block::Heading(level, text.into()));
            continue;
        } else {
            list_item(trimmed)
        };
        match (next, &mut open) {
            (Some((numbered, item)), Some(Block::List { numbered: before, items })) if numbered == *before => {
                items.push(item.into());
            }
            (Some((numbered, item)), _) => {
                found.extend(open.take());
                open = Some(Block::List { numbered, items: vec![item.into()] });
            }
            (None, Some(Block::Paragraph(text))) => *text = format!("{text} {trimmed}"),
            // An indented line goes on with the item before it.
            (None, Some(Block::List { items, .. })) if line.starts_with(' ') => {
                if let Some(item) = items.last_mut() {
                    *item = format!("{item} {trimmed}");
                }
            }
            (None, _) => {
                found.extend(open.take());
                open = Some(Block::Paragraph(trimmed.into()));
            }
        }
    }
    found.extend(open);
    found
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    let text = line[level..].strip_prefix(' ')?.trim();
    ((1..=6).contains(&level) && !text.is_empty()).then_some((level, text))
}

/// Returns whether the list of an item is numbered, and the text of the item.
fn list_item(line: &str) -> Option<(bool, &str)> {
    if let Some(item) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some((false, item.trim()));
    }
    let (number, item) = line.split_once(". ")?;
    let is_number = !number.is_empty() && number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| (true, item.trim()))
}

/// A stretch of text of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span<'a> {
    Plain(&'a str),
    Code(&'a str),
    Strong(&'a str),
    Emphasis(&'a str),
}

/// Returns the spans of a text. Marks without a partner stay as they are; inside of a span there are no others.
fn spans(text: &str) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let mut plain = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let mark = ["`", "**", "*"].into_iter().find(|mark| rest.starts_with(mark));
        let inner = mark.and_then(|mark| rest[mark.len()..].split_once(mark).map(|(inner, _)| (mark, inner)));
        match inner {
            // Emphasis begins and ends at a word, so that 2 * 3 * 4 stays a product.
            Some((mark, inner)) if !inner.is_empty() && (mark == "`" || inner.trim() == inner) => {
                found.extend((plain < at).then(|| Span::Plain(&text[plain..at])));
                found.push(match mark {
                    "`" => Span::Code(inner),
                    "**" => Span::Strong(inner),
                    _ => Span::Emphasis(inner),
                });
                at += inner.len() + 2 * mark.len();
                plain = at;
            }
            _ => at += mark.map_or_else(|| rest.chars().next().map_or(1, char::len_utf8), str::len),
        }
    }
    found.extend((plain < text.len()).then(|| Span::Plain(&text[plain..])));
    found
}

/// Returns the text without its marks, control characters made visible.
pub fn plain(text: &str) -> String {
    let inner = |span: &Span| match *span {
        Span::Plain(s) | Span::Code(s) | Span::Strong(s) | Span::Emphasis(s) => visible(s),
    };
    spans(text).iter().map(inner).collect()
}

/// Writes the text as HTML.
pub fn html(text: &str) -> String {
    let mut out = String::new();
    for block in blocks(text) {
        match block {
            // The page's name is its first heading; those of the text come below it.
            Block::Heading(level, text) => {
                let level = (level + 1).min(6);
                out.push_str(&format!("<h{level}>{}</h{level}>\n", inline(&text)));
            }
            Block::Paragraph(text) => out.push_str(&format!("<p>{}</p>\n", inline(&text))),
            Block::Code(text) => out.push_str(&format!("<pre><code>{}</code></pre>\n", escape::lines(&text))),
            Block::List { numbered, items } => {
                let tag = if numbered { "ol" } else { "ul" };
                let items: String = items.iter().map(|item| format!("<li>{}</li>", inline(item))).collect();
                out.push_str(&format!("<{tag}>{items}</{tag}>\n"));
            }
        }
    }
    out
}

fn inline(text: &str) -> String {
    let tagged = |span: &Span| match *span {
        Span::Plain(s) => escape::text(s),
        Span::Code(s) => format!("<code>{}</code>", escape::text(s)),
        Span::Strong(s) => format!("<strong>{}</strong>", escape::text(s)),
        Span::Emphasis(s) => format!("<em>{}</em>", escape::text(s)),
    };
    spans(text).iter().map(tagged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_and_spans_become_tags() {
        let text = "# Question\nDoes it *really* hold?\nYes, **it does**: `a < b`.\n\n- one\n  goes on\n- two\n\n1. first\n\n```\n<raw>\n```";
        assert_eq!(
            html(text),
            "<h2>Question</h2>\n\
             <p>Does it <em>really</em> hold? Yes, <strong>it does</strong>: <code>a &lt; b</code>.</p>\n\
             <ul><li>one goes on</li><li>two</li></ul>\n<ol><li>first</li></ol>\n\
             <pre><code>&lt;raw&gt;</code></pre>\n"
        );
    }

    #[test]
    fn marks_without_a_partner_are_text() {
        assert_eq!(html("2 * 3 * 4 and `x"), "<p>2 * 3 * 4 and `x</p>\n");
        assert_eq!(html("#no heading\n1.5 points"), "<p>#no heading 1.5 points</p>\n");
        assert_eq!(html("** **"), "<p>** **</p>\n");
    }

    proptest! {
        #[test]
        fn no_text_opens_a_tag_of_its_own(text in "(<script>|</p>|[`*#\\-\n<>é]|1\\. |```|[a-z ]){0,40}") {
            let page = html(&text);
            prop_assert!(!page.contains("<script") && !page.contains("</p></p>"));
            prop_assert_eq!(page.matches("<p>").count(), page.matches("</p>").count());
        }
    }
}
