//! A dashboard opened from the file system in headless Chromium: the index sorts, filters and searches, cards open by
//! pointer and by keyboard, circuits lead to cards and back, heads to features, and whatever stands in a text stays text.

use std::path::{Path, PathBuf};

use super::page::{browse, chromium, photograph, title};
use super::support::{microtome, printed};

/// Words that look like HTML, control characters, right-to-left text, and one of 3,000 characters.
const SCRIPT: &str = r##"
let long = "x"; long.pad(3_000, "xy");
let words = ["<img/src=x/onerror=top.document.title='broken'>", "</script>", "\u0007bell", "שלום", "(", ")", long, "\u202eback"];
let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 8, context: 16 }, #{ words: words, seed: 1 });
let line = "";
for i in 0..400 { line += words[(i * i + 2 * i + div(i, 7)) % 8] + " "; }
let text = data::texts([line]);
let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 3, d_sae: 300, steps: 2, seed: 1 });
let active = features::contexts(m, saes[1], text).table.to_map().rows.map(|row| row[1]);
let tree = circuit::causal_tree(m, saes, saes[1].feature(active[0]), text, #{ contexts: 2 });
let evil = "</script><img src=x onerror=\"top.document.title='broken'\">";
let words = |number, words, score| #{ feature: `resid_post.1/${active[number]}`, description: words, score: score };
let said = table([words.call(0, evil, 0.5), words.call(1, "zebra", 0.25)]);
let heads = features::heads(m, text, #{ dictionaries: saes, top: 3 });
let layout = #{ dir: "pages", descriptions: said, circuits: [tree], heads: heads };
let made = features::dashboard(m, saes, text, layout).to_map().fields;
run::check(made.cards == 600, "every feature has a card");
let again = features::dashboard(m, saes, text, layout).to_map().fields;
run::check(again["kept from before"] == 600 && again["made now"] == 0, "the same call finds all of them");
print(`${active[0]} ${active[1]}`);
"##;

/// What drives the page and writes what it saw into its own title, step after step.
const DRIVER: &str = r##"<!doctype html><meta charset="utf-8"><title>waiting</title>
<iframe src="index.html" width="WIDTH" height="800"></iframe>
<script>
const frame = document.querySelector("iframe");
const page = () => frame.contentDocument;
const at = (id) => page().getElementById(id);
const until = async (what) => { for (let i = 0; i < 400 && !what(); i++) await new Promise((next) => setTimeout(next, 10)); };
const status = () => at("status").textContent;
const rows = () => [...at("rows").children];
const first = () => rows()[0].querySelector("b").textContent;
const press = (key) => (page().activeElement || page().body).dispatchEvent(new frame.contentWindow.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const set = async (id, value) => {
  const before = status();
  const input = at(id);
  if (input.type === "checkbox") input.checked = value; else input.value = value;
  input.dispatchEvent(new Event(input.tagName === "INPUT" && input.type !== "checkbox" ? "input" : "change", { bubbles: true }));
  await until(() => status() !== before);
};
const heading = () => page().querySelector("#card h2")?.firstChild.textContent;
const found = [];
const note = (name, value) => found.push(`${name}=${value}`);
frame.onload = async () => {
  frame.onload = null;
  await until(() => status() === "600 features");
  note("all", status());
  note("drawn", rows().length < 100 && rows().length > 5);
  // By the column's head, or by the list that takes its place on a phone.
  at("sort").value = "feature false"; at("sort").dispatchEvent(new Event("change"));
  note("first", first());
  page().querySelector('#heads [data-by="density"]').click();
  const densities = rows().map((row) => parseFloat(row.querySelector(".density").textContent.replace("density", "")));
  note("falls", densities.every((density, place) => place === 0 || density <= densities[place - 1]));
  await set("query", "zebra");
  note("words", status());
  rows()[0].click();
  await until(() => heading());
  note("card", heading());
  note("reading", page().body.classList.contains("reading"));
  press("Escape");
  await until(() => !page().body.classList.contains("reading"));
  note("closed", !page().body.classList.contains("reading"));
  await set("query", "");
  await set("kind", "silent");
  note("silent", parseInt(status()) > 0);
  rows()[0].click();
  await until(() => heading());
  note("dead", page().querySelector("#card .badge").textContent);
  press("Escape");
  await set("kind", "all");
  await set("query", "bell");
  const shallow = parseInt(status());
  at("deep").checked = true; at("deep").dispatchEvent(new Event("change"));
  await until(() => parseInt(status()) > shallow);
  note("deeper", parseInt(status()) > shallow);
  await set("query", "");
  await set("dictionary", "1");
  note("one", status());
  press("ArrowDown");
  await until(() => heading());
  const one = heading();
  press("j");
  await until(() => heading() !== one);
  note("next", heading() !== one && heading().endsWith("of resid_post.1"));
  note("contexts", page().querySelectorAll("#card details[open] li span").length > 0);
  note("cut", [...page().querySelectorAll("#card *")].every((part) => part.childNodes.length > 1 || part.textContent.length < 2500));
  frame.contentWindow.location.hash = "#1/FIRST";
  await until(() => heading() === "feature FIRST of resid_post.1");
  note("said", page().querySelector(".meaning").textContent.startsWith("<" + "/script><img src=x"));
  note("bars", page().querySelectorAll("#card rect").length > 0);
  note("made", page().querySelectorAll("img, #card script").length);
  at("attention").querySelector("summary").click();
  const cell = () => at("head-map").querySelector('[data-head="1,0"]');
  note("heads", at("head-map").querySelectorAll("button").length);
  cell().click();
  await until(() => heading() === "head 1.0");
  note("head", heading());
  note("pressed", cell().getAttribute("aria-pressed"));
  note("attends", page().querySelectorAll("#card details[open] li span").length > 0);
  press("Escape");
  note("returned", page().activeElement.dataset.head);
  press("ArrowRight");
  note("right", page().activeElement.dataset.head);
  press("ArrowUp");
  note("up", page().activeElement.dataset.head);
  const select = at("head-map").querySelector("select");
  select.value = "first"; select.dispatchEvent(new Event("change"));
  note("score", cell().title.startsWith("head 1.0: first "));
  page().activeElement.click();
  await until(() => heading() === "head 0.1");
  // The features that a head writes lead to their cards.
  page().querySelector('#card a[href^="#1/"]').click();
  await until(() => heading() !== "head 0.1");
  note("written", heading().endsWith("of resid_post.1"));
  frame.contentWindow.location.hash = "#head/9/0";
  await until(() => !heading());
  note("none", page().querySelector("#card .hint").textContent);
  frame.contentWindow.location.hash = "#1/FIRST";
  await until(() => heading() === "feature FIRST of resid_post.1");
  const link = page().querySelector(".circuits a");
  const circuit = new Promise((loaded) => { frame.onload = loaded; });
  frame.contentWindow.location.href = link.href;
  await circuit;
  const shown = page().querySelector("details.feature[open]");
  note("node", shown && shown.checkVisibility());
  const back = new Promise((loaded) => { frame.onload = loaded; });
  frame.contentWindow.location.href = shown.querySelector('a[href^="../../index.html#"]').href;
  await back;
  await until(() => heading());
  note("back", heading());
  if (document.title === "waiting") document.title = found.join(" ");
};
</script>
"##;

/// The folder of the pages, and the two features that have words.
fn made(folder: &Path) -> (PathBuf, [String; 2]) {
    let said = printed(microtome(folder).args(["-e", SCRIPT]));
    let (first, second) = said.lines().last().and_then(|line| line.split_once(' ')).unwrap();
    (folder.join("out/pages"), [first.into(), second.into()])
}

#[test]
fn a_dashboard_is_used_by_pointer_and_keyboard_and_nothing_escapes_its_quotes() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (pages, [first, second]) = made(folder.path());
    let expected = format!(
        "all=600 features drawn=true first=0 falls=true words=1 of 600 features card=feature {second} of resid_post.1 \
                    reading=true closed=true silent=true dead=never active deeper=true one=300 of 600 features next=true \
                    contexts=true cut=true said=true bars=true made=0 heads=4 head=head 1.0 pressed=true attends=true returned=1,0 right=1,1 \
                    up=0,1 score=true written=true none=There is no head 9.0 here. node=true back=feature {first} of resid_post.1"
    );
    for width in ["1280", "420"] {
        let driver = pages.join("driver.html");
        std::fs::write(&driver, DRIVER.replace("WIDTH", width).replace("FIRST", &first)).unwrap();
        let words = ["--allow-file-access-from-files", "--virtual-time-budget=60000", "--dump-dom"];
        let dom = String::from_utf8(browse(chromium, &folder.path().join("profile"), &words, &driver)).unwrap();
        assert_eq!(title(&dom), expected.replace('<', "&lt;"), "at a width of {width}");
    }
    photograph(chromium, folder.path(), &pages.join("index.html"));
}
