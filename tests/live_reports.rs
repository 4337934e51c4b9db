//! Live reports: one is saved with `tiny` and opened from its file in headless Chromium. By the keyboard a text is typed, a node
//! is scaled and ablated, by the mouse it is put back, and one goes back; the numbers are those of the program, and no connection
//! is made. A tab that sleeps answers when it wakes, a hundred questions take no more memory, hostile and endless texts are texts.
//! One whose matrices are int8 is opened in Firefox.
//!
//! `MICROTOME_PAGE_ENGINE` names the folder that `page/build` has made the engine in; without it the test says that it is skipped.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use microtome::script::Session;
use rhai::{Array, Dynamic};
use serde_json::Value;

use crate::page::chromium;
use crate::support::browser::Browser;
use crate::support::firefox::{Firefox, firefox};
use crate::support::{on_large_stack, page_engine, session};

/// Dictionaries of a few steps, the tree of a feature that promotes a bracket and is active in the text that is typed, and an item of
/// each other kind; the page, and a smaller one beside it.
const SAVED: &str = r#"
    let m = model::load("tiny");
    let text = data::text("sample", #{ tokens: 2_000 });
    let saes = sae::fit_all(m, ["resid_post.2", "resid_post.4"], text, #{ k: 8, ratio: 2, steps: 40, batch: 256, lr: 0.01, seed: 1 });
    let ranked = features::predicting(m, saes[-1], text, ")", #{ candidates: 32 });
    let codes = saes[-1].encode(m.cache(typed, "resid_post.4")["resid_post.4"])[0];
    let feature = (0..ranked.len).map(|rank| ranked[rank]).filter(|one| codes[[":", one.index]].max() > 0)[0];
    let tree = circuit::causal_tree(m, saes, feature, text, #{ contexts: 2, children: 2, min_effect: 0, tokens: 2_000 });
    let heads = features::heads(m, text, #{ rows: 2, sequences: 1, tokens: 8 });
    let transcoders = (0..6).map(|n| {
        sae::transcoder(m, `mlp_in.${n}`, `mlp_out.${n}`, text, #{ k: 4, d_sae: 64, steps: 20, batch: 256, seed: 1 })
    });
    let graph = circuit::attribution_graph(m, transcoders, "The dog (a", #{ targets: [")"] }).prune();
    let ids = |text| m.tokens(text).ids;
    let prompts = [ids.call("The dog (a small one"), ids.call("The dog , a small one")];
    let pairs = data::pairs([prompts[0]], [prompts[1]], #{ answers: ids.call(")"), wrong: ids.call(",") });
    let edges = circuit::edges(m, pairs).top(30);
    let card = features::card(m, saes[0].feature(tree.nodes[1].feature), text);
    let items = [tree, m.lens_page("The dog (", []), heads, card, graph, edges];
    report("live", items).save("small.html", #{ live: true, dtype: "q8" });
    report("live", items).save("live.html", #{ live: true })
"#;

/// The page of matrices of int8.
const SMALL: &str = "small.html";

/// The text that is typed.
const TYPED: &str = "The committee (which had met in March";

/// Numbers of the tree with that text, from the dictionaries that the page holds, as `FOLDER` has them: the largest codes of the
/// target and of its first child; then without the child that of the target, and the probability of ")" and the mean loss before
/// and after.
const NUMBERS: &str = r#"
    let target = tree.nodes[0];
    let child = tree.nodes[1];
    let later = sae::load("FOLDER/live/dictionary-0");
    let earlier = sae::load("FOLDER/live/dictionary-1");
    let code = |sae, node, options| {
        let codes = sae.encode(m.cache(typed, node.site, options)[node.site]);
        codes[[":", ":", node.feature]].abs().max()
    };
    let share = |options| m.logits(typed, options + #{ pos: -1 }).flatten().to("f64").softmax(-1).to_array()[m.tokens(")").ids[0]];
    let without = #{ hooks: hooks::zero(earlier.feature(child.feature)) };
    let codes = [code.call(later, target, #{}), code.call(earlier, child, #{}), code.call(later, target, without)];
    codes + [share.call(#{}), share.call(without), m.loss(typed), m.loss(typed, without)]
"#;

/// Writes the files that a page holds below a folder.
fn unpacked(page: &str, folder: &Path) {
    let inside = |id: &str| {
        let found = page.split(&format!("id=\"{id}\">")).nth(1).and_then(|rest| rest.split("</script>").next());
        found.unwrap_or_else(|| panic!("no {id}")).to_string()
    };
    let files: Value = serde_json::from_str(&inside("live-files")).unwrap();
    for (path, id) in files.as_object().unwrap() {
        let packed = STANDARD.decode(inside(id.as_str().unwrap())).unwrap();
        let mut bytes = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
        let place = folder.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, bytes).unwrap();
    }
}

/// A page, and what the program computes.
struct Saved {
    page: PathBuf,
    numbers: Vec<f64>,
}

fn saved(folder: &Path) -> Saved {
    let folder = folder.to_path_buf();
    on_large_stack(move || {
        let mut session: Session = session(&folder);
        let mut eval = |text: &str| session.eval("line", text).unwrap_or_else(|failure| panic!("{}", failure.message));
        let _typed = eval(&format!("let typed = {TYPED:?};"));
        let page = PathBuf::from(eval(SAVED).into_string().unwrap());
        unpacked(&std::fs::read_to_string(&page).unwrap(), &folder);
        let found: Dynamic = eval(&NUMBERS.replace("FOLDER", &folder.display().to_string()));
        let numbers = found.cast::<Array>().iter().map(|one| one.as_float().unwrap()).collect();
        Saved { page, numbers }
    })
}

/// Presses Tab until a condition holds of what has the focus.
fn tab_to(browser: &mut Browser, condition: &str) {
    for _ in 0..400 {
        browser.press("Tab");
        if browser.is(&format!("(() => {{ const at = document.activeElement; return {condition}; }})()")) {
            return;
        }
    }
    panic!("Tab never leads to what is {condition}");
}

fn near(browser: &mut Browser, code: &str, wanted: f64) {
    let found: f64 = browser.text(code).parse().unwrap_or_else(|_| panic!("{code} is no number"));
    println!("{code}: {found}, {:e} apart", (found - wanted).abs());
    assert!((found - wanted).abs() < 1e-5, "{code}: {found}, expected {wanted}");
}

#[test]
fn a_report_that_is_saved_live_answers_from_its_file() {
    let (Some(_), Some(chromium)) = (page_engine(), chromium()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Saved { page, numbers } = saved(folder.path());
    let [target, child, without, share, share_without, loss, loss_without] = numbers[..] else { panic!("{numbers:?}") };
    let [size, small] = [page.clone(), page.with_file_name(SMALL)].map(|page| std::fs::metadata(page).unwrap().len());
    println!("the page has {size} bytes, with int8 {small}");
    assert!(size <= 25_000_000 && small < size, "{size} bytes, {small} with int8");

    let mut browser = Browser::start(chromium, &folder.path().join("profile"));
    browser.open(&format!("file://{}", page.display()));
    let item = |number: usize| format!("document.querySelector('section.live[data-item=\"{number}\"]')");
    let tree = item(0);
    let state = format!("{tree}.querySelector('output').textContent");
    browser.until(&format!("{state} === 'as printed'"));
    println!("ready {} ms after opening", browser.number("Math.round(performance.now())"));
    let printed = browser.text(&format!("{tree}.querySelector('.printed').innerText"));
    browser.photograph("live-printed");

    // The text is typed where Tab leads first; what stood there is replaced.
    tab_to(&mut browser, &format!("at === {tree}.querySelector('textarea')"));
    browser.js("document.activeElement.select()");
    browser.insert(TYPED);
    browser.until(&format!("{state}.startsWith('live, ')"));
    println!("the first answer: {}", browser.text(&state));
    let code = |node: usize, place: usize| {
        format!(
            "{tree}.querySelector('[data-live=\"0 {node}\"]').closest('tr').querySelectorAll('.number')[{place}].dataset.value"
        )
    };
    let magnitude = |code: String| format!("String(Math.abs({code}))");
    near(&mut browser, &magnitude(code(0, 0)), target);
    near(&mut browser, &magnitude(code(1, 0)), child);
    assert!(browser.is(&format!("{tree}.querySelector('svg a.lit .code')")));

    compared(&mut browser, &tree);

    // A node is scaled, and ablated by the button behind its factor.
    let factor = format!("{tree}.querySelector('[data-live=\"0 1\"]').closest('tr').querySelector('input')");
    tab_to(&mut browser, &format!("at === {factor}"));
    browser.js("document.activeElement.select()");
    browser.insert("2");
    browser.until(&format!("{state}.startsWith('live, ') && {} !== ''", code(1, 1)));
    assert_eq!(browser.text(&format!("{factor}.value")), "2");
    browser.press("Tab");
    assert!(browser.is("document.activeElement.dataset.live === '0 1'"));
    browser.press("Enter");
    browser.until(&format!("{state}.startsWith('live, ') && {factor}.value === '0'"));
    assert_eq!(browser.text("document.activeElement.getAttribute('aria-pressed')"), "true");
    near(&mut browser, &magnitude(code(0, 1)), without);
    let fact = |name: &str, which: &str| {
        format!(
            "[...{tree}.querySelectorAll('dt')].find(dt => dt.textContent.startsWith('{name}')).nextElementSibling.dataset.{which}"
        )
    };
    near(&mut browser, &fact("mean loss", "value"), loss);
    near(&mut browser, &fact("mean loss", "changed"), loss_without);
    near(&mut browser, &fact("P(", "value"), share);
    near(&mut browser, &fact("P(", "changed"), share_without);
    browser.photograph("live-ablated");

    // By the mouse the node is put back, and nothing is changed any more.
    browser.click("section.live [data-live='0 1']");
    browser.until(&format!("{state}.startsWith('live, ') && {factor}.value === '1' && {} === ''", code(0, 1)));
    assert_eq!(browser.text("document.activeElement.getAttribute('aria-pressed')"), "false");
    near(&mut browser, &magnitude(code(0, 0)), target);
    browser.has_both_dresses();

    // A key is answered at once.
    browser.js(&format!("{tree}.querySelector('textarea').focus()"));
    browser.insert(",");
    browser.until(&format!("{state} !== 'computing …' && {tree}.querySelectorAll('.tokens span').length > 8"));
    println!("a key: {}", browser.text(&state));
    stays_within(&mut browser);

    // A tab that sleeps while it is asked answers when it wakes.
    let tokens = browser.number(&format!("{tree}.querySelectorAll('.tokens span').length"));
    browser.insert(" and");
    browser.sleep(Duration::from_secs(2));
    browser
        .until(&format!("{state}.startsWith('live, ') && {tree}.querySelectorAll('.tokens span').length > {tokens}"));

    // A hundred questions more take no more memory.
    let mut hundred = || {
        for round in 0..100 {
            browser.js("document.activeElement.select()");
            browser.insert(if round % 2 == 0 { TYPED } else { "He said (so" });
            browser.until(&format!("{state}.startsWith('live, ')"));
        }
        browser.memory()
    };
    let before = hundred();
    let grown = hundred() - before;
    println!("a hundred questions: {grown:.1} MB more than {before:.0} MB");
    assert!(grown < 60.0, "{grown} MB");

    // An endless text is read as far as the model reads.
    browser.js("document.activeElement.select()");
    browser.insert(&"(a) ".repeat(20_000));
    browser.until(&format!(
        "{state}.startsWith('live, ') && {tree}.querySelector('.answer .note').textContent.includes(' tokens ')"
    ));

    // And one goes back: what was printed is as it was.
    browser.js(&format!("{tree}.querySelector('.back').focus()"));
    browser.press("Enter");
    browser.until(&format!("{state} === 'as printed'"));
    assert!(browser.is(&format!("!{tree}.querySelector('svg a.lit') && {tree}.querySelector('.answer').hidden")));
    assert_eq!(browser.text(&format!("{tree}.querySelector('.printed').innerText")), printed);

    // The others answer, too; a hostile text is a text.
    let hostile = "</script><img src=x onerror=\"document.title='broken'\"> (\u{202e}";
    let shown = [(1, ".panel"), (2, "table.pattern td"), (3, ".tokens span"), (4, ".tokens span"), (5, "dl")];
    for (number, shown) in shown {
        let one = item(number);
        browser.js(&format!("{one}.querySelector('textarea').focus()"));
        browser.insert(hostile);
        browser.until(&format!("{one}.querySelector('output').textContent.startsWith('live, ')"));
        let seen =
            if number == 1 { format!("{one}.lastElementChild") } else { format!("{one}.querySelector('.answer')") };
        assert!(browser.is(&format!("{seen}.querySelector('{shown}')")), "item {number}");
        assert!(!browser.is(&format!("{one}.querySelector('img')")), "item {number}");
        if number > 1 {
            compared(&mut browser, &one);
        }
    }
    // A feature of the graph of transcoders, and a head or a layer, are ablated by the mouse.
    for number in [4, 5] {
        let one = item(number);
        browser.click(&format!("section.live[data-item='{number}'] .nodes [data-live]"));
        browser.until(&format!(
            "{one}.querySelector('output').textContent.startsWith('live, ') && {one}.querySelector('.answer dd').dataset.changed !== ''"
        ));
    }
    browser.photograph("live-others");
    assert_eq!(browser.text("document.title"), "live");

    stays_within(&mut browser);
    let loaded = "performance.getEntriesByType('resource').filter(one => /^(http|ws|file)/.test(one.name)).length";
    assert!(browser.number(loaded) == 0.0, "something was loaded");
    assert_eq!(browser.js("fetch('https://example.org').then(() => false, () => true)"), true, "the page may connect");
    assert_eq!(browser.js("[localStorage.length, sessionStorage.length, document.cookie.length].join()"), "0,0,0");
    assert!(browser.problems.iter().all(|problem| problem.contains("example.org")), "{:#?}", browser.problems);
    in_firefox(&page.with_file_name(SMALL), &folder.path().join("firefox"));
}

/// Waits until an item has compared itself with the program, by the numbers that the page was written with.
fn compared(browser: &mut Browser, item: &str) {
    browser.until(&format!("{item}.querySelector('.compared').textContent !== ''"));
    println!("{}", browser.text(&format!("{item}.querySelector('.compared').textContent")));
    near(browser, &format!("{item}.querySelector('.compared').dataset.value"), 0.0);
}

/// Checks that nothing scrolls sideways on a phone.
fn stays_within(browser: &mut Browser) {
    browser.size(360, 740);
    assert!(browser.is("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than a phone");
    browser.size(1280, 900);
}

/// Types into the first item of a page in Firefox, which compares itself with the program.
fn in_firefox(page: &Path, profile: &Path) {
    let Some(program) = firefox() else { return };
    let mut browser = Firefox::start(program, profile);
    browser.open(&format!("file://{}", page.display()));
    let tree = "document.querySelector('section.live')";
    browser.until(&format!("{tree}.querySelector('output').textContent === 'as printed'"));
    browser.js(&format!("{tree}.querySelector('textarea').focus()"));
    browser.js(&format!("{tree}.querySelector('textarea').select()"));
    browser.press(TYPED);
    browser.until(&format!("{tree}.querySelector('.compared').textContent !== ''"));
    println!("in Firefox: {}", browser.text(&format!("{tree}.querySelector('output').textContent")));
    assert_eq!(browser.text(&format!("{tree}.querySelector('textarea').value")), TYPED);
    let apart: f64 = browser.text(&format!("{tree}.querySelector('.compared').dataset.value")).parse().unwrap();
    assert!(apart < 1e-5, "{apart:e} apart in Firefox");
    browser.size(360, 740);
    assert_eq!(browser.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), true);
}
