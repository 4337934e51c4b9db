//! Paths below the site's folder, and the links between them.

/// Returns the path that a link of a page means, from the folder of the site; none if it leads out of it.
pub fn joined(page: &str, link: &str) -> Option<String> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns the link from one file of the site to another, both by their paths from its folder.
pub fn link(from: &str, to: &str) -> String {
    let (to, anchor) = to.split_once('#').map_or((to, String::new()), |(to, anchor)| (to, format!("#{anchor}")));
    let from: Vec<&str> = from.split('/').collect();
    let to: Vec<&str> = to.split('/').collect();
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count().min(from.len() - 1).min(to.len() - 1);
    let up = "../".repeat(from.len() - 1 - common);
    let down = to.get(common..).unwrap_or_default().join("/");
    escaped(&format!("{up}{down}")) + anchor.as_str()
}

/// Escapes what a browser would take for something else than a name.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace(' ', "%20").replace('?', "%3F").replace('#', "%23").replace('"', "%22")
}

/// Returns the file of the site that shows a page or a source.
pub fn file(path: &str) -> String {
    match path.strip_suffix(".md") {
        Some("README") => "index.html".into(),
        Some(name) => match name.strip_suffix("/README") {
            Some(folder) => format!("{folder}/index.html"),
            None => format!("{name}.html"),
        },
        None => format!("{path}.html"),
    }
}

/// Returns the anchor of a heading, as code hosts make it: letters and digits in lower case, with `-` for each space.
pub fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// Returns the anchors of all headings of a page: one that is there already gets a number.
pub fn anchors(headings: &[&str]) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    let numbered = headings.iter().map(|heading| {
        let plain = anchor(heading);
        let before = taken.iter().filter(|known| **known == plain).count();
        taken.push(plain.clone());
        if before == 0 { plain } else { format!("{plain}-{before}") }
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_and_written_anew() {
        assert_eq!(joined("docs/guide.md", "../README.md").as_deref(), Some("README.md"));
        assert_eq!(joined("docs/guide.md", "reference/./sae.md").as_deref(), Some("docs/reference/sae.md"));
        assert_eq!(joined("docs/guide.md", "../../secret"), None);
        assert_eq!(link("docs/guide.html", "docs/reference/sae.html#saefit"), "reference/sae.html#saefit");
        assert_eq!(link("docs/reference/sae.html", "index.html"), "../../index.html");
        assert_eq!(link("index.html", "index.html#a"), "index.html#a");
        assert_eq!(link("a.html", "b c?.html"), "b%20c%3F.html");
        assert_eq!(file("docs/reference/README.md"), "docs/reference/index.html");
        assert_eq!(file("README.md"), "index.html");
        assert_eq!(file("scripts/das.rhai"), "scripts/das.rhai.html");
        assert_eq!(anchor("`Model.site_table` of a, b!"), "modelsite_table-of-a-b");
        assert_eq!(anchors(&["A", "B", "a"]), ["a", "b", "a-1"]);
    }
}
