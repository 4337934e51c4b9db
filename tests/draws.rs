//! Draws: the seed of a call that states none follows from the run's, from the function, from whose text the call stands
//! in, and from how often it was called there before, and from nothing else. So random controls never coincide, and an
//! unrelated line changes nothing.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support;
use microtome::base::random::OF_CALL;
use microtome::base::settings::Settings;
use microtome::base::task::Task;
use microtome::script::Session;
use microtome::script::docs::{OptionDoc, ReferenceEntry};
use microtome::script::engine::env::Env;
use microtome::script::engine::value::{Value, json};

/// A function that draws: lines before it, and a call, of which the value tells what was drawn. `$` is where an option goes.
struct Drawing {
    name: &'static str,
    before: &'static str,
    call: &'static str,
}

const fn drawing(name: &'static str, before: &'static str, call: &'static str) -> Drawing {
    Drawing { name, before, call }
}

const WORDS: &str = r#"
    let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    let s = saes[0];
"#;
const TUNED: &str = r#"
    let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    let tuned = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 2 });
"#;
const BRACKETS: &str = r#"
    let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    let texts = []; texts.pad(12, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    let text = data::texts(texts);
    let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
"#;
const VERBALISER: &str = r#"
    let words = ["user", "what", "is", "x"];
    let made = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 64 }, #{ words: words, seed: 1 });
    made.save("av");
    run::save_text("av/chat_template.jinja", "user {{ messages[0].content }} user");
    let tokens = "tokens:\n  injection_char: x\n  injection_token_id: 3\n  injection_left_neighbor_id: 2\n  injection_right_neighbor_id: 0\n";
    let meta = "kind: nla_model\nrole: av\nd_model: 8\nextraction:\n  injection_scale: 2.0\n" + tokens;
    run::save_text("av/nla_meta.yaml", meta + "prompt_templates:\n  av: what is {injection_char}\n");
    let m = model::load("av");
"#;
const ORACLE: &str = r#"
    let words = ["user", "what", "is", "?", "Layer:", "0"];
    let made = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 6, context: 64 }, #{ words: words, seed: 1 });
    made.save("ao");
    run::save_text("ao/chat_template.jinja", "user {{ messages[0].content }} user");
    let settings = #{ schema_version: 1, special_token: " ?", hook_onto_layer: 1, steering_coefficient: 1.0 };
    settings.prefix_template = "Layer: {layer}\\n{special_token} * {num_positions} \\n";
    settings.act_layer_combinations = [[0]];
    run::save_json("ao/ao_config.json", settings);
    let m = model::load("ao");
"#;
const IDS: &str = r#"
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 32 }, #{ seed: 1 });
    let x = tensor::randn([60, 4], #{ seed: 1 });
"#;
const STORED: &str = r#"
    let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    let kept = data::harvest(m, "resid_post.*", data::texts(["a b c d d c b a", "d a b b c a"]), #{ dir: "kept" });
"#;
const LETTERS: &str = r#"
    let t = data::tokenizer("a b c d e f", #{ kind: "words", min_frequency: 1 });
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    let text = data::texts(["a b c d d c b a", "d a b b c a", "e f a b c a e a", "f a c a b e d a", "b a e a c a"]);
    let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 6, d_sae: 24, steps: 2, seed: 1 });
"#;
const MANY: &str = r#"
    let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    let texts = [];
    for turn in 0..8 { texts.push("a b c d d c b a d b"); texts.push("c a d b a a c d c b a"); }
    let many = data::texts(texts);
    let s = sae::fit(m, "resid_post.0", many, #{ k: 2, d_sae: 12, steps: 2, seed: 1 });
"#;
const PARTS: &str = r#"
    let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    let text = data::texts(["a b c d d c b a", "d a b b c a c a"]);
    let d = decomposition::mlp(m, 1, text, #{ parts: 3, steps: 1, context: 8, batch: 1, seed: 1 });
"#;
const NETWORK: &str = r#"
    let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    let d = decomposition::fit(net, #{ parts: 3, steps: 1, batch: 8, seed: 1 });
"#;
const ATTENTION: &str = r#"
    let m = model::load("tiny");
    let rows = data::text("sample", #{ tokens: 100 });
    let l = sae::lorsa(m, 1, rows, #{ heads: 12, k: 2, steps: 1, context: 8, batch: 1, seed: 1 });
"#;

const PAST: &str = r#"
    let m = model::load("tiny");
    let rows = data::text("sample", #{ tokens: 100 });
    let t = sae::temporal(m, "resid_post.1", rows, #{ d_sae: 8, k: 2, steps: 1, context: 8, batch: 1, seed: 1 });
"#;

const ROWS: &str = r#"
    let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    let words = |turn| tensor::randint([10], 0, 4, #{ seed: turn }).to_array().map(|i| ["a", "b", "c", "d"][i]);
    let lines = (0..120).map(|turn| words.call(turn).reduce(|all, word| `${all} ${word}`, "a"));
    let rows = data::texts(lines);
    let saes = sae::fit_all(m, "resid_post.*", rows, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    let f = saes[0].features(0..4);
    let x = tensor::randn([60, 2], #{ seed: 1 });
    let y = (0..60).map(|i| i % 2 == 0);
"#;
const EDGES: &str = r#"
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 32 }, #{ seed: 1 });
    let pairs = (1..6).map(|i| #{ clean: [i, 2, 3], corrupt: [9 - i, 5, 3], answers: [i], wrong: [9 - i] });
    let found = circuit::edges(m, pairs);
    found.group("g", found.nodes.filter(|node| node.name.starts_with("z.0")).map(|node| node.name));
"#;
const COMPILED: &str = r#"
    let c = circuit::compiled("sort");
    let pairs = c.pairs(6);
    let found = circuit::edges(c.model, pairs, #{ method: "exact", ablation: "zero" });
"#;
const GRAPH: &str = r#"
    let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 });
    let c = g.prune(#{ nodes: 1 });
    let feature = c.nodes.filter(|node| "feature" in node)[0].name;
"#;

/// Each function that draws, in each of its ways. A test below holds the list to the sources.
const ALL: &[Drawing] = &[
    drawing("tensor::randn", "", "tensor::randn([4], #{ $ })"),
    drawing("tensor::uniform", "", "tensor::uniform([4], #{ $ })"),
    drawing("tensor::randint", "", "tensor::randint([9], 0, 1000, #{ $ })"),
    drawing("tensor::permutation", "", "tensor::permutation(30, #{ $ })"),
    drawing("data::toy", "", "data::toy(8, #{ $ d: 4, features: 6, active: 2 }).x"),
    drawing("data::toy", "", r#"data::toy("synth", #{ $ rows: 8, d: 4, features: 6, roots: 2 }).x"#),
    drawing(
        "model::init",
        "",
        r#"model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 5 }, #{ $ }).weight("embed")"#,
    ),
    drawing(
        "model::train",
        "let rows = [[1, 2, 3, 1], [2, 3, 1, 2]];",
        r#"model::train(#{ layers: 1, d_model: 4, heads: 1, vocab: 5 }, rows, #{ $ steps: 2 }).weight("embed")"#,
    ),
    drawing("Model.generate", WORDS, r#"m.generate("a b", #{ $ tokens: 24, temperature: 1, windowed: true })"#),
    drawing("Model.verbalise", VERBALISER, "m.verbalise(tensor::ones([8]), #{ $ tokens: 24 })"),
    drawing("Model.ask", ORACLE, r#"m.ask(tensor::ones([8]), "what is", #{ $ tokens: 24, temperature: 1 })"#),
    drawing("Model.generate_ids", IDS, "m.generate_ids([1, 2], #{ $ tokens: 24, temperature: 1 })"),
    drawing(
        "Model.tuned_lens",
        IDS,
        "m.tuned_lens([[1, 2], [3, 4], [5, 6], [7, 8], [9, 1]], #{ $ steps: 3, batch: 1 }).translator(0).matrix",
    ),
    drawing(
        "Monitor.generate",
        "let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 32 }, #{ seed: 1 });
         let p = probe::fit(tensor::randn([20, 4], #{ seed: 1 }), (0..20).map(|i| i % 2 == 0));
         let mon = intervene::monitor(p, #{ site: \"resid_post.0\", threshold: 100 });",
        "mon.generate(m, [1, 2], #{ $ tokens: 24, temperature: 1 }).ids",
    ),
    drawing(
        "probe::selectivity",
        "let y = (0..40).map(|i| i % 2 == 0); let x = tensor::randn([40, 2], #{ seed: 1 });",
        r#"probe::selectivity(x, y, #{ $ draws: 2 })["value"]"#,
    ),
    drawing("decomposition::fit", NETWORK, r#"decomposition::fit(net, #{ $ parts: 3, steps: 1, batch: 8 }).v("w")"#),
    drawing(
        "decomposition::mlp",
        ROWS,
        r#"decomposition::mlp(m, 1, rows, #{ $ parts: 3, steps: 1, context: 8, batch: 1 }).v("up")"#,
    ),
    drawing("Decomposition.effect", PARTS, "d.effect(m, text, #{ $ context: 8, batch: 1 })[2].up"),
    drawing("Decomposition.run", NETWORK, r#"d.run([[1, 0]], #{ $ masks: "random" })"#),
    drawing("Decomposition.worst", NETWORK, "d.worst([[1, 0]], #{ $ }).random"),
    drawing(
        "sae::lorsa",
        ATTENTION,
        "sae::lorsa(m, 1, rows, #{ $ heads: 12, k: 2, steps: 1, context: 8, batch: 1 }).directions",
    ),
    drawing("Lorsa.random", ATTENTION, "l.random(m, rows, #{ $ }).directions"),
    drawing(
        "sae::temporal",
        PAST,
        r#"sae::temporal(m, "resid_post.1", rows, #{ $ d_sae: 8, k: 2, steps: 1, context: 8, batch: 1 }).directions"#,
    ),
    drawing("TemporalSae.random", PAST, "t.random(m, rows, #{ $ }).directions"),
    drawing("Probe.judge", ROWS, "probe::fit(x, y).judge(x, y, #{ $ }).to_map()"),
    drawing("sae::fit", IDS, "sae::fit(x, #{ $ k: 2, d_sae: 6, steps: 2 }).directions"),
    drawing("sae::fit", WORDS, r#"sae::fit(m, "resid_post.0", text, #{ $ k: 2, d_sae: 6, steps: 2 }).directions"#),
    drawing(
        "sae::fit_all",
        WORDS,
        r#"sae::fit_all(m, "resid_post.*", text, #{ $ k: 2, d_sae: 6, steps: 2 })[1].directions"#,
    ),
    drawing("sae::fit_all", STORED, "sae::fit_all(kept, #{ $ k: 2, d_sae: 6, steps: 2 })[1].directions"),
    drawing("sae::sweep", IDS, "sae::sweep(x, #{ $ k: [1, 2], d_sae: 6, steps: 2 })[1].directions"),
    drawing(
        "sae::sweep",
        WORDS,
        r#"sae::sweep(m, "resid_post.0", text, #{ $ k: 2, d_sae: 6, steps: 2 })[0].directions"#,
    ),
    drawing(
        "sae::transcoder",
        WORDS,
        r#"sae::transcoder(m, "mlp_in.0", "mlp_out.0", text, #{ $ k: 2, ratio: 2, steps: 2 }).directions"#,
    ),
    drawing(
        "sae::crosscoder",
        WORDS,
        r#"sae::crosscoder(m, "resid_post.*", text, #{ $ l1: 0.01, ratio: 2, steps: 2 }).directions"#,
    ),
    drawing(
        "sae::cross_layer_transcoder",
        WORDS,
        r#"sae::cross_layer_transcoder(m, text, #{ $ k: 2, ratio: 2, steps: 2 }).measure_on(m, text)["fve"]"#,
    ),
    drawing("Sae.fine_tune", MANY, r#"s.fine_tune(m, many, #{ $ steps: 3, batch: 1, lr: 0.1 }).directions"#),
    drawing("sae::random", "", "sae::random(4, 6, #{ $ k: 2 }).directions"),
    drawing("sae::random", IDS, "sae::random(x, 6, #{ $ k: 2 }).directions"),
    drawing("sae::ica", "let x = tensor::uniform([200, 3], #{ seed: 1 });", "sae::ica(x, #{ $ count: 2 }).directions"),
    drawing("sae::nmf", "let x = tensor::uniform([60, 4], #{ seed: 1 });", "sae::nmf(x, 2, #{ $ k: 2 }).directions"),
    drawing(
        "sae::splitting",
        IDS,
        r#"sae::splitting(sae::random(8, 60, #{ k: 4, seed: 1 }), sae::random(8, 90, #{ k: 4, seed: 2 }), tensor::randn([2000, 8], #{ seed: 3 })).summary.to_map()"#,
    ),
    drawing(
        "sae::suppression",
        IDS,
        "sae::suppression(sae::random(4, 200, #{ k: 6, seed: 1 }), tensor::randn([2000, 4], #{ seed: 3 })).summary.to_map()",
    ),
    drawing(
        "sae::shapes",
        "let x = (tensor::randn([40, 1], #{ seed: 1 }) - tensor::arange(8) / 4).abs();",
        "sae::shapes(sae::neurons(8), x, #{ $ neighbours: 3 }).table.to_map()",
    ),
    drawing("sae::geometry", "", "sae::geometry(sae::random(4, 9, #{ seed: 1 })).summary.to_map()"),
    drawing("sae::universality", WORDS, "sae::universality(s, m, saes[1], m, text, #{ $ }).table.to_map()"),
    drawing("sae::evaluate", BRACKETS, "sae::evaluate(m, s, text, #{ $ rows: 2, labels: 2 }).table.to_map()"),
    drawing("sae::coverage", BRACKETS, "sae::coverage(m, s, text, #{ $ }).table.to_map()"),
    drawing(
        "subspace::das",
        IDS,
        r#"subspace::das(m, (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i }), #{ $ site: "resid_post.0", k: 2, steps: 2 }).basis"#,
    ),
    drawing(
        "intervene::erase",
        IDS,
        r#"intervene::erase(x, (0..60).map(|i| i % 2 == 0), #{ $ kind: "random", k: 2 }).apply(x)"#,
    ),
    drawing(
        "intervene::erasure",
        BRACKETS,
        r#"intervene::erasure(m, "resid_post.0", text, "bracket", #{ $ methods: ["leace", "random"], tokens: 512, context: 16 }).to_map()"#,
    ),
    drawing(
        "intervene::feature_patch",
        IDS,
        r#"intervene::feature_patch(m, sae::random(8, 100, #{ k: 20, seed: 1 }), [#{ clean: [1, 2, 3], corrupt: [1, 5, 3] }, #{ clean: [4, 2, 3], corrupt: [4, 7, 3] }], #{ $ site: "resid_post.0", thresholds: [1e-9, 1e-8, 3e-8, 1e-7] }).to_map()"#,
    ),
    drawing(
        "intervene::interactions",
        WORDS,
        r#"intervene::interactions(m, s.features([0, 1, 2, 3]), data::texts(["a b c d d c b a c a", "d a b b c a d b"]), #{ $ rows: 8 }).to_map()"#,
    ),
    drawing(
        "intervene::steer",
        IDS,
        r#"intervene::steer(m, #{ "resid_post.1": m.weight("unembed.weight")[7] }, [[1, 2], [3]], [[1, 2, 3, 4], [5, 6, 7]], #{ $ token: 7, strengths: [2] }).to_map()"#,
    ),
    drawing(
        "diff::mine",
        TUNED,
        "diff::mine(m, tuned, [[5, 6, 7, 1, 2], [8, 9, 3, 4]], #{ $ top: 5, topics: 2 }).to_map()",
    ),
    drawing(
        "diff::transcoder_adapters",
        ROWS,
        r#"diff::transcoder_adapters(m, model::init(m.config, #{ tokenizer: t, seed: 2 }), rows, #{ $ features: 6, steps: 1, context: 8, batch: 1 })[0].directions"#,
    ),
    drawing(
        "circuit::bridges",
        ROWS,
        r#"circuit::bridges(m, model::init(m.config, #{ tokenizer: t, seed: 2 }), rows, #{ $ steps: 1, context: 8, batch: 1 }).dictionaries[0].directions"#,
    ),
    drawing(
        "intervene::anchors",
        r#"let m = model::load("tiny");"#,
        r#"intervene::anchors(m, "The boat was old. The sea was calm.", |said| said.sub_string(0, 2), #{ $ rollouts: 4, tokens: 8, answer_tokens: 2, only: [1] }).to_map()"#,
    ),
    drawing(
        "intervene::axbench",
        BRACKETS,
        r#"intervene::axbench(m, #{ "resid_post.0": m.weight("unembed.weight")[2] }, ["to be", "or"], text, #{ $ label: "bracket", strengths: [0, 2], unit: "median", tokens: 8 }).to_map()"#,
    ),
    drawing(
        "intervene::pinned",
        WORDS,
        r#"intervene::pinned(m, s.feature(2), "a b", text, #{ $ tokens: 6, temperature: 1 }).to_map()"#,
    ),
    drawing("features::describe", ROWS, "features::describe(m, f, rows, #{ $ }).to_map()"),
    drawing(
        "features::score",
        ROWS,
        "features::score(m, f, features::explain(m, f, rows, #{ length: 6 }), rows, #{ $ length: 6 }).to_map()",
    ),
    drawing(
        "features::interpretability",
        ROWS,
        "features::interpretability(m, #{ all: f }, rows, #{ $ length: 6 }).to_map()",
    ),
    drawing(
        "features::save_batches",
        ROWS,
        "run::load_text(features::save_batches(m, saes[0], rows, #{ $ features: [0], top: 1, each: 2 })[0])",
    ),
    drawing("circuit::edge_pruning", COMPILED, "circuit::edge_pruning(c.model, c.pairs(2), #{ $ steps: 2 }).edges"),
    drawing(
        "circuit::shares",
        LETTERS,
        r#"circuit::shares(m, circuit::smallest(m, saes, text, #{ token: "a", share: 0.9 }), text, #{ $ draws: 3 }).to_map()"#,
    ),
    drawing("Circuit.judge", EDGES, "found.top(12).judge(m, pairs, #{ $ draws: 3 }).to_map()"),
    drawing(
        "Circuit.judge",
        WORDS,
        r#"circuit::causal_tree(m, saes, saes[1].feature(0), text).judge(m, text, #{ $ token: "a", draws: 3, labels: () }).to_map()"#,
    ),
    drawing(
        "Circuit.describe",
        ROWS,
        "circuit::causal_tree(m, saes, saes[1].feature(0), rows).describe(m, rows, #{ $ }).to_map()",
    ),
    drawing("Circuit.curve", EDGES, "found.curve(m, pairs, #{ $ shares: [0.2, 0.4], draws: 3 }).table.to_map()"),
    drawing("Circuit.ablate", EDGES, r#"found.ablate(m, pairs, "g", #{ $ draws: 3 }).to_map()"#),
    drawing("Circuit.ablate", GRAPH, "c.ablate(m, feature, #{ $ draws: 3 }).to_map()"),
    drawing("Circuit.steer", GRAPH, "c.steer(m, feature, #{ $ factor: 3, draws: 3 }).to_map()"),
    drawing(
        "Selection.enough",
        WORDS,
        r#"circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" }).enough(m, text, #{ $ sizes: [4], draws: 3 }).to_map()"#,
    ),
];

/// Functions of the stdlib that draw; their options are said in words.
const STDLIB: &[Drawing] = &[
    drawing("toy::train", "import \"std/toy\" as toy;", "toy::train(3, 2, #{ $ steps: 2 }).losses"),
    drawing(
        "toy::residual",
        "import \"std/toy\" as toy;",
        "toy::residual(3, [2], #{ $ width: 8, steps: 2, batch: 8 }).losses",
    ),
    drawing(
        "shapes::carried",
        "import \"std/shapes\" as shapes;
         let x = tensor::randn([60, 4], #{ seed: 1 });",
        "shapes::carried(x, x.sum(1), [0, 1], #{ $ draws: 2 })",
    ),
    drawing(
        "subspaces::das",
        "import \"std/subspaces\" as subspaces;
         let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });",
        r#"subspaces::das(m, (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i }), #{ $ site: "resid_post.0", steps: 2 })"#,
    ),
];

/// What has seed 0 where none is stated, whatever the run's and however often it was called, so that it is the same
/// whenever it is asked for: texts and pairs, splits, and what is only looked at. [`ROWS`] stands before all of them.
const OF_ZERO: &[(&str, &str)] = &[
    ("data::text", r#"data::text("grammar", #{ tokens: 60 }).documents(3).map(|document| document.text)"#),
    ("data::texts", "data::texts(lines, #{ shuffle: true }).ids(m, #{ rows: 6 })"),
    ("data::mix", r#"data::mix([[rows, 1], [data::texts(["a a a a a a a a"]), 1]]).ids(m, #{ rows: 6 })"#),
    ("data::sample", "data::sample(m).documents(3).map(|document| document.text)"),
    ("data::draw", "data::draw(m, #{ tokens: 40 }).ids"),
    ("data::pairs", r#"data::pairs("ioi", #{ n: 3 })"#),
    ("Compiled.pairs", r#"circuit::compiled("histogram").pairs(3)"#),
    ("probe::split", "probe::split(x, y).held_out.rows"),
    // The fragments that explain, and so those that `features::score` judges on.
    ("features::explain", "features::explain(m, f, rows, #{ length: 6 }).map(|one| one.text)"),
    ("features::contexts", "features::contexts(m, saes[0], rows)[0].to_map()"),
    ("features::card", "features::card(m, f[0], rows).to_map()"),
    ("features::heads", "features::heads(m, rows, #{ rows: 2 }).to_map()"),
    (
        "features::dashboard",
        r#"{ features::dashboard(m, saes[0], rows, #{ features: 0..2 }); run::load_json("dashboard/dashboard.json").data }"#,
    ),
    ("sae::map", "sae::map(sae::random(8, 20, #{ seed: 1 }), #{ epochs: 20 })"),
];

/// What has the seed of the run, since it is a run.
const OF_RUN: [&str; 1] = ["run::script"];

fn evaluated(session: &mut Session, code: &str) -> Result<Value, String> {
    session.eval("line", code).map_err(|failure| format!("{code}: {}", failure.message))
}

/// What a value is, as text.
fn text(value: &Value) -> String {
    json(value, &Task::default()).unwrap().to_string()
}

/// Evaluates lines of which the value does not matter.
fn done(session: &mut Session, code: &str) -> Result<(), String> {
    evaluated(session, &format!("{code};")).map(drop)
}

fn said(session: &mut Session, code: &str) -> String {
    text(&evaluated(session, code).unwrap())
}

impl Drawing {
    /// The call with another option, if it takes any.
    fn with(&self, option: &str) -> Option<String> {
        self.call.contains('$').then(|| self.call.replace('$', option))
    }

    /// What is wrong with its draws; `lines` are what `tensor::randn([3])` says at the beginning of a run, one after the other.
    fn complaints(&self, lines: &[String]) -> Result<Vec<String>, String> {
        let mut complaints = Vec::new();
        let plain = self.call.replace('$', "");
        let (_folder, mut session) = support::alone();
        done(&mut session, self.before)?;
        let looped = format!("let all = []; for turn in 0..3 {{ all.push({plain}); }} all");
        let all = evaluated(&mut session, &looped)?.into_array().unwrap();
        let all: Vec<String> = all.iter().map(text).collect();
        if all.iter().collect::<BTreeSet<_>>().len() != 3 {
            complaints.push("calls in a loop coincide".into());
        }
        if self.name != "tensor::randn" && said(&mut session, "tensor::randn([3])") != lines[0] {
            complaints.push("it changes what `tensor::randn` draws".into());
        }
        let (_folder, mut session) = support::alone();
        done(&mut session, self.before)?;
        if self.name != "tensor::randn" {
            said(&mut session, "tensor::randn([3])");
        }
        if let (Some(stated), Some(wrong)) = (self.with("seed: 5, "), self.with("nonsense: 5, ")) {
            let stated = [said(&mut session, &stated), said(&mut session, &stated)];
            if stated[0] != stated[1] {
                complaints.push("its `seed` is not what decides".into());
            }
            if evaluated(&mut session, &wrong).is_ok() {
                complaints.push("it takes an option that there is not".into());
            }
        }
        if said(&mut session, &plain) != all[0] {
            complaints.push("what stands before it changes what it draws".into());
        }
        if self.name != "tensor::randn" && said(&mut session, "tensor::randn([3])") != lines[1] {
            complaints.push("it changes what `tensor::randn` draws next".into());
        }
        Ok(complaints)
    }
}

#[test]
fn calls_differ_from_each_other_and_depend_on_nothing_else() {
    let complaints = support::on_large_stack(|| {
        let (_folder, mut session) = support::alone();
        let lines = [said(&mut session, "tensor::randn([3])"), said(&mut session, "tensor::randn([3])")];
        let of = |one: &Drawing| {
            let found = one.complaints(&lines).unwrap_or_else(|failure| vec![failure]);
            found.into_iter().map(|complaint| format!("{}: {complaint}", one.name)).collect::<Vec<_>>()
        };
        ALL.iter().chain(STDLIB).flat_map(of).collect::<Vec<_>>()
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// How many random controls a call has, and what is shown of them.
#[derive(Clone, Copy)]
enum Shown {
    /// The call has a fixed number of them.
    Fixed,
    /// This option says how many there are, and their mean or the largest of them is shown.
    Mean(&'static str),
    /// This option says how many there are, and lists of numbers that are not alike are shown: all of them, or the least
    /// and the largest.
    Lists(&'static str),
}

/// A function with random controls: lines before it, a call, `$` where options go, and the controls in its value `judged`.
///
/// The controls are shown alone, without what else the call draws: intervals by the bootstrap differ from call to call
/// where the controls are the same, and where there are none.
struct Controls {
    name: &'static str,
    before: &'static str,
    call: &'static str,
    controls: &'static str,
    shown: Shown,
}

/// How many draws there are where a call says how many.
const SEVERAL: usize = 4;

/// The least difference of two numbers that is not of rounding: the place of a run in a batch changes its last bits.
const APART: f64 = 1e-6;

const HEADS: &str = r#"
    let m = model::init(#{ layers: 4, d_model: 16, heads: 4, vocab: 10, context: 32 }, #{ seed: 1 });
    let pairs = (1..6).map(|i| #{ clean: [i, 2, 3], corrupt: [9 - i, 5, 3], answers: [i], wrong: [9 - i] });
    let found = circuit::edges(m, pairs);
    found.group("g", ["z.0.1", "z.1.2", "z.2.3"]);
"#;
const FEATURES: &str = r#"
    let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    let c = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 }).prune(#{ nodes: 1 });
    let features = c.nodes.filter(|node| "feature" in node).map(|node| node.name);
    c.group("g", features.extract(0, 4));
"#;
const SUBSPACE: &str = r#"
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 40, context: 32 }, #{ seed: 1 });
    let answer = |ids| m.logits(ids).at([0, -1]).argmax();
    let pair = |base, source| #{ base: base, source: source, answer: answer.call(source) };
    let pairs = (0..300).map(|i| pair.call([i % 7, i % 39], [i % 5, i * 11 % 37]));
    let basis = tensor::eye(8)[0..4].transpose();
"#;
const WIDE: &str = r#"
    import "std/shapes" as shapes;
    // Four equal blocks, so that it does not matter which two of them judge.
    let part = tensor::randn([40, 30], #{ seed: 1 });
    let x = tensor::cat([part, part, part, part], 0);
"#;
const LABELLED: &str = r#"
    let x = tensor::randn([400, 2], #{ seed: 1 });
    let y = (0..400).map(|i| i % 2 == 0);
"#;

/// Each function whose value has random controls beside other numbers, in each of its ways. What [`ALL`] shows of the
/// others is what they draw and nothing else.
const CONTROLS: &[Controls] = &[
    Controls {
        name: "probe::selectivity",
        before: LABELLED,
        call: "probe::selectivity(x, y, #{ $ })",
        controls: r#"[judged["value"][1]]"#,
        shown: Shown::Mean("draws"),
    },
    Controls {
        name: "Circuit.judge",
        before: HEADS,
        call: "found.top(60).judge(m, pairs, #{ $ })",
        controls: r#"[2, 3].map(|at| [judged.table["low"][at], judged.table["high"][at]])"#,
        shown: Shown::Lists("draws"),
    },
    Controls {
        name: "Circuit.judge",
        before: LETTERS,
        call: r#"circuit::causal_tree(m, saes, saes[1].feature(0), text)
            .judge(m, text, #{ $ token: "a", labels: () })"#,
        // Random circuits leave the target's code at 0, and the most active features are one set.
        controls: r#"let kept = judged.faithfulness.to_map().rows.filter(|row| row[0].starts_with("P"));
            let without = judged.necessity.to_map().rows.filter(|row| row[1].starts_with("random"));
            (kept + without).map(|row| [row[6], row[7]])"#,
        shown: Shown::Lists("draws"),
    },
    Controls {
        name: "Circuit.curve",
        before: HEADS,
        call: "found.curve(m, pairs, #{ $ shares: [0.2, 0.4] })",
        controls: r#"judged.table["random f"]"#,
        shown: Shown::Mean("draws"),
    },
    Controls {
        name: "Circuit.ablate",
        before: HEADS,
        call: r#"found.ablate(m, pairs, "g", #{ $ })"#,
        controls: r#"[[judged["low"][1], judged["high"][1]]]"#,
        shown: Shown::Lists("draws"),
    },
    Controls {
        name: "Circuit.ablate",
        before: FEATURES,
        call: r#"c.ablate(m, "g", #{ $ })"#,
        controls: r#"[[judged["lowest"][0], judged["highest"][0]]]"#,
        shown: Shown::Lists("draws"),
    },
    Controls {
        name: "Circuit.steer",
        before: FEATURES,
        call: r#"c.steer(m, "g", #{ $ factor: 3 })"#,
        controls: r#"[[judged["lowest"][0], judged["highest"][0]]]"#,
        shown: Shown::Lists("draws"),
    },
    Controls {
        name: "Selection.enough",
        before: LETTERS,
        call: r#"circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" })
            .enough(m, text, #{ $ sizes: [4] })"#,
        controls: "judged.to_map().rows.filter(|row| row[1] > 0).map(|row| [row[11], row[12]])",
        shown: Shown::Lists("draws"),
    },
    Controls {
        name: "circuit::shares",
        before: LETTERS,
        // A circuit of no units, such as the one of `a` with this share, has no random ones beside it.
        call: r#"circuit::shares(m, circuit::smallest(m, saes, text, #{ token: "f", share: 0.95 }), text, #{ $ })"#,
        controls: r#"[[judged["lowest"][0], judged["highest"][0]]]"#,
        shown: Shown::Lists("draws"),
    },
    Controls {
        name: "intervene::erasure",
        before: BRACKETS,
        call: r#"intervene::erasure(m, "resid_post.0", text, "bracket", #{
            $ methods: ["leace", "random"], tokens: 512, context: 16
        })"#,
        controls: r#"[judged["edit size"][2], judged["KL elsewhere"][2]]"#,
        shown: Shown::Fixed,
    },
    Controls {
        name: "intervene::steer",
        before: IDS,
        call: r#"{
            let push = #{ "resid_post.1": m.weight("unembed.weight")[7] };
            let text = [[1, 2, 3, 4], [5, 6, 7]];
            intervene::steer(m, push, [[1, 2], [3]], text, #{ $ token: 7, strengths: [2], tokens: 0 })
        }"#,
        controls: r#"["effect", "loss", "kl"].map(|column| judged[column][1])"#,
        shown: Shown::Mean("random"),
    },
    Controls {
        name: "intervene::axbench",
        before: BRACKETS,
        // At temperature 0 nothing but the directions is drawn.
        call: r#"intervene::axbench(m, #{ "resid_post.0": m.weight("unembed.weight")[2] }, ["to be", "or"], text, #{
            $ label: "bracket", strengths: [2], unit: "median", tokens: 8, temperature: 0
        })"#,
        controls: r#"[judged["fluency"][1]]"#,
        shown: Shown::Mean("random"),
    },
    Controls {
        name: "intervene::interactions",
        before: WORDS,
        call: r#"{
            let rows = data::texts(["a b c d d c b a c a", "d a b b c a d b"]);
            intervene::interactions(m, s.features([0, 1, 2, 3]), rows, #{ $ rows: 8 })
        }"#,
        controls: r#"judged.table["control"]"#,
        shown: Shown::Fixed,
    },
    Controls {
        name: "subspace::das",
        before: SUBSPACE,
        call: r#"subspace::das(m, pairs, #{ $ site: "resid_post.0", basis: basis, steps: 0 })"#,
        controls: r#"[judged.table["accuracy"][1]]"#,
        shown: Shown::Fixed,
    },
    Controls {
        name: "sae::shapes",
        before: "let x = (tensor::randn([40, 1], #{ seed: 1 }) - tensor::arange(8) / 4).abs();",
        call: "sae::shapes(sae::neurons(8), x, #{ $ neighbours: 3 })",
        controls: r#"judged.table["by chance"]"#,
        shown: Shown::Mean("draws"),
    },
    Controls {
        name: "sae::universality",
        before: WORDS,
        call: "sae::universality(s, m, saes[1], m, text, #{ $ })",
        controls: r#"[0, 2].map(|at| judged.summary["by chance"][at])"#,
        shown: Shown::Fixed,
    },
    Controls {
        name: "sae::evaluate",
        before: BRACKETS,
        call: "sae::evaluate(m, s, text, #{ $ rows: 2, labels: 2 })",
        controls: r#"["fve", "ce_recovered", "coverage"]
            .map(|of| judged.table.to_map().rows.filter(|row| row[0] == of)[0][4])"#,
        shown: Shown::Fixed,
    },
    Controls {
        name: "sae::coverage",
        before: BRACKETS,
        call: "sae::coverage(m, s, text, #{ $ })",
        controls: r#"[0, 1].map(|at| judged.table["random"][at])"#,
        shown: Shown::Fixed,
    },
    Controls {
        name: "shapes::carried",
        before: WIDE,
        call: "shapes::carried(x, x.sum(1), [0, 4, 8, 12, 16, 20], #{ $ block: 40 })",
        controls: "[judged.random]",
        shown: Shown::Lists("draws"),
    },
];

impl Shown {
    /// Returns the option that says how many controls there are, if there is one.
    fn option(self) -> Option<&'static str> {
        match self {
            Self::Fixed => None,
            Self::Mean(option) | Self::Lists(option) => Some(option),
        }
    }
}

/// Reads a value that has to be an array.
fn array(value: Value) -> Result<Vec<Value>, String> {
    value.into_array().map_err(|found| format!("expected an array, found {found}"))
}

/// Reads values that have to be numbers.
fn numbers(values: &[Value]) -> Result<Vec<f64>, String> {
    let number = |value: &Value| value.as_float().map_err(|found| format!("expected a number, found {found}"));
    values.iter().map(number).collect()
}

impl Controls {
    /// Returns what is shown of the controls of one call, with so many draws where it takes a number, and with a seed
    /// where it states one.
    fn drawn(&self, session: &mut Session, draws: usize, seed: Option<i64>) -> Result<Vec<Value>, String> {
        let draws = self.shown.option().map_or(String::new(), |option| format!("{option}: {draws}, "));
        let seed = seed.map_or(String::new(), |seed| format!("seed: {seed}, "));
        let call = self.call.replace('$', &format!("{draws}{seed}"));
        array(evaluated(session, &format!("{{ let judged = {call}; {} }}", self.controls))?)
    }

    /// Returns what is wrong with its controls.
    fn complaints(&self) -> Result<Vec<String>, String> {
        let mut complaints = Vec::new();
        let (_folder, mut session) = support::alone();
        done(&mut session, self.before)?;
        done(&mut session, "run::restart(0)")?;
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push(self.drawn(&mut session, SEVERAL, None)?);
        }
        if calls[0].is_empty() {
            complaints.push("there are none".into());
        }
        // Each of them for itself: one kind that is the same in all calls must not hide behind another.
        for at in 0..calls[0].len() {
            let of_each: Vec<String> = calls.iter().map(|call| text(&call[at])).collect();
            if of_each.iter().collect::<BTreeSet<_>>().len() != calls.len() {
                complaints.push(format!("those of calls in a row coincide: {of_each:?}"));
            }
        }
        if matches!(self.shown, Shown::Lists(_)) {
            for list in calls.iter().flatten() {
                let mut sorted = numbers(&array(list.clone())?)?;
                sorted.sort_by(f64::total_cmp);
                if sorted.len() < 2 || sorted.windows(2).any(|two| two[1] - two[0] < APART) {
                    complaints.push(format!("those of one call coincide: {sorted:?}"));
                }
            }
        }
        let texts = |shown: &[Value]| shown.iter().map(text).collect::<Vec<_>>();
        done(&mut session, "run::restart(0); tensor::randn([3]); sae::random(4, 6)")?;
        let behind_others = texts(&self.drawn(&mut session, SEVERAL, None)?);
        if behind_others != texts(&calls[0]) {
            complaints.push("what stands before them changes them".into());
        }
        let stated = self.drawn(&mut session, SEVERAL, Some(5))?;
        if texts(&self.drawn(&mut session, SEVERAL, Some(5))?) != texts(&stated) {
            complaints.push("those of one seed differ".into());
        }
        let another = self.drawn(&mut session, SEVERAL, Some(6))?;
        if texts(&another).iter().zip(texts(&stated)).any(|(another, stated)| *another == stated) {
            complaints.push("those of two seeds coincide".into());
        }
        if matches!(self.shown, Shown::Lists(_)) {
            for (one, other) in stated.iter().zip(&another) {
                let one = numbers(&array(one.clone())?)?;
                let other = numbers(&array(other.clone())?)?;
                let common = one.iter().filter(|x| other.contains(x)).count();
                if common > 0 {
                    complaints.push(format!("seeds 5 and 6 have {common} in common: {one:?}, {other:?}"));
                }
            }
        }
        // The mean of draws that coincide is that of the first one.
        if matches!(self.shown, Shown::Mean(_)) {
            let first = numbers(&self.drawn(&mut session, 1, Some(5))?)?;
            if first.iter().zip(numbers(&stated)?).any(|(first, all)| (first - all).abs() < APART) {
                complaints.push(format!("those of one call coincide: {first:?} is of the first alone"));
            }
        }
        Ok(complaints)
    }
}

#[test]
fn random_controls_never_coincide_within_a_call_or_between_two() {
    let complaints = support::on_large_stack(|| {
        let of = |one: &Controls| {
            let found = one.complaints().unwrap_or_else(|failure| vec![failure]);
            found.into_iter().map(|complaint| format!("{}: {complaint}", one.name)).collect::<Vec<_>>()
        };
        CONTROLS.iter().flat_map(of).collect::<Vec<_>>()
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_function_that_says_how_many_controls_it_draws_is_held_to_the_rule() {
    let says: BTreeSet<String> = support::on_large_stack(|| {
        let docs = support::docs();
        let says = |entry: &ReferenceEntry| {
            // Of cards `random` is a number of contexts.
            let is_of_controls = |option: &OptionDoc| match option.key.as_str() {
                "draws" => true,
                "random" => option.meaning.contains("random directions"),
                _ => false,
            };
            entry.doc.options.iter().any(is_of_controls)
        };
        docs.own().filter(|entry| says(entry)).map(|entry| entry.path()).collect()
    });
    // Options of scripts are said in words.
    let tested = CONTROLS.iter().filter(|one| one.shown.option().is_some() && one.name != "shapes::carried");
    assert_eq!(says, tested.map(|one| one.name.to_string()).collect());
}

/// The names by which functions draw, as the sources have them.
fn names_in(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            names_in(&path, names);
        } else {
            let source = std::fs::read_to_string(&path).unwrap();
            for (at, _) in source.match_indices("ctx, \"") {
                let name = source[at + 6..].split('"').next().unwrap_or_default();
                if name.contains("::") || name.starts_with(char::is_uppercase) {
                    names.insert(name.into());
                }
            }
        }
    }
}

#[test]
fn every_function_that_draws_is_held_to_the_rule() {
    let known: BTreeSet<String> = ALL.iter().map(|one| one.name.to_string()).collect();
    let mut names = BTreeSet::new();
    names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/script"), &mut names);
    assert_eq!(names, known, "the functions that draw, and those that are tested");
    let strange: Vec<&str> = support::on_large_stack(|| {
        let docs = support::docs();
        let paths: BTreeSet<String> = docs.own().map(|entry| entry.path()).collect();
        let names = ALL.iter().chain(STDLIB).map(|one| one.name).chain(OF_ZERO.iter().map(|(name, _)| *name));
        names.filter(|name| !paths.contains(*name)).collect()
    });
    assert!(strange.is_empty(), "no names of the reference: {strange:?}");
}

/// The names of functions, each with what the reference says its seed is where none is stated.
fn documented() -> Vec<(String, String)> {
    support::on_large_stack(|| {
        let docs = support::docs();
        let options = |entry: &ReferenceEntry| {
            let seeds = entry.doc.options.iter().filter(|option| option.key == "seed");
            seeds.map(|option| (entry.path(), option.default.clone())).collect::<Vec<_>>()
        };
        // Functions of scripts say their options in words: "`seed` (its default)".
        let in_words = |entry: &ReferenceEntry| {
            let words = format!("{}\n{}", entry.doc.summary, entry.doc.body).replace('\n', " ");
            let seed = words.split_once("`seed` (").and_then(|(_, rest)| rest.split_once(')'));
            seed.map(|(default, _)| (entry.path(), default.to_string()))
        };
        docs.own().flat_map(|entry| options(entry).into_iter().chain(in_words(entry)).collect::<Vec<_>>()).collect()
    })
}

#[test]
fn the_reference_says_whose_seed_a_call_has_that_states_none() {
    let mut complaints = Vec::new();
    let mut of_call = BTreeSet::new();
    let mut of_zero = BTreeSet::new();
    for (name, default) in documented() {
        match default.as_str() {
            OF_CALL => of_call.insert(name),
            "0" => of_zero.insert(name),
            _ if OF_RUN.contains(&name.as_str()) => continue,
            _ => {
                complaints.push(format!("{name}: {default}"));
                continue;
            }
        };
    }
    assert!(complaints.is_empty(), "{complaints:?}");
    let known: BTreeSet<String> = OF_ZERO.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(of_zero, known, "what has seed 0, and what is known to have it");
    // Some draw and take none.
    let takes = |one: &&Drawing| one.call.contains('$');
    let drawn: BTreeSet<String> = ALL.iter().chain(STDLIB).filter(takes).map(|one| one.name.to_string()).collect();
    assert_eq!(of_call, drawn, "what has a seed of its own call, and what is tested to have one");
}

#[test]
fn data_and_views_are_the_same_whatever_the_seed_of_the_run() {
    support::on_large_stack(|| {
        let (_folder, mut session) = support::alone();
        let line = said(&mut session, "tensor::randn([3])");
        done(&mut session, ROWS).unwrap();
        for (name, call) in OF_ZERO {
            done(&mut session, "run::restart(0)").unwrap();
            let first = said(&mut session, call);
            assert_eq!(said(&mut session, call), first, "{name}: another call");
            assert_eq!(said(&mut session, "tensor::randn([3])"), line, "{name} takes a draw");
            done(&mut session, "run::restart(7)").unwrap();
            assert_eq!(said(&mut session, call), first, "{name}: another seed of the run");
        }
    });
}

#[test]
fn what_draws_nothing_takes_nothing() {
    support::on_large_stack(|| {
        let (_folder, mut session) = support::alone();
        done(&mut session, IDS).unwrap();
        let sampled = "m.generate_ids([1, 2], #{ tokens: 24, temperature: 1 })";
        let first = said(&mut session, sampled);
        done(&mut session, "run::restart(0); m.generate_ids([1, 2], #{ tokens: 3 }); m.generate_ids([1, 2], #{ tokens: 3, top_k: 2, temperature: 0 });").unwrap();
        assert_eq!(said(&mut session, sampled), first);
        // The other kinds of erasers draw nothing, nor does the other order of patching.
        let erase = "intervene::erase(x, (0..60).map(|i| i % 2 == 0), #{ kind: \"random\", k: 2 }).apply(x)";
        let first = said(&mut session, erase);
        done(&mut session, "run::restart(0); intervene::erase(x, (0..60).map(|i| i % 2 == 0));").unwrap();
        assert_eq!(said(&mut session, erase), first);
    });
}

#[test]
fn a_fit_and_a_sweep_of_one_with_the_same_seed_are_the_same() {
    support::on_large_stack(|| {
        let (_folder, mut session) = support::alone();
        done(&mut session, WORDS).unwrap();
        let equal = "sae::fit(m, \"resid_post.0\", text, o).directions.equal(sae::sweep(m, \"resid_post.0\", text, o)[0].directions)";
        assert_eq!(said(&mut session, &format!("let o = #{{ k: 2, d_sae: 6, steps: 3, seed: 4 }}; {equal}")), "true");
        assert_eq!(
            said(
                &mut session,
                &equal.replace(", text,", ",").replace("m, \"resid_post.0\",", "tensor::randn([40, 4], #{ seed: 1 }),")
            ),
            "true"
        );
    });
}

/// The numbers that a script draws in a folder, with what it imports from beside it.
fn in_folder(folder: &Path, script: &str) -> String {
    let folder = folder.join("scripts");
    std::fs::create_dir_all(folder.join("lib")).unwrap();
    let draws = "fn draws() { tensor::randn([3]) } fn all(xs) { xs.map(|x| tensor::randn([3])) }";
    std::fs::write(folder.join("draws.rhai"), draws).unwrap();
    std::fs::write(folder.join("lib/far.rhai"), "import \"../draws\" as near; fn draws() { near::draws() }").unwrap();
    let mut session = support::session(&folder);
    let name = folder.join("main.rhai").display().to_string();
    text(&session.eval(&name, script).map_err(|failure| failure.message).unwrap())
}

#[test]
fn each_text_counts_for_itself_wherever_it_lies() {
    support::on_large_stack(|| {
        let one = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let mine = in_folder(one.path(), "[tensor::randn([3]), tensor::randn([3])]");
        let with =
            "import \"draws\" as d; let a = tensor::randn([3]); d::draws(); d::all([1, 2]); [a, tensor::randn([3])]";
        assert_eq!(in_folder(one.path(), with), mine, "a module that draws changes what the script draws");
        let theirs = in_folder(one.path(), "import \"draws\" as d; [d::draws(), d::draws()]");
        let between = "import \"draws\" as d; let a = d::draws(); tensor::randn([3]); [a, d::draws()]";
        assert_eq!(in_folder(one.path(), between), theirs, "the script changes what a module draws");
        assert_ne!(mine, theirs);
        assert_eq!(in_folder(&other.path().join("elsewhere"), between), theirs, "another folder, other numbers");
        // By whichever way a module is reached, it is the same one.
        let ways = "import \"lib/far\" as f; import \"draws\" as d; [f::draws(), d::draws()]";
        assert_eq!(in_folder(one.path(), ways), theirs);
        let ways = "import \"./lib/../draws.rhai\" as d; import \"lib/far\" as f; [d::draws(), f::draws()]";
        assert_eq!(in_folder(one.path(), ways), theirs);
        // The lines of a session are one text with each other.
        let mut session = support::session(one.path());
        let lines = ["<1>", "<2>"].map(|name| text(&session.eval(name, "tensor::randn([3])").unwrap()));
        assert_eq!(format!("[{}]", lines.join(",")), mine);
    });
}

/// What a fit says with a cache of dictionaries.
fn with_cache(folder: &Path, code: &str) -> String {
    let env = Env::in_memory(&folder.join("out")).unwrap();
    let settings = Settings { cache: Some(folder.join("cache")), ..env.settings.clone() };
    let mut session = Session::new(Env { settings, ..env });
    done(&mut session, WORDS).unwrap();
    said(&mut session, code)
}

#[test]
fn a_fit_from_the_cache_counts_as_the_fit_that_it_stands_for() {
    support::on_large_stack(|| {
        let fit =
            |steps| format!("sae::fit(m, \"resid_post.0\", text, #{{ k: 2, d_sae: 6, steps: {steps} }}).directions");
        let folder = tempfile::tempdir().unwrap();
        let two = format!("[{}, {}]", fit(2), fit(2));
        let fitted = with_cache(folder.path(), &two);
        assert_eq!(with_cache(folder.path(), &two), fitted, "the second time both are in the cache");
        let apart = tempfile::tempdir().unwrap();
        let mixed = format!("[{}, {}]", fit(3), fit(2));
        assert_eq!(with_cache(folder.path(), &mixed), with_cache(apart.path(), &mixed), "one is in the cache");
    });
}

#[test]
fn a_call_that_fails_takes_nothing_and_what_ran_within_it_stays_drawn() {
    support::on_large_stack(|| {
        let (_folder, mut session) = support::alone();
        let lines: Vec<String> = (0..3).map(|_| said(&mut session, "tensor::randn([3])")).collect();
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 3);
        session.reset();
        for wrong in ["tensor::randn([1 << 62])", "tensor::randn(\"a\")", "tensor::randn([3], #{ dtype: \"f9\" })"] {
            assert!(evaluated(&mut session, wrong).is_err(), "{wrong}");
        }
        assert_eq!(said(&mut session, "tensor::randn([3])"), lines[0]);
        assert!(evaluated(&mut session, "[tensor::randn([3])][4]").is_err());
        assert_eq!(said(&mut session, "tensor::randn([3])"), lines[2]);
        session.reset();
        assert_eq!(said(&mut session, "tensor::randn([3])"), lines[0]);
    });
}

/// Lines that Ctrl-C ends early, after those before them; each leaves what is shown.
const ENDED: &[(&str, &str, &str)] = &[
    (
        IDS,
        "let s = sae::fit(x, #{ k: 2, d_sae: 6, batch: 4, steps: 100000 });",
        "[s.directions, s.more.fit.steps_made]",
    ),
    (WORDS, "let s = sae::fit(m, \"resid_post.0\", text, #{ k: 2, d_sae: 6, steps: 100000 });", "s.directions"),
    (IDS, "let all = sae::sweep(x, #{ k: [1, 2], d_sae: 6, batch: 4, steps: 100000 });", "all.map(|s| s.directions)"),
    (
        "let rows = [[1, 2, 3, 1], [2, 3, 1, 2]];",
        "let m = model::train(#{ layers: 1, d_model: 4, heads: 1, vocab: 5 }, rows, #{ steps: 100000 });",
        "m.weight(\"embed\")",
    ),
    (IDS, "let l = m.tuned_lens([[1, 2, 3], [3, 4]], #{ steps: 100000 });", "l.translator(0).matrix"),
    (WORDS, "let tuned = s.fine_tune(m, text, #{ steps: 100000, batch: 1 });", "tuned.directions"),
    (
        WORDS,
        "let c = sae::cross_layer_transcoder(m, text, #{ k: 2, ratio: 2, steps: 100000 });",
        "c.measure_on(m, text)[\"fve\"]",
    ),
    (COMPILED, "let masks = circuit::edge_pruning(c.model, pairs, #{ steps: 100000 });", "masks.edges"),
    (
        WORDS,
        "let l = sae::lorsa(m, 1, text, #{ heads: 12, k: 2, steps: 100000, context: 8, batch: 1 });",
        "l.directions",
    ),
    (
        WORDS,
        "let p = sae::temporal(m, \"resid_post.1\", text, #{ d_sae: 8, k: 2, steps: 100000, context: 8, batch: 1 });",
        "p.directions",
    ),
    (
        WORDS,
        "let a = diff::transcoder_adapters(m, model::init(m.config, #{ tokenizer: t, seed: 2 }), text, #{ features: 6, steps: 100000, context: 8, batch: 1 });",
        "a[0].directions",
    ),
    (
        WORDS,
        "let b = circuit::bridges(m, model::init(m.config, #{ tokenizer: t, seed: 2 }), text, #{ steps: 100000, context: 8, batch: 1 });",
        "b.dictionaries[0].directions",
    ),
    (NETWORK, "let d = decomposition::fit(net, #{ parts: 3, steps: 100000, batch: 8 });", "d.v(\"w\")"),
    (
        WORDS,
        "let d = decomposition::mlp(m, 1, text, #{ parts: 3, steps: 100000, context: 8, batch: 1 });",
        "d.v(\"up\")",
    ),
    (
        "let p = tensor::randn([3], #{ seed: 1 });",
        "let o = optim::adam(p, #{ lr: 0.01 }); let losses = o.run(100000, |p| (p ** 2).sum());",
        "[o.params, losses.len]",
    ),
    (
        IDS,
        "let d = subspace::das(m, (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i }), #{ site: \"resid_post.0\", steps: 100000 });",
        "d.basis",
    ),
];

#[test]
fn what_control_c_ended_ends_there_again() {
    support::on_large_stack(|| {
        for (before, line, shown) in ENDED {
            let (_folder, mut session) = support::alone();
            done(&mut session, before).unwrap();
            let task = session.env().task.clone();
            let since = session.env().task.pieces();
            let flag = task.flag().clone();
            let watched = task.clone();
            let presses = std::thread::spawn(move || {
                while watched.pieces() == since {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
                flag.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            done(&mut session, line).unwrap();
            presses.join().unwrap();
            let ended = task.ended_early(since);
            assert!(matches!(ended[..], [Some(_)]), "{line}: {ended:?}");
            // What is drawn behind it is what it would be behind the whole.
            let shown =
                format!("let shown = [{shown}]; {} shown + [{shown}, tensor::randn([2])]", line.replace("100000", "2"));
            let left = said(&mut session, &shown);
            let (_folder, mut session) = support::alone();
            done(&mut session, before).unwrap();
            session.env().task.end_early(&ended);
            done(&mut session, line).unwrap();
            assert_eq!(said(&mut session, &shown), left, "{line} {ended:?}");
        }
    });
}
