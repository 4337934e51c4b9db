//! The explorer in headless Chromium, from the real binary: it is typed into, clicked, filtered, used by the keyboard
//! alone and on a phone; hostile texts stay texts; two run at once; one ends with its page open.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use super::page::chromium;
use super::support::browser::Browser;
use super::support::{microtome, printed};

/// Two small dictionaries of the model inside, whose features have a tree, and two lenses.
const DICTIONARIES: &str = r##"
let m = model::load("tiny");
let text = data::text("sample", #{ tokens: 2000 });
for site in ["resid_post.0", "resid_post.2"] {
    sae::fit(m, site, text, #{ k: 4, d_sae: 96, steps: 20, seed: 1 }).save(site);
}
m.tuned_lens(text, #{ steps: 2, context: 16, seed: 1 }).save("tuned.safetensors");
m.jacobian_lens(text, #{ prompts: 1, context: 8, skip_first: 0 }).save("jacobian.safetensors");
"##;

fn fit(folder: &Path) {
    printed(microtome(folder).args(["-e", DICTIONARIES]));
}

/// An explorer that runs, until it is dropped.
struct Explorer {
    process: Child,
    address: String,
}

impl Explorer {
    fn start(folder: &Path, words: &[&str]) -> Self {
        let mut command = microtome(folder);
        command.args(["explore", "--model", "tiny", "--tokens", "2000"]);
        for site in ["resid_post.2", "resid_post.0"] {
            command.args(["--dictionary", &format!("out/{site}")]);
        }
        for lens in ["tuned", "jacobian"] {
            command.args(["--lens", &format!("out/{lens}.safetensors")]);
        }
        let mut process = command.args(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let found = lines.find_map(|line| {
            line.unwrap().split_whitespace().find(|word| word.starts_with("http://")).map(String::from)
        });
        // What it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: found.expect("an address") }
    }

    fn signal(&self, signal: i32) {
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, signal) }, 0);
    }

    fn end(&mut self) {
        let _it_may_have_ended = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        self.end();
    }
}

const STATUS: &str = "document.querySelector('#status').textContent";
/// The text of the tokens, with spaces and line ends as they were.
const TOKENS: &str = "[...document.querySelectorAll('.token')].map(one => one.textContent).join('').replaceAll('␣', ' ').replaceAll('↵', '')";
const ROWS: &str = "[...document.querySelectorAll('#rows a')].map(row => row.querySelector('b').textContent)";
const CARD: &str = "document.querySelector('#panel-card:not([hidden], [aria-busy=true]) dl') && document.querySelector('#panel-card h2').firstChild.textContent";
const KL: &str = "(document.querySelector('#next caption small')?.textContent ?? '')";
const DONE: &str = "document.querySelector('#continued').getAttribute('aria-busy') === 'false'";
/// Of the token whose features are listed: what is said of it, its number, and the feature among them that is open.
const LISTED: &str = "document.querySelector('#token small').textContent";
const NUMBER: &str = "Number(document.querySelector('#token small').textContent.match(/token ([0-9]+) of/)[1])";
const OPEN: &str = "(document.querySelector('#token [aria-current] b')?.textContent ?? '')";

/// Replaces the text, and waits until it is read.
fn read(page: &mut Browser, text: &str) {
    page.js("document.querySelector('#text').focus(); document.querySelector('#text').select()");
    page.insert(text);
    page.until(&format!("{TOKENS} === {}", serde_json::to_string(text).unwrap()));
}

fn nothing_is_wrong(page: &Browser) {
    assert!(page.problems.is_empty(), "{:#?}", page.problems);
}

#[test]
fn an_explorer_answers_to_typing_clicks_keys_and_touch() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    fit(folder.path());
    let explorer = Explorer::start(folder.path(), &[]);
    let mut page = Browser::start(chromium, &folder.path().join("profile"));
    page.open(&explorer.address);
    page.size(1280, 900);
    page.until("document.querySelectorAll('.token').length > 0");
    typing(&mut page);
    position_0(&mut page);
    let feature = card(&mut page);
    changes(&mut page, &feature);
    tree(&mut page);
    comparison(&mut page);
    heads(&mut page);
    lenses(&mut page);
    steps(&mut page, folder.path());
    keyboard(&mut page);
    phone(&mut page);
    hostile(&mut page);
    nothing_is_wrong(&page);
}

fn typing(page: &mut Browser) {
    read(page, "The dog (a small one) ran");
    // Keys one after the other, each of which is drawn; fifty tokens at the end.
    let more = " home, and she said, \"I have seen it before.\" Mary gave the book to John (her brother), who read it and went away.";
    for letter in more.chars() {
        page.press(&letter.to_string());
    }
    page.until(&format!("{TOKENS} === 'The dog (a small one) ran' + {}", serde_json::to_string(more).unwrap()));
    // Key by key, each of which is waited for.
    let pictures = "performance.getEntriesByName('key to picture').length";
    for letter in " She slept.".chars() {
        let before = page.number(pictures);
        page.press(&letter.to_string());
        page.until(&format!("{pictures} > {before}"));
    }
    let times =
        page.js("performance.getEntriesByName('key to picture').map(one => one.duration).sort((a, b) => a - b)");
    let times: Vec<f64> = serde_json::from_value(times).unwrap();
    assert!(times.len() >= 10 && times.iter().all(|time| *time > 0.0));
    let tokens = page.number("document.querySelectorAll('.token').length");
    let middle = times[times.len() / 2];
    let most = times[times.len() - 1];
    // Directly, since the harness captures the output of passing tests. A debug build beside other tests proves no time.
    let _best_effort = writeln!(
        std::io::stderr(),
        "explorer: from key to picture {middle:.0} ms (median), {most:.0} ms (most) of {} keys, at most {tokens} tokens",
        times.len()
    );
    // The features are those of the token that the cursor is in or behind, however it came there.
    page.until(&format!("{NUMBER} === document.querySelectorAll('.token').length"));
    page.js("document.querySelector('#text').setSelectionRange(3, 3)");
    page.until(&format!("{NUMBER} === 1"));
    page.press("ArrowRight");
    page.until(&format!("{NUMBER} === 2"));
    page.js("document.querySelector('#text').setSelectionRange(1e6, 1e6)");
    page.until(&format!("{NUMBER} === document.querySelectorAll('.token').length"));
    // Colours are shares of the largest, which is seen.
    let shares = "[...document.querySelectorAll('.token')].map(one => Number(one.style.getPropertyValue('--share')))";
    assert_eq!(page.js(&format!("Math.max(...{shares})")), 1);
    page.point(".token:nth-child(3)");
    page.until("document.querySelector('#token small').textContent.includes('token 3 of')");
    assert!(page.number("document.querySelectorAll('#token li').length") <= 8.0);
    // The list: it falls by what it is sorted by, and is filtered.
    page.click("#heads [data-by=feature]");
    let features: Vec<String> = serde_json::from_value(page.js(ROWS)).unwrap();
    let features: Vec<usize> = features.iter().map(|one| one.parse().unwrap()).collect();
    assert!(features.len() > 1 && features.is_sorted(), "{features:?}");
    let all = page.text(STATUS);
    page.click("#query");
    page.insert("no such words");
    page.until(&format!("{STATUS}.startsWith('0 of ')"));
    page.js("document.querySelector('#query').select()");
    page.insert(&features[1].to_string());
    page.until(&format!("{STATUS}.includes(' of ') && !{STATUS}.startsWith('0 ')"));
    assert!(page.is(&format!("{ROWS}.every(row => row.includes('{}'))", features[1])));
    page.js("document.querySelector('#query').select()");
    page.insert(" ");
    page.until(&format!("{STATUS} === {all:?}"));
    page.click("#heads [data-by=tokens]");
    let counts = page.js("[...document.querySelectorAll('#rows .tokens')].map(one => Number(one.textContent))");
    let counts: Vec<f64> = serde_json::from_value(counts).unwrap();
    assert!(counts.windows(2).all(|pair| pair[0] >= pair[1]), "{counts:?}");
    page.photograph("text");
}

/// Position 0 is left out of the colours and of the list, and counted again.
fn position_0(page: &mut Browser) {
    let is_out = "document.querySelector('.token').classList.contains('out')";
    if page.is("document.querySelector('#without').checked") {
        page.click("#without");
    }
    page.until(&format!("!{is_out}"));
    page.point(".token");
    page.until(&format!("{NUMBER} === 1"));
    // One of two digits, which few others have in their lines.
    let feature =
        page.text("[...document.querySelectorAll('#token b')].map(one => one.textContent).find(one => one.length > 1)");
    page.js("document.querySelector('#query').select()");
    page.insert(&feature);
    let count = format!("Number(document.querySelector('#rows a[href$=\"/{feature}\"] .tokens')?.textContent ?? 0)");
    page.until(&format!("{count} > 0"));
    let before = page.number(&count);
    page.click("#without");
    page.until(&format!("{is_out} && {count} === {before} - 1"));
    assert_eq!(page.text("document.querySelector('.token').style.getPropertyValue('--share')"), "0");
    page.point(".token");
    page.until(&format!("{LISTED}.endsWith('left out')"));
    page.click("#without");
    page.until(&format!("!{is_out} && {count} === {before}"));
    page.js("document.querySelector('#query').select()");
    page.insert(" ");
    page.until(&format!("!{STATUS}.includes(' of ')"));
}

/// Opens the card of the feature that is active at most tokens, which colours the text; its name.
fn card(page: &mut Browser) -> String {
    let feature = page.text("document.querySelector('#rows a b').textContent");
    page.click("#rows a");
    page.until(&format!("{CARD} === 'feature {feature} of resid_post.2'"));
    page.until(&format!("document.querySelector('#coloured [aria-pressed=true]').textContent.endsWith('/{feature}')"));
    page.until("document.querySelectorAll('#panel-card details li span').length > 0");
    // As many tokens have a ground as the list counts, but for codes below a two-hundredth of the largest.
    let count = "Number(document.querySelector('#rows a.open .tokens').textContent)";
    let grounds = "[...document.querySelectorAll('.token')].filter(one => Number(one.style.getPropertyValue('--share')) > 0).length";
    page.until(&format!("{grounds} > 0 && {grounds} <= {count} && {grounds} >= {count} / 2"));
    // It is listed at the token where it is largest; a token from whose list another one is opened stays.
    page.until(&format!("{OPEN} === '{feature}' && document.querySelector('.token[aria-selected=true]').style.getPropertyValue('--share') === '1'"));
    page.photograph("card");
    let listed = page.text(LISTED);
    page.click("#token a:not([aria-current])");
    page.until(&format!("!['', '{feature}'].includes({OPEN})"));
    assert_eq!(page.text(LISTED), listed);
    page.click(&format!("#rows a[href$='/{feature}']"));
    page.until(&format!("{CARD} === 'feature {feature} of resid_post.2' && {OPEN} === '{feature}'"));
    page.click("#coloured button");
    page.until("document.querySelector('#coloured button').getAttribute('aria-pressed') === 'true'");
    format!("resid_post.2/{feature}")
}

fn changes(page: &mut Browser, name: &str) {
    // The view begins with the open feature ablated, and offers it once more where that was taken back.
    let is_ablated = format!(
        "document.querySelector('#changes select')?.value === 'ablate' && document.querySelector('#changes a').textContent === '{name}'"
    );
    page.click("#tab-change");
    page.until(&format!("{is_ablated} && {DONE}"));
    let ablated = page.text(KL);
    page.click("#changes button");
    page.until("document.querySelectorAll('#changes li').length === 0");
    page.click("#add button");
    page.until(&is_ablated);
    page.click("#changes button");
    page.until("document.querySelectorAll('#changes li').length === 0");
    page.click("#tab-card");
    page.click(&format!("#panel-card [aria-label='Scale {name}']"));
    let both = "[...document.querySelectorAll('.continued b')].length === 2 && [...document.querySelectorAll('.continued b')].every(one => one.textContent !== '')";
    page.until(&format!("{DONE} && {both}"));
    page.until("document.querySelectorAll('#next tbody tr').length === 12");
    let sums = "[2, 3].map(column => [...document.querySelectorAll('#next tbody tr')].reduce((sum, row) => sum + Number(row.cells[column].textContent), 0))";
    assert!(page.is(&format!("{sums}.every(sum => sum > 1 && sum < 100.5)")), "probabilities in per cent");
    let scaled = page.text(KL);
    // Nothing is left of a feature that is scaled by 0, nor of one that is ablated.
    page.js("document.querySelector('#changes input[type=number]').select()");
    page.insert("0");
    page.until(&format!("{DONE} && {KL} !== {scaled:?}"));
    let none = page.text(KL);
    assert_eq!(none, ablated);
    page.js("const way = document.querySelector('#changes select'); way.value = 'ablate'; way.dispatchEvent(new Event('change'))");
    page.until(&format!("document.querySelectorAll('#changes input').length === 1 && {DONE}"));
    assert_eq!(page.text(KL), none);
    // Without the change the model is as it is.
    page.click("#changes input[type=checkbox]");
    page.until(
        "document.querySelector('#continued').hidden && document.querySelectorAll('#next tbody tr').length === 10",
    );
    page.click("#changes input[type=checkbox]");
    page.until(&format!("!document.querySelector('#continued').hidden && {DONE} && {KL} === {none:?}"));
    page.photograph("change");
}

fn tree(page: &mut Browser) {
    page.click("#tab-card");
    page.click("#panel-card [aria-label^='Grow the tree']");
    page.until("document.querySelector('#panel-tree svg a') && document.querySelectorAll('.nodes button').length > 1");
    page.photograph("tree");
    let title = "document.querySelector('#node h2').textContent";
    let root = page.text(title);
    let links = page.number("document.querySelectorAll('#panel-tree svg a').length");
    assert_eq!(links, page.number("document.querySelectorAll('.nodes li').length"));
    // To what it is computed from by a click in the drawing, and back by the list.
    page.js("const link = [...document.querySelectorAll('#panel-tree svg a')].find(one => !one.classList.contains('here')); link.querySelector('rect').id = 'other-node'");
    page.point("#other-node");
    let stands = "JSON.stringify(document.querySelector('#panel-tree svg').getBoundingClientRect())";
    let stood = page.text(stands);
    page.click("#other-node");
    page.until(&format!(
        "{title} !== {root:?} && document.querySelector('#other-node').closest('a').classList.contains('here')"
    ));
    // Its card stands beside the drawing, with contexts and effects on logits, and the drawing where it stood.
    page.until("document.querySelector('#node .facts') && document.querySelector('#node details[open] li span')");
    assert!(
        page.is("[...document.querySelectorAll('#node caption')].some(one => one.textContent.startsWith('Logits'))")
    );
    assert_eq!(page.text(stands), stood);
    assert!(page.is("document.querySelectorAll('#node .effects li').length > 0"));
    page.js("document.querySelector('#node .effects button').click()");
    page.until(&format!("{title} === {root:?}"));
    page.js("document.querySelector('#node .effects button').click()");
    page.until(&format!("{title}.startsWith('resid_post.0/')"));
    // Its card is of the other dictionary.
    page.click("#node a.button");
    page.until(&format!("({CARD} || '').endsWith('of resid_post.0')"));
    page.until("document.querySelector('#dictionary').selectedOptions[0].textContent.startsWith('resid_post.0')");
}

fn comparison(page: &mut Browser) {
    page.click("#tab-compare");
    page.click("#compared button");
    page.until("document.querySelectorAll('#compared tbody tr').length > 0");
    let cells = "[...document.querySelectorAll('#compared tbody tr')].map(row => [2, 3].map(column => row.cells[column].textContent))";
    assert!(page.is(&format!("{cells}.every(([a, b]) => a === b)")), "a text differs from itself");
    page.js("document.querySelector('#other').select()");
    page.insert("let total = sum([1, 2, 3]);");
    page.until(&format!("{cells}.some(([a, b]) => a !== b)"));
    page.photograph("compare");
}

/// The map of heads, by another score too, and the card of one.
fn heads(page: &mut Browser) {
    page.click("#tab-attention");
    page.until("document.querySelectorAll('#head-map button').length > 1");
    let scores = "[...document.querySelectorAll('#head-map button')].map(one => one.textContent).join(' ')";
    let induction = page.text(scores);
    page.js("document.querySelector('#head-map select').value = 'ablation'");
    page.js("document.querySelector('#head-map select').dispatchEvent(new Event('change'))");
    page.until(&format!("{scores} !== '{induction}'"));
    page.click("#head-map [data-head='1,1']");
    page.until("document.querySelector('#head-card h2').textContent === 'head 1.1'");
    page.until("document.querySelectorAll('#head-card details li span').length > 0");
    assert!(page.is("document.querySelector('#head-map [aria-pressed=true]').dataset.head === '1,1'"));
    page.photograph("heads");
}

/// The text by three lenses, which follow what is typed: their guesses, by pointer and by keys, and the rank of a token that
/// is pinned.
fn lenses(page: &mut Browser) {
    page.click("#tab-lenses");
    page.until("document.querySelectorAll('#panel-lenses .panel .columns > div').length === 3");
    let names =
        page.text("[...document.querySelectorAll('#panel-lenses figcaption')].map(one => one.textContent).join()");
    assert_eq!(names, "logit lens,tuned lens,Jacobian lens");
    let columns = "document.querySelectorAll('#panel-lenses figure:first-child thead th').length - 1";
    page.until(&format!(
        "{columns} === 32 && document.querySelector('#panel-lenses > p').textContent.startsWith('The last 32 of ')"
    ));
    // Side by side, on grounds, and the end of the text is in view.
    let tops = "new Set([...document.querySelectorAll('#panel-lenses figure')].map(one => one.getBoundingClientRect().top)).size";
    assert_eq!(page.number(tops), 1.0);
    assert!(
        page.is(
            "[...document.querySelectorAll('#panel-lenses td[data-at]')].every(one => one.style.background !== '')"
        )
    );
    // The panel begins with what the last layer predicts at the end.
    let title = "document.querySelector('#panel-lenses .panel h3').textContent";
    let first = "document.querySelector('#panel-lenses .panel li')";
    assert!(page.is(&format!("{title}.startsWith('Layer 5, position ')")), "{}", page.text(title));
    let share = format!("parseFloat({first}.querySelector('small').textContent)");
    assert!(page.is(&format!("{share} > 0 && {share} <= 100")));
    page.click("#panel-lenses td[data-at='1 0 30']");
    page.until("document.querySelector('#panel-lenses .pinned h3')?.textContent.startsWith('Rank of ')");
    assert_eq!(page.number("document.querySelectorAll('#panel-lenses .pinned polyline').length"), 3.0);
    page.press("ArrowUp");
    page.press("ArrowDown");
    page.press("ArrowRight");
    page.until("document.activeElement.dataset.at === '1 1 31'");
    page.until(&format!("{title}.startsWith('Layer 1, position ')"));
    page.photograph("lenses");
    page.press("Escape");
    page.until("document.querySelector('#panel-lenses .pinned svg') === null");
    // What is typed is read anew, and a pin stays where its position does.
    read(page, "Mary gave the book to John");
    page.until(&format!("{columns} === document.querySelectorAll('.token').length"));
    let end = page.number(columns) - 1.0;
    page.click(&format!("#panel-lenses td[data-at='0 5 {end}']"));
    let pinned = "(document.querySelector('#panel-lenses .pinned h3')?.textContent ?? '')";
    page.until(&format!("{pinned}.endsWith(' at position {end}')"));
    let kept = page.text(pinned);
    read(page, "Mary gave the book to John and");
    page.until(&format!("{columns} === document.querySelectorAll('.token').length && {pinned} === {kept:?}"));
    // Of nothing there is nothing, and a text comes back.
    page.js("{ const field = document.querySelector('#text'); field.value = ''; field.dispatchEvent(new InputEvent('input', { bubbles: true })); }");
    page.until("document.querySelector('#panel-lenses .hint') !== null");
    read(page, "Mary gave the book to John");
    page.until(&format!("{columns} === document.querySelectorAll('.token').length"));
}

fn steps(page: &mut Browser, folder: &Path) {
    page.click("#tab-steps");
    let count = page.number("document.querySelectorAll('.steps li').length");
    let labels = page.text("document.querySelector('.steps').textContent");
    for label in ["Text “", "Card of resid_post.2/", "ablated", "Tree of ", "Compared with “"] {
        assert!(labels.contains(label), "{label} in {labels}");
    }
    let here = "[...document.querySelectorAll('.steps button')].findIndex(one => one.hasAttribute('aria-current')) + 1";
    let other = "document.querySelector('#other').value";
    page.click("#undo");
    page.until(&format!("{here} === {}", count - 1.0));
    page.click("#redo");
    page.until(&format!("{here} === {count} && {other} === 'let total = sum([1, 2, 3]);'"));
    page.click("#save");
    page.until("document.querySelector('#saved pre')");
    let path = page.text("document.querySelector('#saved code').textContent");
    let script = page.text("document.querySelector('#saved pre').textContent");
    assert_eq!(std::fs::read_to_string(folder.join(path)).unwrap(), script);
    assert!(script.contains("heads.card(1, 1)") && script.contains("lenses(m, fitted, \"Mary gave"), "{script}");
    page.photograph("steps");
}

fn keyboard(page: &mut Browser) {
    page.js("document.activeElement.blur()");
    page.press("?");
    page.until("document.querySelector('#keys').open");
    page.press("Escape");
    page.until("!document.querySelector('#keys').open");
    page.press("e");
    page.until("document.activeElement.id === 'text'");
    // A key that means something elsewhere is a letter here.
    page.press("s");
    page.until(&format!("document.querySelector('#text').value.endsWith('s') && {TOKENS}.endsWith('s')"));
    page.press("Escape");
    page.until("document.activeElement.classList.contains('token')");
    page.until(&format!("{NUMBER} === document.querySelectorAll('.token').length"));
    assert!(page.is("document.activeElement.matches(':focus-visible') && parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2"));
    page.press("Home");
    page.press("ArrowRight");
    page.press("ArrowRight");
    page.until("document.querySelector('.token:nth-child(3)') === document.activeElement");
    page.until("document.querySelector('#token small').textContent.includes('token 3 of')");
    let strongest = page.text("document.querySelector('#token b').textContent");
    page.press("Enter");
    page.until(&format!("({CARD} || '').startsWith('feature {strongest} of ')"));
    page.press("s");
    page.until(&format!("document.querySelector('#tab-change').ariaSelected === 'true' && document.querySelector('#changes').textContent.includes('/{strongest}')"));
    page.press("/");
    page.until("document.activeElement.id === 'query'");
    page.js("document.activeElement.select()");
    page.insert(" ");
    page.press("ArrowDown");
    page.until("document.activeElement === document.querySelector('#rows a')");
    page.press("ArrowDown");
    page.until("document.activeElement === document.querySelectorAll('#rows a')[1]");
    let first = page.text(&format!("{ROWS}[0]"));
    let second = page.text("document.activeElement.querySelector('b').textContent");
    page.press("Enter");
    page.until(&format!("({CARD} || '').startsWith('feature {second} of ')"));
    page.press("k");
    page.until(&format!("({CARD} || '').startsWith('feature {first} of ')"));
    page.press("6");
    page.until("document.activeElement.id === 'panel-lenses'");
    page.press("7");
    page.until("document.activeElement.id === 'panel-steps'");
    page.press("u");
    page.until("!document.querySelector('#redo').disabled");
    // From the head of the page through all that can be reached, each with a name.
    page.js("document.activeElement.blur(); document.querySelector('#dictionary').focus()");
    for _ in 0..12 {
        page.press("Tab");
        assert!(
            page.is("document.activeElement.ariaLabel || document.activeElement.textContent.trim()"),
            "something without a name"
        );
    }
}

fn phone(page: &mut Browser) {
    page.size(360, 740);
    for tab in ["text", "card", "change", "tree", "compare", "attention", "lenses", "steps"] {
        page.click(&format!("#tab-{tab}"));
        page.until(&format!("document.querySelector('#tab-{tab}').ariaSelected === 'true'"));
        assert!(page.is("document.documentElement.scrollWidth <= 360 && scrollX === 0"), "{tab} is wider than a phone");
        let high =
            "[...document.querySelectorAll('#tabs button')].every(one => one.getBoundingClientRect().height >= 44)";
        assert!(page.is(high), "the tabs are small");
    }
    page.click("#tab-text");
    page.until("document.querySelector('#text').checkVisibility()");
    let feature = page.text("document.querySelector('#token b').textContent");
    page.click("#token a");
    page.until(&format!("({CARD} || '').startsWith('feature {feature} of ')"));
    assert!(page.is("!document.querySelector('#text').checkVisibility()"));
    page.size(1280, 900);
}

fn hostile(page: &mut Browser) {
    let title = page.text("document.title");
    let markup = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">";
    read(page, markup);
    // Controls and marks of direction are seen, halves of characters too, and nothing runs.
    page.js("document.querySelector('#text').select()");
    page.insert("a\u{202e}b\u{7}c \u{1f9e0}");
    page.until(&format!("/^a.+b.+c .*<0x/.test({TOKENS})"));
    assert!(page.is("!/[\\u0000-\\u0009\\u000b-\\u001f\\u202e]/.test(document.querySelector('#reading').innerText)"));
    // Half a character in the field, as a broken input method leaves it.
    page.js("{ const field = document.querySelector('#text'); field.value = 'half \\ud83e'; field.dispatchEvent(new InputEvent('input', { bubbles: true })); }");
    page.until(&format!("{TOKENS}.startsWith('half ') && document.querySelector('#refused').textContent === ''"));
    page.js("document.querySelector('#text').select()");
    page.insert("שלום (hello) עולם");
    page.until("getComputedStyle(document.querySelector('#tokens')).direction === 'rtl' && getComputedStyle(document.querySelector('#text')).direction === 'rtl'");
    page.photograph("right-to-left");
    page.js("{ const field = document.querySelector('#text'); field.value = 'x'.repeat(100000); field.dispatchEvent(new InputEvent('input', { bubbles: true })); }");
    page.until(&format!("{STATUS}.includes('beyond the context')"));
    assert!(page.is("document.documentElement.scrollWidth <= innerWidth"));
    assert_eq!(page.js("document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(page.text("document.title"), title);
    // What the server refuses is said where it belongs, and the field is as it was.
    page.js("document.querySelector('#text').select()");
    page.insert("a");
    page.until(&format!("{TOKENS} === 'a'"));
    page.js("location.hash = '#0/99999'");
    page.until("document.querySelector('#panel-card .warning')?.textContent.includes('0 to 95')");
}

#[test]
fn two_explorers_run_at_once_and_a_page_outlives_its_explorer() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    fit(folder.path());
    let mut first = Explorer::start(folder.path(), &[]);
    let second = Explorer::start(folder.path(), &[]);
    let mut page = Browser::start(chromium, &folder.path().join("profile"));
    let left = page.open(&first.address);
    page.until("document.querySelectorAll('.token').length > 0");
    let right = page.open(&second.address);
    page.until("document.querySelectorAll('.token').length > 0");
    // Both answer, each what it was asked.
    for (side, text) in [(&left, "one (left)"), (&right, "the other, right"), (&left, "one again")] {
        page.drive(side);
        read(&mut page, text);
    }
    page.drive(&right);
    assert_eq!(page.text(TOKENS), "the other, right");
    nothing_is_wrong(&page);
    // An explorer that stands still for a while is waited for.
    page.drive(&left);
    let trouble = "document.querySelector('#trouble')";
    first.signal(libc::SIGSTOP);
    page.js("document.querySelector('#text').focus(); document.querySelector('#text').select()");
    page.insert("typed while it stood");
    page.until(&format!("!{trouble}.hidden"));
    first.signal(libc::SIGCONT);
    page.until(&format!("{trouble}.hidden && {TOKENS} === 'typed while it stood'"));
    // One that has ended: the page says so, keeps what is typed, and knows that the next one is another.
    first.end();
    page.js("document.querySelector('#text').select()");
    page.insert("typed after it ended");
    page.until(&format!("!{trouble}.hidden && {trouble}.textContent.includes('does not answer')"));
    assert_eq!(page.text("document.querySelector('#text').value"), "typed after it ended");
    page.photograph("gone");
    let port = first.address.split([':', '/']).nth(4).unwrap().to_string();
    let third = Explorer::start(folder.path(), &["--port", &port]);
    page.until(&format!("{trouble}.textContent.includes('new address')"));
    assert_eq!(page.text("document.querySelector('#text').value"), "typed after it ended");
    assert_ne!(third.address, first.address);
    // The other one never noticed.
    page.drive(&right);
    read(&mut page, "still here");
}
