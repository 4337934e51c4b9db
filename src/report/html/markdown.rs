//! Markdown (CommonMark) as HTML, and as blocks of plain text for terminals. What is HTML in it stays text, and nothing of it
//! leads anywhere unless the page on which it stands says where.

use std::mem::take;

use pulldown_cmark::{Alignment, CodeBlockKind, Event, LinkType, Parser, Tag, TagEnd};

use super::escape;
use crate::report::visible_text::{visible, visible_lines};

/// The decisions of a page on its Markdown. By default a page has a heading of its own, above those of the text, and no links.
pub trait MarkdownPage {
    /// Returns the level at which a heading of the text stands, from 1 to 6.
    fn level(&self, level: usize) -> usize {
        (level + 1).min(6)
    }

    /// Returns the anchor of the next heading.
    fn anchor(&mut self) -> Option<String> {
        None
    }

    /// Returns where the target of a link or a picture is from here.
    fn place(&self, _target: &str) -> Option<String> {
        None
    }

    /// Returns where the description of code is that stands in a sentence.
    fn place_of_code(&self, _code: &str) -> Option<String> {
        None
    }

    /// Writes a block of code. `language` is what stands at its fence.
    fn block(&self, code: &str, _language: &str) -> String {
        format!("<pre><code>{}</code></pre>\n", escape::lines(code))
    }

    /// Returns what is shown, as text, of HTML.
    fn shown(&self, html: &str) -> String {
        html.into()
    }
}

/// The page of a report.
struct ReportPage;

impl MarkdownPage for ReportPage {}

/// Writes the text of a report as HTML.
pub fn html(text: &str) -> String {
    written(Parser::new(&without_indent(text)), &mut ReportPage)
}

/// Removes the indentation that all lines share: in scripts, texts stand within code.
fn without_indent(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let shared = text.lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    text.lines().map(|line| line.get(shared..).unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Writes what a parser finds as HTML.
pub fn written(mut events: Parser, page: &mut dyn MarkdownPage) -> String {
    let mut writer = Writer {
        out: String::new(),
        page,
        in_heading: false,
        link_end: String::new(),
        head: false,
        columns: Vec::new(),
        column: 0,
    };
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = if let CodeBlockKind::Fenced(language) = kind { language } else { "".into() };
                let block = writer.page.block(&inside(&mut events), &language);
                writer.out.push_str(&block);
            }
            Event::Start(Tag::HtmlBlock) => {
                let shown = writer.page.shown(&inside(&mut events));
                if !shown.trim().is_empty() {
                    writer.out.push_str(&format!("<p>{}</p>\n", escape::piece(shown.trim())));
                }
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                let about = escape::text(&inside(&mut events));
                writer.out.push_str(&match writer.page.place(&dest_url) {
                    Some(place) => format!("<img src=\"{}\" alt=\"{about}\">", escape::text(&place)),
                    None => about + escape::text(&aside(LinkType::Inline, &dest_url)).as_str(),
                });
            }
            event => writer.event(event),
        }
    }
    writer.out
}

/// Returns the text up to the end of the tag that was opened last.
fn inside(events: &mut Parser) -> String {
    let mut depth = 1;
    let mut text = String::new();
    for event in events {
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Text(part) | Event::Code(part) | Event::Html(part) | Event::InlineHtml(part) => text.push_str(&part),
            _ => text.push(' '),
        }
        if depth == 0 {
            break;
        }
    }
    text
}

/// Returns the target of a link or a picture as it stands behind its text where it is not linked.
fn aside(kind: LinkType, target: &str) -> String {
    match kind {
        LinkType::Autolink | LinkType::Email => String::new(),
        _ => format!(" ({target})"),
    }
}

struct Writer<'a> {
    out: String,
    page: &'a mut dyn MarkdownPage,
    in_heading: bool,
    /// End of the link that is open; there are no links within links.
    link_end: String,
    /// Whether this is the first row of a table.
    head: bool,
    columns: Vec<Alignment>,
    column: usize,
}

impl Writer<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.out.push_str(&escape::text(&text)),
            Event::Html(text) | Event::InlineHtml(text) => self.out.push_str(&escape::text(&self.page.shown(&text))),
            Event::Code(text) => self.code(&text),
            Event::SoftBreak => self.out.push(' '),
            Event::HardBreak => self.out.push_str("<br>\n"),
            Event::Rule => self.out.push_str("<hr>\n"),
            _ => {}
        }
    }

    fn code(&mut self, text: &str) {
        let inside = format!("<code>{}</code>", escape::text(text));
        // A heading is the place itself.
        let place = if self.in_heading { None } else { self.page.place_of_code(text) };
        self.out.push_str(&match place {
            Some(place) => format!("<a href=\"{}\">{inside}</a>", escape::text(&place)),
            None => inside,
        });
    }

    fn start(&mut self, tag: Tag) {
        let open = match tag {
            Tag::Paragraph => "<p>".into(),
            Tag::Heading { level, .. } => {
                self.in_heading = true;
                let level = self.page.level(level as usize);
                match self.page.anchor().map(|anchor| escape::text(&anchor)) {
                    Some(anchor) => format!(
                        "<h{level} id=\"{anchor}\"><a class=\"anchor\" href=\"#{anchor}\" aria-label=\"Link to this heading\">#</a>"
                    ),
                    None => format!("<h{level}>"),
                }
            }
            Tag::BlockQuote(_) => "<blockquote>".into(),
            Tag::List(Some(1)) => "<ol>".into(),
            Tag::List(Some(first)) => format!("<ol start=\"{first}\">"),
            Tag::List(None) => "<ul>".into(),
            Tag::Item => "<li>".into(),
            Tag::Table(columns) => {
                self.columns = columns;
                "<div class=\"wide\"><table>".into()
            }
            Tag::TableHead => {
                (self.head, self.column) = (true, 0);
                "<thead><tr>".into()
            }
            Tag::TableRow => {
                self.column = 0;
                "<tr>".into()
            }
            Tag::TableCell => {
                let number = self.columns.get(self.column).is_some_and(|side| *side == Alignment::Right);
                self.column += 1;
                format!("<{}{}>", if self.head { "th" } else { "td" }, if number { " class=\"number\"" } else { "" })
            }
            Tag::Emphasis => "<em>".into(),
            Tag::Strong => "<strong>".into(),
            Tag::Strikethrough => "<del>".into(),
            Tag::Link { link_type, dest_url, .. } => match self.page.place(&dest_url) {
                Some(place) => {
                    self.link_end = "</a>".into();
                    format!("<a href=\"{}\">", escape::text(&place))
                }
                None => {
                    self.link_end = escape::text(&aside(link_type, &dest_url));
                    return;
                }
            },
            _ => return,
        };
        self.out.push_str(&open);
    }

    fn end(&mut self, tag: TagEnd) {
        let close = match tag {
            TagEnd::Paragraph => "</p>\n".into(),
            TagEnd::Heading(level) => {
                self.in_heading = false;
                format!("</h{}>\n", self.page.level(level as usize))
            }
            TagEnd::BlockQuote(_) => "</blockquote>\n".into(),
            TagEnd::List(true) => "</ol>\n".into(),
            TagEnd::List(false) => "</ul>\n".into(),
            TagEnd::Item => "</li>".into(),
            TagEnd::Table => "</tbody></table></div>\n".into(),
            TagEnd::TableHead => {
                self.head = false;
                "</tr></thead><tbody>\n".into()
            }
            TagEnd::TableRow => "</tr>\n".into(),
            TagEnd::TableCell => if self.head { "</th>" } else { "</td>" }.into(),
            TagEnd::Emphasis => "</em>".into(),
            TagEnd::Strong => "</strong>".into(),
            TagEnd::Strikethrough => "</del>".into(),
            TagEnd::Link => take(&mut self.link_end),
            _ => String::new(),
        };
        self.out.push_str(&close);
    }
}

/// A paragraph or its like as plain text, control characters made visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkdownBlock {
    pub kind: BlockKind,
    /// Mark before an item of a list: its number or a hyphen, indented within other lists.
    pub mark: String,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    Heading,
    Paragraph,
    /// Lines as they are.
    Code,
}

/// Returns the blocks of the text of a report, in order.
pub fn blocks(text: &str) -> Vec<MarkdownBlock> {
    let text = without_indent(text);
    let mut events = Parser::new(&text);
    let mut found = Vec::new();
    let mut line = String::new();
    let mut asides = Vec::new();
    // The number of the next item of each list that is open.
    let mut lists: Vec<Option<u64>> = Vec::new();
    let mut mark = String::new();
    while let Some(event) = events.next() {
        let mut code = None;
        let kind = match event {
            Event::Start(Tag::List(first)) => {
                lists.push(first);
                BlockKind::Paragraph
            }
            Event::Start(Tag::CodeBlock(_)) => {
                code = Some(visible_lines(&inside(&mut events)));
                BlockKind::Paragraph
            }
            Event::Rule => {
                line += "* * *";
                BlockKind::Paragraph
            }
            Event::End(TagEnd::Heading(_)) => BlockKind::Heading,
            Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::HtmlBlock) => BlockKind::Paragraph,
            other => {
                match other {
                    Event::Text(part) | Event::Code(part) | Event::Html(part) | Event::InlineHtml(part) => {
                        line.push_str(&part);
                    }
                    Event::SoftBreak | Event::HardBreak => line.push(' '),
                    Event::Start(Tag::Item) => mark = next_mark(&mut lists),
                    Event::End(TagEnd::List(_)) => lists.truncate(lists.len().saturating_sub(1)),
                    Event::Start(Tag::Link { link_type, dest_url, .. } | Tag::Image { link_type, dest_url, .. }) => {
                        asides.push(aside(link_type, &dest_url));
                    }
                    Event::End(TagEnd::Link | TagEnd::Image) => line += &asides.pop().unwrap_or_default(),
                    _ => {}
                }
                continue;
            }
        };
        let text = visible(take(&mut line).trim());
        if !text.is_empty() || !mark.is_empty() {
            found.push(MarkdownBlock { kind, mark: take(&mut mark), text });
        }
        found.extend(code.map(|text| MarkdownBlock { kind: BlockKind::Code, mark: String::new(), text }));
    }
    found
}

/// Returns the mark of the next item of the innermost list.
fn next_mark(lists: &mut [Option<u64>]) -> String {
    let indent = "  ".repeat(lists.len().saturating_sub(1));
    match lists.last_mut() {
        Some(Some(number)) => {
            *number += 1;
            format!("{indent}{}. ", *number - 1)
        }
        _ => format!("{indent}- "),
    }
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
        assert_eq!(html("** x **"), "<p>** x **</p>\n");
    }

    #[test]
    fn texts_of_scripts_may_be_indented_and_nothing_leads_elsewhere() {
        assert_eq!(html("    # A\n    - b\n      c"), "<h2>A</h2>\n<ul><li>b c</li></ul>\n");
        let text = "[a](https://x.y) ![p](p.png) <https://z> <b>bold</b>\n\n<i>\n";
        let expected = "<p>a (https://x.y) p (p.png) https://z &lt;b&gt;bold&lt;/b&gt;</p>\n<p>&lt;i&gt;</p>\n";
        assert_eq!(html(text), expected);
        let plain: Vec<String> = blocks(text).into_iter().map(|block| block.text).collect();
        assert_eq!(plain, ["a (https://x.y) p (p.png) https://z <b>bold</b>", "<i>"]);
    }

    #[test]
    fn lists_within_lists_are_indented() {
        let found = blocks("3. one\n   - a\n   - b\n4. two\n\n   more\n");
        let marked: Vec<String> = found.into_iter().map(|block| block.mark + block.text.as_str()).collect();
        assert_eq!(marked, ["3. one", "  - a", "  - b", "4. two", "more"]);
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
