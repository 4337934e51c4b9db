//! The guide: pages that are read in Markdown, of the repository, which the program has inside. A page, or what stands below
//! one of its headings, is shown in the terminal; the site of a folder without pages is made of them.

use std::sync::OnceLock;

use super::site::{anchors, unescaped, without_comments};

/// A file of the repository by its path.
pub type EmbeddedFile = (&'static str, &'static [u8]);

static FILES: OnceLock<&'static [EmbeddedFile]> = OnceLock::new();

/// Makes the files known that the program has inside, when it starts.
pub fn register(files: &'static [EmbeddedFile]) {
    FILES.get_or_init(|| files);
}

/// Pages, and the scripts and pictures that they lead to; none where no program has registered them.
pub fn files() -> &'static [EmbeddedFile] {
    FILES.get().copied().unwrap_or_default()
}

/// A page for readers, by its path.
pub struct GuidePage {
    pub path: &'static str,
    pub text: &'static str,
}

/// Lists the pages for readers: those of how the program is made, and of what has changed, are on the site alone.
pub fn pages() -> impl Iterator<Item = GuidePage> {
    let is_read = |path: &str| path.ends_with("README.md") || path.starts_with("docs/") && path.ends_with(".md");
    let page = |(path, bytes): &EmbeddedFile| Some(GuidePage { path, text: std::str::from_utf8(bytes).ok()? });
    files().iter().filter(move |(path, _)| is_read(path)).filter_map(page)
}

/// A heading with the lines below it up to the next one; the lines before the first heading have an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuideSection {
    pub level: usize,
    pub heading: String,
    pub anchor: String,
    /// The lines with their numbers, that of the heading left out, as a terminal shows them: without marks around figures, and
    /// outside of code without the backslashes of Markdown.
    pub lines: Vec<(usize, String)>,
}

/// Splits a page into its parts, in its order.
pub fn parts(text: &str) -> Vec<GuideSection> {
    let mut parts = vec![GuideSection::default()];
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        let is_fence = line.starts_with("```");
        in_code ^= is_fence;
        let is_code = in_code || is_fence || line.starts_with("    ");
        let level = line.bytes().take_while(|b| *b == b'#').count();
        let heading = line.get(level..).and_then(|rest| rest.strip_prefix(' ')).filter(|_| level > 0 && !is_code);
        if let Some(heading) = heading {
            let heading = prose(heading).trim().replace('`', "");
            parts.push(GuideSection { level, heading, ..GuideSection::default() });
        } else if let Some(last) = parts.last_mut() {
            let shown = if is_code { line.to_string() } else { prose(line) };
            if !shown.is_empty() || line.is_empty() {
                last.lines.push((number, shown));
            }
        }
    }
    let headings: Vec<&str> = parts.iter().map(|part| part.heading.as_str()).collect();
    let anchors = anchors(&headings);
    parts.iter_mut().zip(anchors).for_each(|(part, anchor)| part.anchor = anchor);
    parts
}

/// Writes a line that is no code.
fn prose(line: &str) -> String {
    unescaped(&without_comments(line))
}

/// Returns the shortest name under which a page is found: `sweeps.md`, but `docs/README.md`, since there is another
/// README.md.
pub fn name_of(path: &str) -> &str {
    path.strip_prefix("docs/").filter(|name| *name != "README.md").unwrap_or(path)
}

/// Returns a page by its name, such as `sweeps`, `sweeps.md` or `docs/sweeps.md`, or with `#` and an anchor what stands
/// below that heading; as a terminal shows it.
pub fn about(name: &str) -> Option<String> {
    let (name, anchor) = name.split_once('#').unwrap_or((name, ""));
    let is_meant = |path: &str| {
        [path, name_of(path)].into_iter().any(|known| known == name || known.strip_suffix(".md") == Some(name))
    };
    let parts = parts(pages().find(|page| is_meant(page.path))?.text);
    let first = match anchor {
        "" => 0,
        anchor => parts.iter().position(|part| part.level > 0 && part.anchor == anchor)?,
    };
    // What stands before the first heading is above all of them.
    let level = parts.get(first)?.level;
    let (head, below) = parts.get(first..)?.split_first()?;
    let wanted = std::iter::once(head).chain(below.iter().take_while(|part| part.level > level));
    let text: String = wanted.map(shown).collect();
    Some(text.trim().to_string() + "\n")
}

fn shown(part: &GuideSection) -> String {
    let heading = if part.level > 0 { format!("{} {}\n", "#".repeat(part.level), part.heading) } else { String::new() };
    part.lines.iter().fold(heading, |text, (_, line)| text + line.as_str() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A\n\nfirst\n\n## `b::c` and d\n\n```sh\n# no \\[heading\\]\n```\n\n### Deeper\n\nx \\[1\\] <!-- n -->2<!-- / -->\n\
                        <!-- mark -->\n\n## Last\n";

    #[test]
    fn a_page_has_a_name_of_its_own() {
        assert_eq!(
            ["README.md", "docs/README.md", "docs/sweeps.md"].map(name_of),
            ["README.md", "docs/README.md", "sweeps.md"]
        );
    }

    #[test]
    fn a_page_is_taken_apart_at_its_headings() {
        let parts = parts(TEXT);
        let heads: Vec<(usize, &str, &str)> =
            parts.iter().map(|part| (part.level, part.heading.as_str(), part.anchor.as_str())).collect();
        let wanted =
            [(0, "", ""), (1, "A", "a"), (2, "b::c and d", "bc-and-d"), (3, "Deeper", "deeper"), (2, "Last", "last")];
        assert_eq!(heads, wanted);
        assert_eq!(shown(&parts[1]), "# A\n\nfirst\n\n");
        assert!(parts[2].lines.contains(&(8, "# no \\[heading\\]".into())));
        assert_eq!(parts[3].lines, [(12, "".into()), (13, "x [1] 2".into()), (15, "".into())]);
    }
}
