//! The site of this repository: every link of it leads somewhere, and in headless Chromium the search finds a function, opens
//! it, nothing scrolls sideways on a phone, and the picture of the first page opens the live circuit, which answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use microtome::base::Result;
use microtome::base::files::Files;
use microtome::report::page_engine::PageEngine;
use microtome::script::Session;
use microtome::script::docs::site::{self, SiteFiles};
use microtome::script::engine::env::Env;

use crate::page::{browse, chromium, photograph, title};
use crate::support::browser::Browser;
use crate::support::host::host;
use crate::support::{microtome, printed};

/// The live report to which README's picture leads: beside the pages of this repository, and not in the program.
const LIVE: &str = "docs/live/parenthesis.html";

/// A page around the site: types into the search, notes what is found, and opens it; then measures pages on a phone.
const TYPED: &str = r##"<!doctype html><title>waiting</title><iframe src="docs/guide.html" width="1200" height="800"></iframe>
<script>
const frame = document.querySelector("iframe");
const found = [];
const wait = (test, next) => test() ? next() : setTimeout(() => wait(test, next), 20);
frame.onload = () => {
  frame.onload = null;
  const page = frame.contentWindow;
  page.addEventListener("error", event => found.push("error: " + event.message));
  const press = (target, key) => target.dispatchEvent(new page.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  press(page.document, "/");
  const field = page.document.querySelector(".search input");
  found.push(page.document.activeElement === field);
  field.value = "sae::fit";
  field.dispatchEvent(new page.Event("input", { bubbles: true }));
  wait(() => page.document.querySelector(".search li a"), () => {
    found.push(page.document.querySelector(".search li a").firstChild.textContent);
    field.value = "logit lens";
    field.dispatchEvent(new page.Event("input", { bubbles: true }));
    found.push(page.document.querySelectorAll(".search li a").length > 0);
    field.value = "sae::fit";
    field.dispatchEvent(new page.Event("input", { bubbles: true }));
    press(field, "Enter");
    wait(() => frame.contentWindow.location.href.includes("sae.html"), () => {
      found.push(frame.contentWindow.location.href.split("/docs/")[1]);
      phone(["index.html", "docs/guide.html", "docs/from-python.html", "docs/reference/sae.html", "docs/judging-circuits.html"]);
    });
  });
};
function phone(pages) {
  if (!pages.length) { document.title = found.join(" "); return; }
  frame.width = 360;
  frame.onload = () => {
    const wide = frame.contentDocument.documentElement;
    found.push(wide.scrollWidth <= wide.clientWidth ? "fits" : pages[0] + ":" + wide.scrollWidth);
    phone(pages.slice(1));
  };
  frame.src = pages[0];
}
</script>
"##;

/// The site of this repository, in a folder.
fn site(folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    printed(microtome(root).args(["doc", "--html"]).arg(folder.join("site")));
    folder.join("site")
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let html = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "html"));
    html.chain(folders.iter().flat_map(|folder| pages(folder))).collect()
}

fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_link_of_the_site_leads_somewhere_and_nothing_comes_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let pages = pages(&site);
    assert!(pages.len() > 100, "{} pages", pages.len());
    let mut dead = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for target in attributes(&text, "src").into_iter().chain(attributes(&text, "href")) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = || std::fs::read_to_string(&place).unwrap_or_default();
            if !place.is_file() || !anchor.is_empty() && !attributes(&there(), "id").contains(&anchor) {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
        for loaded in attributes(&text, "src") {
            assert!(!loaded.contains("://"), "{}: {loaded}", page.display());
        }
    }
    assert!(dead.is_empty(), "{} dead links\n{}", dead.len(), dead.join("\n"));
}

/// The pages inside the program are those of the repository, none left out and none an old one. Links to the live report lead
/// to where the repository is.
#[test]
fn where_there_are_no_pages_the_site_is_that_of_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let of_repository = site(folder.path());
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    printed(microtome(&elsewhere).args(["doc", "--html", "site"]));
    let read = |place: &Path| std::fs::read(place).unwrap_or_default();
    let list = |site: &Path| String::from_utf8(read(&site.join("pages.txt"))).unwrap();
    let site = elsewhere.join("site");
    let address = format!("{}/blob/main/{LIVE}", env!("CARGO_PKG_REPOSITORY"));
    let first = String::from_utf8(read(&site.join("index.html"))).unwrap();
    assert!(first.contains(&format!("<a href=\"{address}\"><img ")), "{first}");
    // What a page would be if its folder had the report.
    let with_report = |name: &str| {
        let content = read(&site.join(name));
        if !name.ends_with(".html") {
            return content;
        }
        let link = if name.starts_with("docs/") { LIVE.trim_start_matches("docs/") } else { LIVE };
        String::from_utf8(content).unwrap().replace(&address, link).into_bytes()
    };
    let all = list(&of_repository);
    let (report, pages): (Vec<&str>, Vec<&str>) = all.lines().partition(|name| *name == LIVE);
    let missing: Vec<&&str> =
        pages.iter().filter(|name| read(&of_repository.join(name)) != with_report(name)).collect();
    assert!(missing.is_empty(), "missing in src/pages.rs, or what links to them is: {missing:?}");
    let inside = list(&site);
    assert_eq!((report, pages), (vec![LIVE], inside.lines().collect::<Vec<&str>>()));
}

/// The report is the file of the repository, of the size that the pages state; it opens where the picture leads, and answers to
/// the mouse and to a text.
#[test]
fn the_picture_of_the_first_page_opens_the_live_circuit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let report = std::fs::read(root.join(LIVE)).unwrap();
    let size = format!("{:.1} MB", report.len() as f64 / 1e6);
    for page in ["README.md", "docs/README.md", "docs/live.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        assert!(text.contains(&size), "{page} does not say that {LIVE} has {size}");
    }
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    assert!(std::fs::read(site.join(LIVE)).unwrap() == report, "{LIVE} is not beside the pages");
    let mut browser = Browser::start(chromium, &folder.path().join("profile"));
    browser.open(&format!("file://{}", site.join("index.html").display()));
    browser.size(1280, 900);
    browser.until("document.readyState === 'complete'");
    browser.click("main a img");
    // Nothing is asked while one page takes the place of the other.
    std::thread::sleep(Duration::from_secs(2));
    let tree = "document.querySelector('section.live')";
    let state = format!("{tree}.querySelector('output').textContent");
    browser.until(&format!("{state} === 'as printed'"));
    assert!(browser.text("location.pathname").ends_with(LIVE));
    browser.click("section.live .nodes [data-live]");
    browser.until(&format!("{state}.startsWith('live, ') && {tree}.querySelector('[data-live][aria-pressed=true]')"));
    browser.click("section.live textarea");
    browser.insert(" and (so");
    browser.until(&format!("{state}.startsWith('live, ') && {tree}.querySelector('.compared').textContent !== ''"));
    println!("{}", browser.text(&format!("{tree}.querySelector('.compared').textContent")));
    let apart: f64 = browser.text(&format!("{tree}.querySelector('.compared').dataset.value")).parse().unwrap();
    assert!(apart < 1e-5, "{apart:e} from the program");
    browser.has_both_dresses();
    browser.size(360, 740);
    assert!(browser.is("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than a phone");
    assert!(browser.problems.is_empty(), "{:#?}", browser.problems);
    let is_beside = |address: &String| ["file:", "blob:", "data:"].iter().any(|start| address.starts_with(start));
    assert!(browser.requests.iter().all(is_beside), "{:#?}", browser.requests);
    // So it does on a host.
    browser.open(&format!("{}/{LIVE}", host(&site)));
    browser.until(&format!("{state} === 'as printed'"));
    assert!(browser.problems.is_empty(), "{:#?}", browser.problems);
}

#[test]
fn the_search_finds_a_function_and_opens_it() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let typed = site.join("typed.html");
    std::fs::write(&typed, TYPED).unwrap();
    let words = ["--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom"];
    let dom = String::from_utf8(browse(chromium, &folder.path().join("profile"), &words, &typed)).unwrap();
    let fits = "fits fits fits fits fits";
    assert_eq!(title(&dom), format!("true sae::fit true reference/sae.html#saefit {fits}"));
    photograph(chromium, folder.path(), &site.join("docs/guide.html"));
}

/// The site of a folder with these files, made without the program.
fn made(written: &[(&str, &str)]) -> Result<SiteFiles> {
    made_with(written, None)
}

/// The same, whose examples can be run where there is an engine.
fn made_with(written: &[(&str, &str)], live: Option<&PageEngine>) -> Result<SiteFiles> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in written {
        kit::write(folder.path().join(name), text);
    }
    let session = Session::new(Env::in_memory(Path::new("out")).unwrap());
    let files = Files::unrecorded(Path::new("out")).unwrap();
    site::of(folder.path(), session.engine(), &session.docs(), &files, &[], live)
}

fn text(site: &SiteFiles, name: &str) -> String {
    let (_, bytes) = site.files.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is missing"));
    String::from_utf8(bytes.clone()).unwrap()
}

#[test]
fn pages_of_what_has_gone_are_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| kit::write(folder.path().join(name), text);
    let publish = || printed(microtome(folder.path()).args(["doc", "--html", "site"]));
    let has = |name: &str| folder.path().join(name).exists();
    write("README.md", "# Mine\n\n[a](docs/a.md) [b](docs/b.md)\n");
    write("docs/a.md", "# A\n");
    write("docs/b.md", "# B\n");
    publish();
    assert!(has("site/docs/a.html") && has("site/docs/b.html"));
    write("site/own.html", "what others put there");
    write("outside.html", "beside the site");
    // The list is a file like any other: what it names outside of the site is not touched.
    let list = std::fs::read_to_string(folder.path().join("site/pages.txt")).unwrap();
    write("site/pages.txt", &(list + "../outside.html\n/outside.html\n"));
    std::fs::remove_file(folder.path().join("docs/b.md")).unwrap();
    write("README.md", "# Mine\n\n[a](docs/a.md)\n");
    publish();
    assert!(has("site/docs/a.html") && !has("site/docs/b.html"));
    assert!(has("site/own.html") && has("outside.html"));
}

#[test]
fn marks_around_figures_are_not_shown() {
    let readme = "# A\n\nWe have <!-- count tasks -->seven<!-- / --> of them.\n\n<!-- speed README -->\n| a |\n|---|\n| 1 |\n<!-- / -->\n\n<!-- x --><b>\n";
    let site = made(&[("README.md", readme)]).unwrap();
    let home = text(&site, "index.html");
    assert!(home.contains("<p>We have seven of them.</p>") && home.contains("<td>1</td>"), "{home}");
    assert!(home.contains("&lt;b&gt;") && !home.contains("!--") && !home.contains("--&gt;"), "{home}");
}

#[test]
fn pages_scripts_and_pictures_are_linked() {
    let readme = "# Brackets\n\n[docs](docs/more.md#a-part) ![a](p.svg) [s](s.rhai) [f](folder) `sae::fit`\n\n    let s = sae::fit(x); // fit\n";
    let site = made(&[
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
    let index = text(&site, "search.js");
    assert!(index.contains("\"sae::fit\"") && !index.contains(":::"));
    assert!(home.contains(">sae: dictionaries: fitting") && !home.contains(":::"), "{home}");
}

#[test]
fn links_that_lead_nowhere_are_errors() {
    for (link, dead) in
        [("b.md", true), ("#no", true), ("../x.md", true), ("javascript:alert(1)", true), ("https://a.b", false)]
    {
        let site = made(&[("README.md", &format!("# A\n\n[a]({link})"))]);
        assert_eq!(site.is_err(), dead, "{link}");
        if let Err(error) = site {
            assert_eq!(error.message, format!("a link leads nowhere: README.md: {link}"));
        }
    }
}

#[test]
fn saved_reports_go_along_and_other_pages_of_html_do_not() {
    let readme = "# A\n\n[![a](p.svg)](r/x.html)\n";
    let report = microtome::report::html::page::page("x", "a report");
    let site = made(&[("README.md", readme), ("p.svg", "<svg/>"), ("r/x.html", &report)]).unwrap();
    assert!(text(&site, "index.html").contains("<a href=\"r/x.html\"><img src=\"p.svg\" alt=\"a\"></a>"));
    assert_eq!(text(&site, "r/x.html"), report);
    let other = made(&[("README.md", readme), ("p.svg", "<svg/>"), ("r/x.html", "<script>alert(1)</script>")]);
    assert_eq!(
        other.err().unwrap().message,
        "r/x.html: expected a saved report, whose policy allows no connection, found another page"
    );
    let both = made(&[("README.md", "# A\n\n[a](b.html) [b](b.md)\n"), ("b.html", &report), ("b.md", "# B\n")]);
    assert_eq!(
        both.err().unwrap().message,
        "expected a name of its own, found b.html, which the page of b.md has, too"
    );
}

#[test]
fn only_a_live_site_has_examples_that_run_and_the_engine_once() {
    let readme = "# A\n\n[b](docs/b.md)\n\n```rhai\n1 + 1\n```\n\n```sh\nls\n```\n";
    let written = [("README.md", readme), ("docs/b.md", "# B\n\nNo code.\n")];
    let engine = PageEngine { module: b"module".to_vec(), worker: b"worker".to_vec() };
    let [plain, live] = [None, Some(&engine)].map(|engine| made_with(&written, engine).unwrap());
    let names = |site: &SiteFiles| site.files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let more = ["live.css", "live.js", "live-engine.js", "live-model.js"].map(String::from);
    assert_eq!(names(&live), [names(&plain), more.to_vec()].concat());
    assert_eq!(text(&live, "docs/b.html"), text(&plain, "docs/b.html"));
    let home = text(&live, "index.html");
    let before = text(&plain, "index.html");
    assert!(!before.contains("live.js") && !before.contains("data-run"));
    assert_eq!(home.matches(" data-run=\"script\"").count(), 1, "{home}");
    assert!(home.contains("worker-src blob:") && home.contains("src=\"live.js\"") && !home.contains("connect-src"));
    assert!(text(&live, "docs/reference/sae.html").contains("<script src=\"../../live.js\" defer>"));
    assert_eq!(text(&live, "live-engine.js"), engine.script());
}

#[test]
fn html_in_pages_and_names_stays_text() {
    let evil = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    let site = made(&[(
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
    let site = made(&[("microtome.toml", "name = \"double\"\n"), ("lib.rhai", module)]).unwrap();
    let page = text(&site, "docs/reference/double.html");
    assert!(page.contains("Twice a number.") && page.contains("id=\"doubletwice\"") && !page.contains("::hidden"));
    assert!(!site.files.iter().any(|(name, _)| name.ends_with("sae.html")));
    assert!(text(&site, "index.html").contains("docs/reference/double.html"));
}
