//! A page of Markdown as HTML: headings with anchors, links to other pages, code in colours. What is HTML in it stays text.

use std::collections::VecDeque;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::code::{self, FunctionLinks};
use super::links::anchors;
use super::live::PageExamples;
use crate::report::html::markdown::{MarkdownPage, written};

/// A heading, its anchor on the page, and the text below it up to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    pub level: usize,
    pub heading: String,
    pub anchor: String,
    pub text: String,
}

fn parser(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

/// Lists the targets of all links and pictures of a page.
pub fn targets(text: &str) -> Vec<String> {
    let target = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    };
    parser(text).filter_map(target).collect()
}

/// Splits a page by its headings; what stands before the first one has an empty heading.
pub fn sections(text: &str) -> Vec<Section> {
    let mut found = vec![Section::default()];
    let mut inside = false;
    for event in parser(text) {
        let Some(last) = found.last_mut() else { break };
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                found.push(Section { level: level as usize, ..Section::default() });
                inside = true;
            }
            Event::End(TagEnd::Heading(_)) => inside = false,
            Event::Text(text) | Event::Code(text) if inside => last.heading.push_str(&text),
            Event::Text(text) | Event::Code(text) => {
                last.text.push_str(&text);
            }
            Event::SoftBreak | Event::HardBreak | Event::End(TagEnd::Paragraph | TagEnd::TableCell | TagEnd::Item) => {
                last.text.push(' ');
            }
            _ => {}
        }
    }
    // Only what stands before the first heading has none.
    let headings: Vec<&str> = found.iter().skip(1).map(|section| section.heading.as_str()).collect();
    let anchors = anchors(&headings);
    found.iter_mut().skip(1).zip(anchors).for_each(|(section, anchor)| section.anchor = anchor);
    found
}

/// Writes the page's content. `link` says where a target leads from this page; `examples` are those of a live page.
pub fn html(
    text: &str,
    known: &FunctionLinks,
    examples: Option<&PageExamples>,
    link: &dyn Fn(&str) -> Option<String>,
) -> String {
    let anchors = sections(text).into_iter().filter(|section| section.level > 0).map(|section| section.anchor);
    written(parser(text), &mut SitePage { anchors: anchors.collect(), known, examples, link })
}

/// A page of the site.
struct SitePage<'a> {
    /// The anchors of the headings that are still to come.
    anchors: VecDeque<String>,
    known: &'a FunctionLinks<'a>,
    examples: Option<&'a PageExamples<'a>>,
    link: &'a dyn Fn(&str) -> Option<String>,
}

impl MarkdownPage for SitePage<'_> {
    fn level(&self, level: usize) -> usize {
        level
    }

    fn anchor(&mut self) -> Option<String> {
        if let Some(examples) = self.examples {
            examples.begin_section();
        }
        self.anchors.pop_front()
    }

    fn place(&self, target: &str) -> Option<String> {
        (self.link)(target)
    }

    /// Returns the place in the reference to which the name of a function leads; a bare word may be anything.
    fn place_of_code(&self, code: &str) -> Option<String> {
        if code.contains(['.', ':']) { (self.known.link)(code.trim_end_matches("()")) } else { None }
    }

    fn block(&self, code: &str, language: &str) -> String {
        let block = code::block(code, language, self.known);
        match self.examples {
            Some(examples) => examples.marked(block, code, language),
            None => block,
        }
    }

    fn shown(&self, html: &str) -> String {
        without_comments(html)
    }
}

/// Writes a text of the reference, which is Markdown, as a terminal shows it: without the backslashes that keep a
/// character from being markup. Code between backticks stays as it is.
pub fn unescaped(markdown: &str) -> String {
    let mut shown = String::with_capacity(markdown.len());
    let mut letters = markdown.chars().peekable();
    let mut in_code = false;
    while let Some(letter) = letters.next() {
        let kept = if letter == '\\' && !in_code { letters.next_if(char::is_ascii_punctuation) } else { None };
        in_code ^= letter == '`';
        shown.push(kept.unwrap_or(letter));
    }
    shown
}

/// Removes comments from HTML: marks around figures are for those who write them.
pub fn without_comments(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once("<!--") {
        let Some((_, behind)) = after.split_once("-->") else { break };
        out.push_str(before);
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_backslash_of_markdown_is_shown() {
        assert_eq!(unescaped(r"of \[rows\], d\_sae and \`x\`"), "of [rows], d_sae and `x`");
        assert_eq!(unescaped(r#"line ends "\n", code `a\_b` and \\"#), r#"line ends "\n", code `a\_b` and \"#);
    }
}
