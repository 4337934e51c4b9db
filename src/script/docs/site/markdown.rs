//! A page of Markdown as HTML: headings with anchors, links to other pages, code in colours. What is HTML in it stays text.

use pulldown_cmark::{Alignment, CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::code::{self, Known};
use super::places::anchors;
use crate::report::html::escape;

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

/// Writes the page's content. `link` says where a target leads from this page; one that leads nowhere is no link.
pub fn html(text: &str, known: &Known, link: &dyn Fn(&str) -> Option<String>) -> String {
    let anchors = sections(text).into_iter().filter(|section| section.level > 0).map(|section| section.anchor);
    let mut writer = Writer {
        out: String::new(),
        anchors: anchors.collect(),
        known,
        link,
        head: false,
        heading: false,
        columns: Vec::new(),
        column: 0,
    };
    let mut events = parser(text);
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let inside: String = events
                    .by_ref()
                    .map_while(|event| if let Event::Text(text) = event { Some(text.to_string()) } else { None })
                    .collect();
                let language =
                    if let CodeBlockKind::Fenced(language) = kind { language.to_string() } else { String::new() };
                writer.out.push_str(&code::block(&inside, &language, known));
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                let about: String = events
                    .by_ref()
                    .map_while(|event| match event {
                        Event::End(TagEnd::Image) => None,
                        Event::Text(text) | Event::Code(text) => Some(text.to_string()),
                        _ => Some(" ".into()),
                    })
                    .collect();
                let about = escape::text(&about);
                writer.out.push_str(&match link(&dest_url) {
                    Some(place) => format!("<img src=\"{}\" alt=\"{about}\">", escape::text(&place)),
                    None => about,
                });
            }
            event => writer.event(event),
        }
    }
    writer.out
}

struct Writer<'a> {
    out: String,
    /// The anchors of the headings that are still to come.
    anchors: std::collections::VecDeque<String>,
    known: &'a Known<'a>,
    link: &'a dyn Fn(&str) -> Option<String>,
    /// Whether this is the first row of a table.
    head: bool,
    heading: bool,
    columns: Vec<Alignment>,
    column: usize,
}

impl Writer<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.out.push_str(&escape::text(&text)),
            Event::Html(text) | Event::InlineHtml(text) => self.out.push_str(&escape::text(&without_comments(&text))),
            Event::Code(text) => self.code(&text),
            Event::SoftBreak => self.out.push('\n'),
            Event::HardBreak => self.out.push_str("<br>\n"),
            Event::Rule => self.out.push_str("<hr>\n"),
            _ => {}
        }
    }

    /// Writes code within a sentence; the name of a function leads to its place in the reference.
    fn code(&mut self, text: &str) {
        let inside = format!("<code>{}</code>", escape::text(text));
        // A bare word may be anything, and a heading is the place itself.
        let place =
            (!self.heading && text.contains(['.', ':'])).then(|| (self.known.link)(text.trim_end_matches("()")));
        self.out.push_str(&match place.flatten() {
            Some(link) => format!("<a href=\"{}\">{inside}</a>", escape::text(&link)),
            None => inside,
        });
    }

    fn start(&mut self, tag: Tag) {
        let open = match tag {
            Tag::Paragraph => "<p>".into(),
            Tag::Heading { level, .. } => {
                self.heading = true;
                let anchor = escape::text(&self.anchors.pop_front().unwrap_or_default());
                format!(
                    "<{level} id=\"{anchor}\"><a class=\"anchor\" href=\"#{anchor}\" aria-label=\"Link to this heading\">#</a>"
                )
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
            Tag::Link { dest_url, .. } => match (self.link)(&dest_url) {
                Some(place) => format!("<a href=\"{}\">", escape::text(&place)),
                None => "<a>".into(),
            },
            _ => return,
        };
        self.out.push_str(&open);
    }

    fn end(&mut self, tag: TagEnd) {
        let close = match tag {
            TagEnd::Paragraph => "</p>\n".into(),
            TagEnd::Heading(level) => {
                self.heading = false;
                format!("</{level}>\n")
            }
            TagEnd::BlockQuote(_) => "</blockquote>\n".into(),
            TagEnd::List(true) => "</ol>\n".into(),
            TagEnd::List(false) => "</ul>\n".into(),
            TagEnd::Item => "</li>\n".into(),
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
            TagEnd::Link => "</a>".into(),
            _ => String::new(),
        };
        self.out.push_str(&close);
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
