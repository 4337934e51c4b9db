//! The site of this repository: every link of it leads somewhere, and in headless Chromium the search finds a function, opens
//! it, and nothing scrolls sideways on a phone.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::page::{browse, chromium, photograph, title};

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
    let ran = Command::new(env!("CARGO_BIN_EXE_microtome"))
        .args(["doc", "--html"])
        .arg(folder.join("site"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
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
