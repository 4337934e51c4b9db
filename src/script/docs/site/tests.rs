//! Sites of small folders: what becomes of links, of code, and of text that looks like HTML.

use std::path::Path;

use super::*;
use crate::base::access::{Access, Rules};
use crate::script::Session;
use crate::script::engine::env::Env;

/// The site of a folder with these files.
fn site(written: &[(&str, &str)]) -> Result<Site> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in written {
        let place = folder.path().join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
    let session = Session::new(Env::in_memory(Path::new("out")).unwrap());
    let files = Files::new(Access::new(Path::new("out"), &Rules::default()).unwrap(), false);
    of(folder.path(), session.engine(), &session.docs(), &files, &[])
}

fn text(site: &Site, name: &str) -> String {
    let (_, bytes) = site.files.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is missing"));
    String::from_utf8(bytes.clone()).unwrap()
}

#[test]
fn pages_scripts_and_pictures_are_linked() {
    let readme = "# Brackets\n\n[docs](docs/more.md#a-part) ![a](p.svg) [s](s.rhai) [f](folder) `sae::fit`\n\n    let s = sae::fit(x); // fit\n";
    let site = site(&[
        ("README.md", readme),
        ("docs/more.md", "# More\n\n## A part\n\nBack to [it](../README.md).\n\n## A part\n"),
        ("p.svg", "<svg/>"),
        ("s.rhai", "let x = 1;"),
        ("folder/t.rhai", "1"),
    ]);
    let site = site.unwrap();
    let home = text(&site, "index.html");
    assert!(home.contains("<a href=\"docs/more.html#a-part\">docs</a> <img src=\"p.svg\" alt=\"a\">"), "{home}");
    assert!(home.contains("<a href=\"s.rhai.html\">s</a> <a href=\"folder/index.html\">f</a>"));
    assert!(home.contains("<a href=\"docs/reference/sae.html#saefit\"><code>sae::fit</code></a>"));
    assert!(home.contains(
        "<a class=\"f\" href=\"docs/reference/sae.html#saefit\">fit</a>(x); <span class=\"c\">// fit</span>"
    ));
    assert!(home.contains("rel=\"next\" href=\"docs/more.html\""));
    let more = text(&site, "docs/more.html");
    assert!(
        more.contains("<h2 id=\"a-part\">") && more.contains("<h2 id=\"a-part-1\">") && more.contains("../site.css")
    );
    assert!(text(&site, "folder/index.html").contains("<a href=\"t.rhai.html\">"));
    assert_eq!(text(&site, "p.svg"), "<svg/>");
    assert!(text(&site, "search.js").contains("\"sae::fit\""));
}

#[test]
fn links_that_lead_nowhere_are_errors() {
    for (link, dead) in
        [("b.md", true), ("#no", true), ("../x.md", true), ("javascript:alert(1)", true), ("https://a.b", false)]
    {
        let site = site(&[("README.md", &format!("# A\n\n[a]({link})"))]);
        assert_eq!(site.is_err(), dead, "{link}");
        if let Err(error) = site {
            assert_eq!(error.message, format!("a link leads nowhere: README.md: {link}"));
        }
    }
}

#[test]
fn html_in_pages_and_names_stays_text() {
    let evil = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    let site = site(&[(
        "README.md",
        &format!(
            "# A {evil}\n\n{evil}\n\n`{evil}` [{evil}](https://x.y/\"onclick=\"a)\n\n| {evil} |\n|-|\n| b |\n\n```rhai\nlet a = \"{evil}\"; // {evil}\n```\n"
        ),
    )]);
    for (name, bytes) in site.unwrap().files {
        let page = String::from_utf8(bytes).unwrap();
        assert!(!page.contains("<script>") && !page.contains("<img src=x"), "{name}");
    }
}

#[test]
fn a_library_has_the_reference_of_its_own_modules() {
    let module = "/// Twice a number.\n///\n/// # Example\n/// ```\n/// double::twice(2)  //=> 4\n/// ```\nfn twice(x) { 2 * x }\n\nprivate fn hidden() { 1 }\n";
    let site = site(&[("microtome.toml", "name = \"double\"\n"), ("lib.rhai", module)]).unwrap();
    let page = text(&site, "docs/reference/double.html");
    assert!(page.contains("Twice a number.") && page.contains("id=\"doubletwice\"") && !page.contains("hidden"));
    assert!(!site.files.iter().any(|(name, _)| name.ends_with("sae.html")));
    assert!(text(&site, "index.html").contains("docs/reference/double.html"));
}
