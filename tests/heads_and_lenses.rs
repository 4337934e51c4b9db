//! Pages of attention heads and of lenses in headless Chromium: their numbers are those that the calls give, by pointer and
//! by keyboard, in light, in dark and on a phone, and whatever stands in a text stays text.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::page::chromium;
use super::support::browser::Browser;
use super::support::{microtome, printed};

/// A model that reads words that look like HTML, and a text of them.
const WORDS: &str = r##"
let words = ["<img/src=x/onerror=document.title='broken'>", "</script>", "\u202eback", "(", ")", "\u0007bell", "it", "is"];
let m = model::init(#{ layers: 3, d_model: 8, heads: 2, vocab: 8, context: 16 }, #{ words: words, seed: 1 });
let line = "";
for i in 0..60 { line += words[(i * i + 2 * i + div(i, 7)) % 8] + " "; }
let text = data::texts([line]);
"##;

/// The cells of a map of heads.
const LINKS: &str = "document.querySelectorAll('.map a')";

const HEADS: &str = r##"
let s = sae::fit(m, "resid_post.1", text, #{ k: 2, d_sae: 12, steps: 2, seed: 1 });
let heads = features::heads(m, text, #{ dictionaries: s, top: 3 });
heads.save("heads.html");
heads.save("heads.json");
"##;

const LENSES: &str = r##"
let rows = text.ids(m, #{ rows: 2 });
let lenses = [m.tuned_lens(rows, #{ steps: 3, seed: 1 }), m.jacobian_lens(rows, #{ skip_first: 0 })];
let page = m.lens_page(rows[0], lenses, #{ k: 3, pin: 5 });
page.save("lenses.html");
page.save("lenses.json");
"##;

/// Runs a script in a folder, and returns the folder that it wrote to.
fn written(script: &str, folder: &Path) -> PathBuf {
    std::fs::write(folder.join("pages.rhai"), format!("{WORDS}{script}")).unwrap();
    printed(microtome(folder).args(["run", "pages.rhai"]));
    folder.join("out")
}

fn data(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What a function of JavaScript gives for each of some elements.
fn each(page: &mut Browser, elements: &str, what: &str) -> Vec<Value> {
    page.js(&format!("[...{elements}].map(one => {what})")).as_array().unwrap().clone()
}

/// Looks at what is seen, which nothing is wider than.
fn photograph(page: &mut Browser, view: &str) {
    page.photograph(view);
    for width in [360, 1280] {
        page.size(width, 900);
        assert!(page.is(&format!("document.documentElement.scrollWidth <= {width}")), "{view} is wider than {width}");
    }
}

fn opened(chromium: &str, folder: &Path, path: &Path) -> Browser {
    let html = std::fs::read_to_string(path).unwrap();
    // The name of SVG is no address.
    let html = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains('\u{202e}'));
    let mut page = Browser::start(chromium, &folder.join("profile"));
    page.open(&format!("file://{}", path.display()));
    page.size(1280, 900);
    page
}

fn nothing_is_wrong(page: &mut Browser) {
    assert!(page.problems.is_empty(), "{:#?}", page.problems);
    assert!(!page.is("document.title === 'broken'") && page.is("document.querySelectorAll('img').length === 0"));
}

#[test]
fn a_map_of_heads_shows_their_scores_and_opens_their_cards() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = written(HEADS, folder.path());
    let data = data(out.join("heads.json"));
    let mut page = opened(chromium, folder.path(), &out.join("heads.html"));
    page.until("document.querySelector('.map select') !== null");
    let cards = data["cards"].as_array().unwrap();
    assert_eq!(cards.len(), 6);
    for (place, score) in ["previous", "duplicate", "induction", "copying", "first", "ablation"].iter().enumerate() {
        page.js(&format!("document.querySelector('.map select').value = {place}"));
        page.js("document.querySelector('.map select').dispatchEvent(new Event('change'))");
        let seen = each(&mut page, LINKS, "one.textContent");
        let number = format!("Number(one.title.split('\\n')[{place}].split(' ')[1])");
        let exact = each(&mut page, LINKS, &number);
        for ((card, seen), exact) in cards.iter().zip(seen).zip(exact) {
            let expected = card[*score].as_f64().unwrap();
            let shown: f64 = seen.as_str().unwrap().parse().unwrap();
            assert!((shown - expected).abs() <= 0.0051, "{score}: {shown}, and {expected} was computed");
            assert!((exact.as_f64().unwrap() - expected).abs() <= 6e-4 * expected.abs(), "{score}: {exact} {expected}");
        }
    }
    page.click(".map tbody tr:nth-child(2) td:nth-child(3) a");
    let visible = "[...document.querySelectorAll('details.feature')].filter(one => one.checkVisibility())";
    page.until(&format!("{visible}.length === 1 && {visible}[0].open"));
    assert_eq!(page.text(&format!("{visible}[0].querySelector('summary b').textContent")), "head 1.1");
    let card = &cards[3]["card"];
    let weights: Vec<f64> = card["contexts"][0]["texts"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|text| text["values"].as_array().unwrap())
        .map(|value| value.as_f64().unwrap())
        .filter(|value| *value != 0.0)
        .collect();
    let spans = format!("{visible}[0].querySelectorAll('.contexts span span')");
    let seen = each(&mut page, &spans, "Number(one.title)");
    assert_eq!(seen.len(), weights.len());
    assert!(seen.iter().zip(&weights).all(|(a, b)| (a.as_f64().unwrap() - b).abs() <= 6e-4 * b.abs()));
    let tables = page.number(&format!("{visible}[0].querySelectorAll('.tables table').length"));
    assert_eq!(tables as usize, card["tables"].as_array().unwrap().len());
    assert_eq!(tables, 3.0, "two of tokens, and the features that it writes");
    page.press("ArrowLeft");
    page.until("document.activeElement.ariaLabel === 'head 1.0'");
    page.press("ArrowDown");
    page.press("Enter");
    page.until(&format!(
        "{visible}.length === 1 && {visible}[0].querySelector('summary b').textContent === 'head 2.0'"
    ));
    photograph(&mut page, "heads");
    nothing_is_wrong(&mut page);
}

#[test]
fn a_page_of_lenses_shows_what_they_read_and_draws_the_ranks_of_pinned_tokens() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = written(LENSES, folder.path());
    let data = data(out.join("lenses.json"));
    let mut page = opened(chromium, folder.path(), &out.join("lenses.html"));
    page.until("document.querySelectorAll('.panel .columns > div').length === 3");
    let lenses = data["lenses"].as_array().unwrap();
    let names = each(&mut page, "document.querySelectorAll('.lenses figcaption')", "one.textContent");
    assert_eq!(names, lenses.iter().map(|lens| lens["name"].clone()).collect::<Vec<_>>());
    for (layer, position) in [(0, 0), (1, 4), (2, 7)] {
        page.point(&format!("td[data-at='1 {layer} {position}']"));
        let title = format!("Layer {layer}, position {position},");
        page.until(&format!("document.querySelector('.panel h3').textContent.startsWith('{title}')"));
        for (number, lens) in lenses.iter().enumerate() {
            let guesses = lens["guesses"][layer][position].as_array().unwrap();
            let column = format!("document.querySelectorAll('.panel .columns > div')[{number}]");
            let buttons = format!("{column}.querySelectorAll('button')");
            let ids = each(&mut page, &buttons, "Number(one.dataset.pin.split(' ')[1])");
            let shares = each(&mut page, &buttons, "parseFloat(one.lastChild.textContent) / 100");
            assert_eq!(ids, guesses.iter().map(|guess| guess["id"].clone()).collect::<Vec<_>>());
            for (share, guess) in shares.iter().zip(guesses) {
                let expected = guess["probability"].as_f64().unwrap();
                assert!((share.as_f64().unwrap() - expected).abs() <= 6e-3 * expected, "{share} {expected}");
            }
        }
    }
    // What the call names is pinned at the last position.
    pinned(&mut page, &data, 15, &Value::from(5));
    page.click(".rank-of .close");
    page.until("document.querySelectorAll('.rank-of').length === 0");
    // The likeliest token of the cell is pinned by a click, and another one from the panel.
    page.click("td[data-at='0 2 7']");
    pinned(&mut page, &data, 7, &lenses[0]["guesses"][2][7][0]["id"]);
    page.click(".panel .columns > div:nth-child(2) li:nth-child(3) button");
    pinned(&mut page, &data, 7, &lenses[1]["guesses"][2][7][2]["id"]);
    page.js("document.querySelector(`td[data-at='0 2 7']`).focus()");
    page.press("ArrowUp");
    page.press("ArrowLeft");
    page.until("document.activeElement.dataset.at === '0 1 6'");
    page.press("Enter");
    pinned(&mut page, &data, 6, &lenses[0]["guesses"][1][6][0]["id"]);
    photograph(&mut page, "lenses");
    // All three are there, and one or all are let go of.
    page.until("document.querySelectorAll('.rank-of').length === 3");
    page.click(".rank-of:nth-child(2) .close");
    page.until("document.querySelectorAll('.rank-of').length === 2");
    pinned(&mut page, &data, 6, &lenses[0]["guesses"][1][6][0]["id"]);
    page.press("Escape");
    page.until("document.querySelector('.pinned svg') === null");
    nothing_is_wrong(&mut page);
}

/// Compares the ranks of the pinned token with those that the call gives: as numbers, and as points of the drawing.
fn pinned(page: &mut Browser, data: &Value, position: usize, id: &Value) {
    page.until(&format!("document.querySelector('.pinned h3')?.textContent.endsWith('at position {position}')"));
    let tracked = data["tracked"][position].as_array().unwrap();
    let token = tracked.iter().find(|token| token["id"] == *id).unwrap();
    let rows = page.number("document.querySelectorAll('.rank-of:first-child tbody tr').length") as usize;
    assert_eq!(rows, token["ranks"][0].as_array().unwrap().len());
    let mut points = 0;
    for (lens, ranks) in token["ranks"].as_array().unwrap().iter().enumerate() {
        for (layer, rank) in ranks.as_array().unwrap().iter().enumerate() {
            let cell =
                format!("document.querySelectorAll('.rank-of:first-child tbody tr')[{layer}].children[{}]", lens + 1);
            let seen = page.text(&format!("{cell}.firstChild?.textContent ?? ''"));
            assert_eq!(seen, if rank.is_null() { String::new() } else { rank["rank"].to_string() });
            points += usize::from(!rank.is_null());
        }
    }
    page.until(&format!("document.querySelectorAll('.rank-of:first-child circle').length === {points}"));
}
