//! `microtome explore --export`: the folder is opened from a file in headless Chromium, typed into and used by the keyboard, and
//! its engine's answers are compared with those of the explorer that the server has. It sleeps and wakes, answers two hundred questions
//! without taking more memory, and is opened from a host, and in Firefox.
//!
//! `MICROTOME_PAGE_ENGINE` names the folder of a built engine; without it, or without Chromium, the test says that it is
//! skipped.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use microtome::base::Task;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::explorer::answers::Question;
use microtome::explorer::{Explorer, ExplorerInputs, reply};
use microtome::tensor::Device;
use serde_json::{Value, json};

use crate::page::chromium;
use crate::support;
use crate::support::browser::Browser;
use crate::support::firefox::{Firefox, firefox};
use crate::support::host::host;

/// Two small dictionaries of the model inside, whose features have a tree.
const DICTIONARIES: &str = r##"
let m = model::load("tiny");
let text = data::text("sample", #{ tokens: 2000 });
for site in ["resid_post.0", "resid_post.2"] {
    sae::fit(m, site, text, #{ k: 4, d_sae: 96, steps: 20, seed: 1 }).save(site);
}
"##;

const SITES: [&str; 2] = ["resid_post.2", "resid_post.0"];

/// Number of tokens of the text that cards are made from.
const TOKENS: u64 = 2000;

/// Notes in `heard` what the page asks its workers from now on, and what they answer.
const LISTEN: &str = r"{
    const ask = Microtome.prototype.ask;
    globalThis.heard = [];
    Microtome.prototype.ask = async function (kind, rest, output) {
        const lines = [];
        const told = (one) => { if (one.kind === 'line' && !one.line.progress) lines.push(one.line); output?.(one); };
        const answer = await ask.call(this, kind, rest, told);
        heard.push({ ...rest, lines: [...lines, answer] });
        return answer;
    };
}";

fn microtome(folder: &Path, engine: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.current_dir(folder).env("MICROTOME_CACHE", "").env("MICROTOME_PAGE_ENGINE", engine);
    command.args(words).output().unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the lines of a reply, as the server sends them.
fn reply_of(explorer: &Explorer, name: &str, question: &Value) -> Vec<Value> {
    let (sender, lines) = std::sync::mpsc::channel();
    let carrier: reply::Carrier = Arc::new(move |line: &Value| {
        if line.get("progress").is_none() {
            sender.send(line.clone()).unwrap();
        }
    });
    let question = Question::parse(name, question.clone()).unwrap();
    let last = reply::last(reply::answer(explorer, question, &carrier, &Arc::new(AtomicBool::new(false))));
    lines.try_iter().chain([last]).collect()
}

/// Returns where two answers differ: in their form, in a text, or in a number by more than a hundred-thousandth.
fn difference(found: &Value, expected: &Value) -> Option<String> {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => {
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap());
            ((a - b).abs() > 1e-5 * (1.0 + b.abs())).then(|| format!("{a} for {b}"))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut each = a.iter().zip(b).enumerate();
            each.find_map(|(at, (a, b))| difference(a, b).map(|what| format!("[{at}]{what}")))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(key, a)| difference(a, &b[key]).map(|what| format!(".{key}{what}")))
        }
        _ if found == expected => None,
        _ => Some(format!(" {found} for {expected}")),
    }
}

const READ: &str = "[...document.querySelectorAll('.token')].map(one => one.textContent).join('').replaceAll('␣', ' ')";

#[test]
fn an_exported_page_answers_as_the_server_does() {
    let (Some(engine), Some(chromium)) = (support::page_engine(), chromium()) else { return };
    let folder = tempfile::tempdir().unwrap();
    succeeded(&microtome(folder.path(), &engine, &["-e", DICTIONARIES]));
    let tokens = TOKENS.to_string();
    let [first, second] = SITES.map(|site| format!("out/{site}"));
    let words = ["explore", "--tokens", &tokens, "--dictionary", &first, "--dictionary", &second, "--export", "site"];
    let said = succeeded(&microtome(folder.path(), &engine, &words));
    println!("{said}");
    assert!(said.contains("  engine-data.js\n") && said.trim_end().ends_with("in site/index.html"), "{said}");
    let mut page = Browser::start(chromium, &folder.path().join("profile"));
    page.open(&format!("file://{}", folder.path().join("site/index.html").display()));
    page.size(1280, 900);
    page.until("document.querySelectorAll('.token').length > 0");
    lasts(&mut page);
    page.js(LISTEN);
    used(&mut page);
    page.photograph("exported");
    page.has_both_dresses();
    page.size(360, 740);
    assert!(page.is("document.documentElement.scrollWidth <= 360"), "the page is wider than a phone");
    assert!(page.problems.is_empty(), "{:#?}", page.problems);
    let loaded = "performance.getEntriesByType('resource').map(one => one.name)";
    let is_beside = "/^(file|blob|data):/.test(name)";
    assert!(page.is(&format!("{loaded}.every((name) => {is_beside})")), "{}", page.js(loaded));
    let heard = page.js("heard");
    let refused = "fetch('https://example.org').then(() => false, () => true)";
    assert_eq!(page.js(refused), true, "the page may connect");
    assert_eq!(page.js("[localStorage.length, sessionStorage.length, document.cookie.length].join()"), "0,0,0");
    compare(folder.path(), heard.as_array().unwrap());
    page.problems.clear();
    page.open(&format!("{}/index.html", host(&folder.path().join("site"))));
    page.until("document.querySelectorAll('.token').length > 0");
    type_over(&mut page, "A host (of files)");
    assert!(page.problems.is_empty(), "{:#?}", page.problems);
    in_firefox(&folder.path().join("site/index.html"), &folder.path().join("firefox"));
}

/// Types a text in place of the one that is there, and waits until it is read.
fn type_over(page: &mut Browser, text: &str) {
    page.js("document.querySelector('#text').focus()");
    page.js("document.querySelector('#text').select()");
    page.insert(text);
    page.until(&format!("{READ} === '{text}'"));
}

/// Puts the tab to sleep while it is asked, and asks two hundred questions, of which the second hundred takes no more memory, and one
/// that means harm.
fn lasts(page: &mut Browser) {
    page.js("document.querySelector('#text').focus()");
    page.insert("A bird (");
    page.sleep(Duration::from_secs(2));
    page.until(&format!("{READ}.includes('A bird (')"));
    let mut hundred = || {
        for round in 0..100 {
            type_over(page, if round % 2 == 0 { "The cat (a large one)" } else { "She said (and smiled" });
        }
        page.memory()
    };
    let before = hundred();
    let grown = hundred() - before;
    println!("a hundred questions: {grown:.1} MB more than {before:.0} MB");
    assert!(grown < 60.0, "{grown} MB");
    let apart = page.text("document.querySelector('#apart').dataset.value").parse::<f64>().unwrap();
    println!("{}", page.text("document.querySelector('#apart').textContent"));
    assert!(apart < 1e-5, "{apart:e}");
    // A hostile text is a text.
    page.js("document.querySelector('#text').select()");
    page.insert("</script><img src=x onerror=\"document.title='broken'\"> (\u{202e}");
    page.until(&format!("{READ}.includes('onerror')"));
    assert!(!page.is("document.querySelector('img[src=x]')") && page.text("document.title") != "broken");
}

/// Types into the page in Firefox.
fn in_firefox(index: &Path, profile: &Path) {
    let Some(program) = firefox() else { return };
    let mut page = Firefox::start(program, profile);
    page.open(&format!("file://{}", index.display()));
    page.until("document.querySelectorAll('.token').length > 0");
    page.js("document.querySelector('#text').focus()");
    page.js("document.querySelector('#text').select()");
    page.press("The dog (a small one)");
    page.until(&format!("{READ} === 'The dog (a small one)'"));
    page.size(360, 740);
    assert_eq!(page.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), true);
}

/// Uses the page as a person does: types, opens a card by the keyboard, ablates its feature, compares, looks at heads, grows a tree, and
/// opens another feature by the mouse.
fn used(page: &mut Browser) {
    type_over(page, "The dog (a small one) ran");
    for letter in " home, she".chars() {
        page.press(&letter.to_string());
    }
    page.until(&format!("{READ} === 'The dog (a small one) ran home, she'"));
    page.press("Escape");
    page.until("document.activeElement.classList.contains('token')");
    page.press("Enter");
    // One may go on typing while a worker of its own reads the text for the card.
    page.until("document.querySelector('#panel-card:not([hidden], [aria-busy=true]) dl')");
    page.press("a");
    page.until("document.querySelector('#continued').getAttribute('aria-busy') === 'false'");
    page.press("4");
    page.until("document.activeElement.id === 'other'");
    page.insert("1, 2, 3");
    page.until("document.querySelectorAll('#compared tbody tr').length > 0");
    page.press("Escape");
    page.press("5");
    page.until("document.querySelectorAll('#head-map button').length > 1");
    page.press("g");
    page.until("document.querySelector('#panel-tree svg a') || document.querySelector('#panel-tree .warning')");
    page.click("#tokens .token:nth-child(3)");
    page.until("document.querySelector('#tokens .token:nth-child(3)').getAttribute('aria-selected') === 'true'");
    let other = "#token a:not([aria-current])";
    let address = page.text(&format!("document.querySelector('{other}').getAttribute('href')"));
    page.click(other);
    page.until(&format!("document.querySelector('#token a[aria-current]')?.getAttribute('href') === '{address}'"));
}

/// Compares all that the page's workers answered with the answers of an explorer of the program.
fn compare(folder: &Path, heard: &[Value]) {
    let path = |name: &str| folder.join("out").join(name).display().to_string();
    let inputs = ExplorerInputs {
        model: "tiny".into(),
        dictionaries: SITES.map(path).to_vec(),
        lenses: Vec::new(),
        text: "sample".into(),
        tokens: TOKENS,
        descriptions: None,
    };
    let heard = heard.to_vec();
    let out = folder.join("out");
    support::on_large_stack(move || {
        let files = Files::new(Access::new(&out, &Rules::default()).unwrap(), false);
        let explorer = Explorer::load(inputs, &files, &Device::Cpu, &Task::default()).unwrap();
        let mut names = Vec::new();
        for one in &heard {
            let name = one["name"].as_str().unwrap();
            let expected = json!(reply_of(&explorer, name, &one["question"]));
            let is_drawn = name == "tree" && expected[0]["done"] == true;
            // Of a tree the drawing is left out: it has coordinates with few digits.
            let [found, expected] = [&one["lines"], &expected].map(|lines| {
                let mut lines = lines.clone();
                if is_drawn {
                    lines[0]["tree"]["svg"] = Value::Null;
                }
                // A continuation comes in pieces of any length.
                if name == "continue" { json!([lines[0], lines.as_array().unwrap().last()]) } else { lines }
            });
            let apart = difference(&found, &expected);
            assert!(apart.is_none(), "{name} {}: {}", one["question"], apart.unwrap_or_default());
            names.push(name);
        }
        for name in ["read", "card", "continue", "compare", "heads", "tree"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
    });
}

#[test]
fn an_export_needs_an_engine_and_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let none = microtome(folder.path(), Path::new("nowhere"), &["explore", "--dictionary", "d", "--export", "site"]);
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(!none.status.success() && said.contains("MICROTOME_PAGE_ENGINE"), "{said}");
    assert!(!folder.path().join("site").exists());
}
