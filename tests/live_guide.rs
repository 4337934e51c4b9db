//! The guide as a live site: it is written, opened from its folder in headless Chromium and in Firefox, and used by the keyboard. Examples
//! run, are changed and continued; errors, charts and tables are shown, names completed and explained; what never ends is stopped. A
//! page runs from a static host, too.
//!
//! `MICROTOME_PAGE_ENGINE` names the folder that `page/build` has made the engine in; without it the tests say that they are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::page::chromium;
use crate::support;
use crate::support::browser::Browser;
use crate::support::firefox::{ENTER, Firefox, TAB, firefox};
use crate::support::host::host;

/// The prompt that follows the example that ran last: its field, and what is said of it.
const FIELD: &str = "document.querySelector('.line textarea')";
const STATE: &str = "document.querySelector('.line [role=status]').textContent";

/// Whether nothing is being computed: each Stop is disabled then.
const IDLE: &str =
    "[...document.querySelectorAll('.prompt button')].every(one => one.textContent !== 'Stop' || one.disabled)";

/// The last block that was shown.
const LAST: &str = "[...document.querySelectorAll('.out > *')].at(-1)";

/// What a reader of the second site finds, a hostile text among it.
const PAGE: &str = r##"# A page

```rhai
let m = model::load("tiny");
m.config.layers  //=> 6
print("<img src=x id=evil onerror=\"document.title='broken'\">");
plot::line([1, 2, 4])
```

```text </script><i id=evil>.txt
a file
```
"##;

/// The site of a folder, written by the program with an engine; none where no engine is named, which is said.
fn site(of: &Path, folder: &Path) -> Option<PathBuf> {
    support::page_engine()?;
    let site = folder.join("site");
    let mut program = Command::new(env!("CARGO_BIN_EXE_microtome"));
    let ran = program.args(["doc", "--live", "--html"]).arg(&site).current_dir(of).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(site)
}

/// Opens a page of the site, and waits for its prompts.
fn open(browser: &mut Browser, site: &Path, page: &str) {
    browser.open(&format!("file://{}", site.join(page).display()));
    browser.until("document.querySelector('section.prompt')");
}

/// An element of an example, by its number.
fn of(example: usize, selector: &str) -> String {
    format!("document.querySelectorAll('section.prompt')[{example}].querySelector(\"{selector}\")")
}

/// Types a line at the prompt, and waits for its end.
fn line(browser: &mut Browser, text: &str) {
    browser.js(&format!("{FIELD}.focus()"));
    browser.insert(text);
    browser.press("Enter");
    browser.until(&format!("!{FIELD}.value && {IDLE}"));
}

#[test]
fn examples_of_the_guide_run_and_are_changed_and_continued_by_the_keyboard() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(site) = site(Path::new(env!("CARGO_MANIFEST_DIR")), folder.path()) else { return };
    let mut browser = Browser::start(chromium, &folder.path().join("profile"));
    open(&mut browser, &site, "docs/guide.html");
    browser.size(1280, 900);

    // An example runs.
    browser.js(&format!("{}.focus()", of(0, "button")));
    browser.press("Enter");
    browser.until(&format!("{}.textContent.endsWith(' ms')", of(0, "[role=status]")));
    println!("the first example took {}", browser.text(&format!("{}.textContent", of(0, "[role=status]"))));
    let said = browser.text(&format!("{}.innerText", of(0, ".out")));
    assert!(said.contains("> let m = model::load(\"tiny\");") && said.contains(") was older than"), "{said}");
    let tables =
        "[...document.querySelectorAll('iframe.framed')].map(one => one.contentDocument.body.innerText).join(' ')";
    browser.until(&format!("{tables}.includes('0.94839')"));

    // It is changed: the next button edits it, Tab completes, Escape leaves the text, and its first button runs it.
    browser.js(&format!("{}.focus()", of(0, "button")));
    browser.press("Tab");
    browser.press("Enter");
    assert_eq!(browser.text("document.activeElement.tagName"), "TEXTAREA");
    browser.js("document.activeElement.setSelectionRange(1e6, 1e6)");
    browser.insert("\nm.config.lay");
    browser.press("Tab");
    browser.until("document.activeElement.value.endsWith('m.config.layers')");
    browser.press("Escape");
    browser.press("Tab");
    assert_eq!(browser.text("document.activeElement.textContent"), "Run");
    browser.press("Enter");
    browser.until(&format!("{IDLE} && {LAST}.textContent.trim() === '6'"));

    // F1 explains the name at the cursor; of several completions one is chosen by the arrows.
    browser.js(&format!("{}.focus()", of(0, "textarea")));
    browser.insert("\nm.predict");
    browser.press("F1");
    browser.until(&format!("{LAST}.textContent.includes('Model.predict(')"));
    browser.insert("\nm.");
    browser.press("Tab");
    browser.until("document.activeElement.getAttribute('aria-activedescendant')");
    let offered = browser.text(&format!("{}.textContent", of(0, "[role=option]:nth-child(2)")));
    browser.press("ArrowDown");
    browser.press("Enter");
    let written = browser.text("document.activeElement.value.split('\\n').at(-1)");
    assert!(offered.starts_with(written.trim_start_matches("m.").trim_end_matches(')')), "{offered}: {written}");
    let reset = "[...document.querySelectorAll('.prompt button')].find(one => one.textContent === 'Reset')";
    browser.js(&format!("{reset}.focus()"));
    browser.press("Enter");
    assert!(browser.is(&format!("{}.hidden && !{reset}", of(0, "textarea"))));

    // One goes on from it: an error is drawn under its line, a chart is SVG, a table stands in a frame, and a name is explained.
    line(&mut browser, "1 + nothing");
    let drawn = browser.text(&format!("{LAST}.textContent"));
    assert!(drawn.contains("unknown variable `nothing`") && drawn.contains("│ 1 + nothing\n"), "{drawn}");
    assert!(drawn.lines().any(|line| line.contains('┬')) && drawn.contains("╰"), "{drawn}");
    line(&mut browser, "plot::line([1, 2, 4])");
    assert!(browser.is(&format!("{LAST}.querySelector('svg')")));
    line(&mut browser, "table([#{ a: \"<img src=x onerror=\\\"top.document.title='broken'\\\">\" }])");
    browser.until(&format!("{LAST}.querySelector('iframe').contentDocument.body.innerText.includes('onerror')"));
    assert!(browser.is(&format!("!{LAST}.querySelector('iframe').contentDocument.querySelector('img')")));
    line(&mut browser, "?m.logits");
    assert!(browser.text(&format!("{LAST}.textContent")).contains("logits"));
    line(&mut browser, "report(\"r\", [\"# A\", plot::line([1, 2])])");
    assert_eq!(browser.text(&format!("{LAST}.firstElementChild.getAttribute('sandbox')")), "allow-scripts");

    // Where a page ends it says what goes on: no network, no files.
    for refused in ["model::load(\"EleutherAI/pythia-70m\")", "data::text(\"mine.txt\")"] {
        line(&mut browser, refused);
        let drawn = browser.text(&format!("{LAST}.textContent"));
        assert!(drawn.contains("`microtome run FILE`"), "{drawn}");
    }

    // Files that the page has its reader write are there.
    line(&mut browser, "data::text(\"notes.txt\").documents(1)[0].text.contains(\"glass case\")");
    assert_eq!(browser.text(&format!("{LAST}.textContent")), "true");

    // The output of a prompt has an end; once it is full, a hundred runs more take no more memory.
    let mut hundred = || {
        for round in 0..100 {
            line(&mut browser, if round % 2 == 0 { "m.predict(text, 3)" } else { "plot::line([1, 2, 4])" });
        }
        assert_eq!(browser.number("document.querySelectorAll('.out > *').length"), 200.0);
        browser.memory()
    };
    let before = hundred();
    let grown = hundred() - before;
    println!("a hundred runs: {grown:.1} MB more than {before:.0} MB");
    assert!(grown < 60.0, "{grown} MB");

    // A tab that sleeps while it computes answers when it wakes.
    browser.js(&format!("{FIELD}.focus()"));
    browser.insert("(0..40).map(|n| m.predict(text, 3)).len");
    browser.press("Enter");
    browser.sleep(Duration::from_secs(2));
    browser.until(&format!("!{FIELD}.value && {IDLE} && {LAST}.textContent === '40'"));

    // Stop ends what would never end, and with it the variables; what one needs is run again up to an example.
    for endless in ["loop {}", "loop { print(1) }"] {
        browser.js(&format!("{FIELD}.focus()"));
        browser.insert(endless);
        browser.press("Enter");
        browser.until(&format!("{STATE} === 'computing …'"));
        browser.js("[...document.querySelectorAll('.line button')].at(-1).focus()");
        browser.press("Enter");
        browser.until(&format!("{STATE}.startsWith('stopped')"));
    }
    line(&mut browser, "m");
    assert!(browser.text(&format!("{LAST}.textContent")).contains("unknown variable `m`"));
    let all = "[...document.querySelectorAll('section.prompt')[2].querySelectorAll('button')].find(one => one.textContent === 'Run all to here')";
    browser.js(&format!("{all}.focus()"));
    browser.press("Enter");
    browser.until(&format!("{IDLE} && {}.textContent.endsWith(' ms')", of(2, "[role=status]")));
    assert!(browser.is(&format!("{} && !{}", of(2, ".out svg"), of(2, ".out .error"))));

    // The mouse runs an example anew, whose output takes the place of the one before it.
    browser.js(&format!("{}.firstElementChild.id = 'before'", of(2, ".out")));
    browser.js(&format!("{}.id = 'again'", of(2, "button")));
    browser.click("#again");
    browser.until(&format!("!document.querySelector('#before') && {IDLE} && {}", of(2, ".out svg")));
    browser.has_both_dresses();

    // On a phone nothing scrolls sideways, and in the dark charts are dark.
    browser.dark(true);
    browser.size(360, 740);
    assert!(browser.is("document.documentElement.scrollWidth <= document.documentElement.clientWidth"));
    let ground = |of: &str, name: &str| format!("getComputedStyle({of}).getPropertyValue('{name}').trim()");
    let of_page = browser.text(&ground("document.body", "--ground"));
    for shown in [
        "document.querySelector('.out svg')",
        "document.querySelector('iframe.framed').contentDocument.querySelector('.microtome-cell > *')",
    ] {
        browser
            .until(&format!("{} === '{of_page}'", ground(&format!("{shown}.closest('.microtome-cell')"), "--ground")));
    }
    browser.photograph("guide");

    // Nothing was asked of anybody: all that was loaded lies beside the page.
    let is_beside =
        |address: &String| ["file:", "blob:", "data:", "about:"].iter().any(|start| address.starts_with(start));
    assert!(browser.requests.iter().all(is_beside), "{:#?}", browser.requests);
    assert!(browser.requests.iter().filter(|address| address.ends_with("/live-engine.js")).count() == 1);
    assert!(browser.problems.is_empty(), "{:#?}", browser.problems);
    assert_eq!(browser.js("fetch('https://example.org').then(() => false, () => true)"), true, "the page may connect");
}

/// All examples of a page run, from the first to the last: they end well, or say that the program does what they need.
#[test]
fn all_examples_of_a_page_end_well() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(site) = site(Path::new(env!("CARGO_MANIFEST_DIR")), folder.path()) else { return };
    let mut browser = Browser::start(chromium, &folder.path().join("profile"));
    for (page, least) in [("docs/tensors.html", 5), ("docs/from-python.html", 20), ("docs/reference/stats.html", 3)] {
        open(&mut browser, &site, page);
        let count = browser.number("document.querySelectorAll('section.prompt').length") as usize;
        assert!(count >= least, "{page} has {count} examples");
        let mut refused = 0;
        for example in 0..count {
            browser.js(&format!("{}.click()", of(example, "button:not([hidden])")));
            browser.until(&format!("{IDLE} && {}.textContent.endsWith(' ms')", of(example, "[role=status]")));
            let error = browser.js(&format!("{}?.textContent ?? ''", of(example, ".out .error")));
            let error = error.as_str().unwrap();
            assert!(error.is_empty() || error.contains("`microtome run FILE`"), "{page}, example {example}: {error}");
            refused += usize::from(!error.is_empty());
        }
        assert!(refused * 10 <= count, "{page}: {refused} of {count} examples need the program");
    }
    assert!(browser.problems.is_empty(), "{:#?}", browser.problems);
}

/// The site of the page with a hostile text.
fn hostile_site(folder: &Path) -> Option<PathBuf> {
    let source = folder.join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("README.md"), PAGE).unwrap();
    site(&source, folder)
}

#[test]
fn a_page_runs_from_a_host_and_asks_nothing_else_of_it() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(site) = hostile_site(folder.path()) else { return };
    let host = host(&site);
    let mut browser = Browser::start(chromium, &folder.path().join("profile"));
    browser.open(&format!("{host}/index.html"));
    browser.until("document.querySelector('section.prompt')");
    browser.click("section.prompt button");
    browser.until(&format!("{IDLE} && document.querySelector('.out svg')"));
    assert!(browser.is("!document.querySelector('#evil')") && browser.text("document.title") == "A page");
    assert!(browser.problems.is_empty(), "{:#?}", browser.problems);
    let loaded: Vec<&str> = browser.requests.iter().filter_map(|address| address.strip_prefix(&host)).collect();
    assert!(loaded.contains(&"/live-engine.js") && loaded.contains(&"/live-model.js"), "{loaded:?}");
    assert_eq!(browser.js("fetch('search.js').then(() => false, () => true)"), true, "the page may connect");
}

#[test]
fn a_page_runs_in_firefox_from_its_folder() {
    let Some(program) = firefox() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(site) = hostile_site(folder.path()) else { return };
    let mut browser = Firefox::start(program, &folder.path().join("profile"));
    browser.open(&format!("file://{}", site.join("index.html").display()));
    browser.until("document.querySelector('section.prompt')");
    browser.js("document.querySelector('section.prompt button').focus()");
    browser.press(ENTER);
    browser.until(&format!("{IDLE} && document.querySelector('.out svg')"));
    let said = browser.text("document.querySelector('.out').innerText");
    assert!(said.contains("> m.config.layers  //=> 6") && said.contains("<img src=x id=evil"), "{said}");
    assert_eq!(browser.js("document.querySelector('#evil')"), serde_json::Value::Null);
    browser.js(&format!("{FIELD}.focus()"));
    browser.press("m.config.lay");
    browser.press(TAB);
    browser.until(&format!("{FIELD}.value === 'm.config.layers'"));
    browser.press(&format!(" + nothing{ENTER}"));
    browser.until(&format!("!{FIELD}.value && {IDLE} && {LAST}.className === 'error'"));
    assert!(browser.text(&format!("{LAST}.textContent")).contains("│ m.config.layers + nothing\n"));
    browser.press(&format!("loop {{}}{ENTER}"));
    browser.until(&format!("{STATE} === 'computing …'"));
    browser.js("[...document.querySelectorAll('.line button')].at(-1).click()");
    browser.until(&format!("{STATE}.startsWith('stopped')"));
    browser.press(&format!("1 + 1{ENTER}"));
    browser.until(&format!("!{FIELD}.value && {IDLE} && {LAST}.textContent === '2'"));
    browser.size(360, 740);
    assert_eq!(browser.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), true);
    assert_eq!(browser.js("fetch('https://example.org').then(() => false, () => true)"), true, "the page may connect");
    assert_eq!(browser.text("document.title"), "A page");
}
