//! Every call that takes several texts, or pairs of prompts, and whose result is one for each or a mean.
//!
//! Calls that choose by a mean, such as `circuit::acdc`, are made of the measurements that are compared here, and calls that
//! take a `Text` cut it into rows of one length.

use std::collections::BTreeSet;

use super::{BatchCall, BatchFindings, CombinationRule, is_all};
use crate::families::files::{FAMILIES, fixture};
use crate::support;
use microtome::script::docs::{Overload, ReferenceEntry};

/// Rounding in f32, as in `hooks.rs`, through two layers and without hooks that make numbers large.
const MOST: f64 = 1e-5;

/// The same through the layers of a family, whose gradients are larger.
const MOST_OF_FAMILIES: f64 = 3e-5;

/// One call in so many is tried on each family, another one on the next.
const SAMPLED: usize = 13;

/// A session's model, dictionaries and hooks for the calls of a part.
struct CallGroup {
    begin: &'static str,
    /// The texts or pairs: `x`.
    texts: &'static str,
    calls: &'static [(&'static str, CombinationRule, &'static str)],
}

const CUT: &str = "
    let real = |y| y.to_array().map(|row| row.filter(|v| !v.is_nan()));
    let cut = |y, x| x.map(|text, i| y[i][0..text.len]);
    let square = |y, x| x.map(|text, i| {
        let own = 0..text.len;
        let all = y[i][[\":\", own]];
        [y[i][[\":\", own, own]], all.sum(-1)]
    });
    let ends = |hook, x| m.logits(x, #{ pos: -1, hooks: hook }).to_array();
";

const MODEL: &str = "model::init(#{ layers: 2, d_model: 16, heads: 4, vocab: 20, context: 32 }, #{ seed: 3 })";

/// What stands before each part, after `m`.
const BEGIN: &str = "
    let d = m.config.d_model;
    let w = tensor::randn([20, d], #{ seed: 2 });
    let s = sae::random(d, 40, #{ k: 5, seed: 1 });
    let at = #{ site: \"resid_post.0\" };
    let many = [[1, 2, 3, 4, 5], [6, 7, 8], [9, 10, 11, 12], [13, 14, 15], [0, 3, 9]];
";

const TEXTS: &str = "[[1, 2, 3, 4, 5, 6, 7], [8, 9, 10], [11, 12, 13, 14, 15]]";

const PAIRS: &str = "[#{ clean: [1, 2, 3, 4, 5, 6, 7], corrupt: [1, 2, 9, 4, 5, 6, 7], answers: [8], wrong: [11] },
    #{ clean: [8, 9, 10], corrupt: [8, 2, 10], answers: [3], wrong: [5] },
    #{ clean: [11, 12, 13, 14, 15], corrupt: [11, 1, 13, 14, 15], answers: [6], wrong: [16] }]";

impl CallGroup {
    /// What begins a session on a model.
    fn begun(&self, model: &str) -> String {
        format!("let m = {model};{BEGIN}{CUT}let x = {};{}", self.texts, self.begin)
    }
}

use CombinationRule::{Each, Largest, Mean};

const PARTS: &[CallGroup] = &[
    CallGroup {
        begin: "",
        texts: TEXTS,
        calls: &[
            ("logits", Each, "|x| cut.call(m.logits(x), x)"),
            ("logits", Each, "|x| m.logits(x, #{ pos: [-1, 0, -2] }).to_array()"),
            ("losses", Each, "|x| real.call(m.losses(x))"),
            ("losses", Each, "|x| real.call(m.losses(x, #{ windowed: true }))"),
            ("losses", Mean, "|x| m.loss(x) * x.map(|text| text.len - 1).reduce(|a, b| a + b, 0) / x.len"),
            ("losses", Each, "|x| real.call(m.losses(x, #{ hooks: hooks::add(\"pattern.0\", 0.5) }))"),
            ("losses", Each, "|x| real.call(m.losses(x, #{ hooks: hooks::edit(\"scores.*\", |v| v * (v.max(3).unsqueeze(3) * 40 + 1)) }))"),
            ("caches", Each, "|x| m.cache(x, \"resid_post.*\", #{ pos: [-1, 1] })[\"resid_post.1\"].to_array()"),
            ("caches", Each, "|x| square.call(m.cache(x, \"pattern.1\")[\"pattern.1\"], x)"),
            ("caches", Each, "|x| cut.call(m.run(x)[\"mlp_hidden.1\"], x)"),
            ("lenses", Each, "|x| cut.call(m.lens(x).logits(\"resid_post.0\"), x)"),
            ("lenses", Each, "|x| m.lens(x, \"resid_mid.1\", #{ pos: -1 }).logits(\"resid_mid.1\").to_array()"),
            ("lenses", Each, "|x| m.lens(x).guesses(\"resid_post.0\").map(|text| text.map(|few| few.map(|guess| guess.id)))"),
            ("heads", Mean, "|x| tensor(features::heads(m, x).table[\"first\"]) * x.map(|text| text.len - 1).reduce(|a, b| a + b, 0) / x.len"),
            ("comparisons", Each, "|x| m.compare(m.run(x), m.run(x, #{ hooks: hooks::add(\"pattern.0\", 0.4) })).kl"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8 })"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8, hooks: hooks::add(\"resid_post.0\", w[3], 9) })"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8, hooks: [hooks::add(\"pattern.0\", 2), hooks::scale(\"mlp_out.1\", 4)] })"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8, hooks: hooks::patch(\"pattern.*\", 0.7) })"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8, hooks: hooks::edit(\"pattern.*\", |v, at| v.softmax(-1) * at.pos[1] * 9) })"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8, hooks: hooks::edit(\"scores.*\", |v| v * (v.max(3).unsqueeze(3) * 400 + 1)) })"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8, hooks: hooks::edit(\"resid_post.0\", |v, at| v * at.pos[0] + v.max(1).unsqueeze(1) * 5) })"),
            ("generation", Each, "|x| m.generate_ids(x, #{ tokens: 8, hooks: hooks::zero(\"z.1\", #{ pos: [-1], heads: [1, 2] }) })"),
            ("vectors in prompts", Each, "|x| m.generate_ids(x, #{ tokens: 8, inject: #{ pos: [0, -1], vector: w[3], site: \"resid_post.0\" } })"),
            ("vectors in prompts", Each, "|x| cut.call(m.logits(x, #{ inject: #{ pos: -2, vector: w[3], add: true, norm: \"same\" } }), x)"),
            ("vectors in prompts", Each, "|x| cut.call(m.run(x, #{ inject: #{ pos: 1, vector: x.map(|text| w[text[0]]), norm: 3 } })[\"resid_post.1\"], x)"),
            ("patchscopes", Each, "|x| m.patchscope(x, [4, 9, 2], #{ tokens: 4 }).rows.map(|row| [row[-2], row[-1]])"),
            ("models that keep hooks", Each, "|x| cut.call(m.with(hooks::add(\"pattern.0\", 0.5)).logits(x), x)"),
            ("models that keep hooks", Each, "|x| real.call(m.with(hooks::patch(\"pattern.1\", 0.2)).losses(x))"),
            ("models that keep hooks", Each, "|x| m.with(hooks::add(\"pattern.1\", 0.2)).generate_ids(x, #{ tokens: 6 })"),
        ],
    },
    CallGroup {
        begin: "let one = |last| (last[[\":\", 4]] - last[[\":\", 5]]).sum();
            let slopes = |sites, hooks, x| m.grads(x, one, sites, #{ pos: -1, hooks: hooks });",
        texts: TEXTS,
        calls: &[
            ("gradients", Each, "|x| cut.call(slopes.call(\"resid_pre.0\", [], x)[\"resid_pre.0\"], x)"),
            ("gradients", Each, "|x| cut.call(slopes.call(\"k.1\", [], x)[\"k.1\"], x)"),
            ("gradients", Each, "|x| square.call(slopes.call(\"pattern.1\", [], x)[\"pattern.1\"], x)"),
            ("gradients", Each, "|x| square.call(slopes.call(\"pattern.0\", [hooks::add(\"pattern.0\", 0.3)], x)[\"pattern.0\"], x)"),
            ("gradients", Each, "|x| cut.call(slopes.call(\"embed\", [hooks::patch(\"pattern.1\", 0.3)], x)[\"embed\"], x)"),
            ("gradients", Each, "|x| cut.call(slopes.call(\"embed\", [hooks::edit(\"scores.1\", |v| v * (v.max(3).unsqueeze(3) * 40 + 2))], x)[\"embed\"], x)"),
            ("gradients", Each, "|x| cut.call(slopes.call(\"embed\", [hooks::edit(\"mlp_out.0\", |v| v * v.mean(1).unsqueeze(1))], x)[\"embed\"], x)"),
            (
                "gradients of a hook's vector",
                Mean,
                "|x| { let n = x.len; tensor::grad(|v| one.call(m.logits(x, #{ pos: -1, hooks: hooks::edit(\"resid_post.0\", |y| y * v) })), tensor::ones([d])) / n }",
            ),
        ],
    },
    CallGroup {
        begin: "let tuned = m.with(hooks::scale(\"resid_post.0\", 1.3));",
        texts: TEXTS,
        calls: &[
            ("divergences", Each, "|x| diff::kl(m, tuned, x).values"),
            // Every text has three tokens.
            ("mean differences", Mean, "|x| diff::activations(m, tuned, x, \"resid_post.0\", #{ first: 3 }).mean[0..3].to_array()"),
            (
                "differences",
                Mean,
                "|x| diff::differences(m, tuned, x, \"resid_post.0\").sum(0).to_array().map(|sum| sum / x.len)",
            ),
            (
                "mined tokens",
                Mean,
                "|x| diff::mine(m, tuned, x, #{ topics: 0 }).rises.to_array().map(|rise| rise * x.map(|text| text.len).sum() / x.len)",
            ),
        ],
    },
    CallGroup {
        begin: "let cache = m.cache(many, \"resid_post.0\");",
        texts: TEXTS,
        calls: &[
            ("features", Each, "|x| ends.call(hooks::zero(s.feature(3), at), x)"),
            ("features", Each, "|x| ends.call(hooks::add(s.feature(3), 2, at), x)"),
            ("features", Each, "|x| ends.call(hooks::mean(s.features([1, 3]), cache, at), x)"),
            ("features", Each, "|x| ends.call(hooks::scale(s.features([1, 2]), 3, at + #{ others: true, error: \"drop\" }), x)"),
            ("features", Each, "|x| ends.call(hooks::edit(s.features([1, 3]), |c| c + c.max(1).unsqueeze(1) + 1, at), x)"),
            ("features", Each, "|x| ends.call(hooks::edit(s.features([1, 3]), |c, at| c * 2 + tensor(at.lengths).reshape([at.lengths.len, 1, 1]), at + #{ pos: [0, -1] }), x)"),
            ("features", Each, "|x| ends.call(s.splice(at), x)"),
            ("features", Each, "|x| s.encode(m.cache(x, \"resid_post.0\", #{ pos: [-1, 0] })[\"resid_post.0\"]).to_array()"),
        ],
    },
    CallGroup {
        begin: "let h = m.cache(many, \"resid_post.0\", #{ pos: -1 })[\"resid_post.0\"][[\":\", 0]];
            let y = [false, true, true, false, true];
            let p = probe::fit(h, y);
            let mon = intervene::monitor(p, #{ site: \"resid_post.0\", threshold: -100 });
            let e = intervene::erase(h, y, #{ kind: \"mean_projection\" });
            let judged = intervene::monitor(p, #{ site: \"resid_post.0\", threshold: 0.41 });
            let fixed = [1, 3, 2, 9];
            let lens = m.jacobian_lens(many, #{ skip_first: 0 });
            let tuned = m.tuned_lens(many, #{ steps: 2, seed: 1 });
            let rows = |t, x| x.map(|text, i| t.to_map().rows.filter(|row| row[0] == i).map(|row| { row.remove(0); row }));",
        texts: TEXTS,
        calls: &[
            ("probes", Each, "|x| p.scores(m.cache(x, \"resid_post.0\", #{ pos: [-1] })[\"resid_post.0\"].reshape([-1, d])).to_array()"),
            ("monitors", Each, "|x| rows.call(mon.watch(m, x), x)"),
            ("monitors", Each, "|x| mon.scores(m, x).map(|text| tensor(text[0]))"),
            // Beside one text without the label the measures are means over those with it, and a threshold is the largest score.
            ("monitors judged", Mean, "|x| { let t = judged.judge(m, x + [fixed], x.map(|text| true) + [false]); [t[\"AUROC\"], t[\"recall\"]] }"),
            ("monitors judged", Mean, "|x| judged.roc(m, x + [fixed], x.map(|text| true) + [false])[\"recall\"]"),
            ("monitors fitted", Largest, "|x| judged.fit(m, x + [fixed], x.map(|text| false) + [true]).thresholds"),
            // At this rate one of two texts and one of four may have the largest score.
            ("monitors fitted", Largest, "|x| judged.calibrate(m, x + [fixed], #{ false_positive_rate: 0.35 }).thresholds"),
            ("monitors judged", Mean, "|x| judged.false_alarms(m, x).rate"),
            ("erasers", Each, "|x| ends.call(e.hook(\"resid_post.0\"), x)"),
            ("fitted lenses", Each, "|x| cut.call(lens.read(m, x).fitted.logits(\"resid_post.0\"), x)"),
            ("fitted lenses", Each, "|x| cut.call(tuned.read(m, x).fitted.logits(\"resid_post.0\"), x)"),
            ("lenses judged", Mean, "|x| { let t = tuned.judge(m, x); t[\"KL\"].map(|kl, i| kl * t[\"tokens\"][i] * 10 / x.len) }"),
            ("lenses judged", Mean, "|x| { let t = lens.judge(m, x); t[\"KL\"].map(|kl, i| kl * t[\"tokens\"][i] * 10 / x.len) }"),
        ],
    },
    CallGroup {
        begin: "let grid = |options, x| { let g = intervene::grid(m, x, options); g.tensor };
            let site = #{ site: \"resid_post.0\" };
            let effects = |c| c.edges.map(|edge| edge.effect);",
        texts: PAIRS,
        calls: &[
            ("metrics", Each, "|x| metric::logit_diff().values(m, x).to_array()"),
            ("metrics", Each, "|x| metric::logprob().values(m, x, #{ prompts: \"corrupt\" }).to_array()"),
            ("metrics", Each, "|x| metric::prob().values(m, x).to_array()"),
            ("metrics", Each, "|x| metric::rank().values(m, x).to_array()"),
            ("metrics", Each, "|x| metric::loss().values(m, x).to_array()"),
            ("metrics", Each, "|x| metric::kl().values(m, x, #{ prompts: \"corrupt\" }).to_array()"),
            ("metrics", Each, "|x| metric::of(|logits, pair| logits[pair.answers[0]] - logits.mean()).values(m, x).to_array()"),
            ("metrics", Each, "|x| metric::logprob().values(m, x.map(|pair| #{ clean: pair.clean, answers: [[2, 4], 6] })).to_array()"),
            ("metrics of models that keep hooks", Each, "|x| metric::logit_diff().values(m.with(hooks::add(\"pattern.*\", 0.4)), x).to_array()"),
            ("grids", Mean, "|x| grid.call(#{ by: \"layer\", sites: [\"resid_pre\", \"mlp_out\", \"attn_out\"] }, x)"),
            ("grids", Mean, "|x| grid.call(#{ by: \"head\" }, x)"),
            ("grids", Mean, "|x| grid.call(#{ by: \"head\", sites: \"pattern\" }, x)"),
            ("grids", Mean, "|x| grid.call(#{ by: \"head\", sites: \"pattern\", direction: \"noise\" }, x)"),
            ("grids", Mean, "|x| grid.call(#{ by: \"head\", method: \"attribution\" }, x)"),
            ("grids", Mean, "|x| grid.call(#{ by: \"head\", sites: [\"q\", \"k\"], method: \"attribution\" }, x)"),
            ("grids", Mean, "|x| grid.call(#{ by: \"neuron\", sites: \"mlp_hidden.1\", method: \"attribution\" }, x)"),
            ("grids of models that keep hooks", Mean, "|x| { let kept = m.with(hooks::add(\"pattern.0\", 0.4)); let g = intervene::grid(kept, x, #{ by: \"head\" }); g.tensor }"),
            ("paths", Mean, "|x| { let g = intervene::paths(m, x); g.tensor }"),
            ("paths", Mean, "|x| { let g = intervene::paths(m, x, #{ senders: \"z.0.*\", receivers: [\"q.1.*\", [\"k.1.0\", \"v.1.0\"]], mlps: \"recomputed\" }); g.tensor.nan_to_num() }"),
            ("feature patching", Mean, "|x| { let t = intervene::feature_patch(m, sae::identity(d), x, site); [t[\"kl\"][0], t[\"kl\"][-1]] }"),
            ("edges", Mean, "|x| effects.call(circuit::edges(m, x))"),
            ("edges", Mean, "|x| effects.call(circuit::edges(m, x, #{ method: \"exact\" }))"),
            ("edges", Mean, "|x| effects.call(circuit::edges(m, x, #{ method: \"exact\", ablation: \"zero\" }))"),
        ],
    },
    CallGroup {
        begin: "let v = w[7];
            let sweep = |text, prompts, options| intervene::steer(m, #{ \"resid_post.0\": v }, prompts, text, #{ token: 7, strengths: [1, 4], random: 0, tokens: 0, seed: 1 } + options);",
        texts: TEXTS,
        calls: &[
            ("steering", Mean, "|x| sweep.call(many, x, #{})[\"effect\"]"),
            ("steering", Mean, "|x| sweep.call(x, many, #{})[\"kl\"]"),
            ("steering", Mean, "|x| sweep.call(x, many, #{})[\"loss\"]"),
            ("steering", Mean, "|x| intervene::steering_vector(m, x, many, \"resid_post.1\")"),
            ("attribution", Mean, "|x| m.attribution(x, 7, #{ by: \"head\" }).parts.map(|part| part.value)"),
            ("attribution", Mean, "|x| m.attribution(x, 7, #{ against: 3 }).parts.map(|part| part.value)"),
            ("attribution", Mean, "|x| m.attribution(x, 7, #{ hooks: hooks::add(\"pattern.1\", 0.4) }).parts.map(|part| part.value)"),
            ("Jacobians", Mean, "|x| m.jacobian_lens(x, #{ skip_first: 0 }).jacobian(0)"),
        ],
    },
    CallGroup {
        begin: "let t = data::tokenizer(\"a b c d ( )\", #{ kind: \"words\", min_frequency: 1 });
            let m = model::init(#{ layers: 2, d_model: 16, heads: 4, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
            let text = data::texts([\"a b c d d c b a\", \"d a b ( b c ) a\"]);
            let saes = sae::fit_all(m, \"resid_post.*\", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
            let found = circuit::edges(m, data::pairs([[0, 1, 2]], [[0, 3, 2]], #{ answers: [1], wrong: [4] }));
            found.group(\"g\", found.nodes.filter(|node| node.name.starts_with(\"z.0\")).map(|node| node.name));
            let part = found.top(30);
            let clean = |x| x.map(|pair| pair.clean);
            let joint = |x, measure| {
                let features = saes[0].features([0, 1, 3, 5]);
                let sets = intervene::interactions(m, features, clean.call(x + x), #{ measure: measure, seed: 1 }).to_map();
                (sets.matrix.values + [sets.all]).map(|effect| effect * 100)
            };
            let judged = |c, x| {
                let found = c.judge(m, x, #{ draws: 3, each: 0, seed: 1 }).to_map();
                let ways = [found.circuit, found.complement] + found.random.map(|two| two[0]);
                ways.map(|way| way.metric) + [found.everything, found.nothing]
            };
            let features = |options, x| {
                let all = tensor::zeros([2, 13]).to_array();
                let found = circuit::sparse_features(m, saes, x, #{ node_threshold: 0, edges: false } + options);
                for node in found.nodes {
                    if node.name != \"logits\" { all[node.level][if \"feature\" in node { node.feature } else { 12 }] = node.effect; }
                }
                all
            };
            import \"std/subspaces\" as subspaces;
            let swaps = |x| x.map(|pair| #{ base: pair.clean, source: pair.corrupt, answer: pair.answers[0] });
            let subspace = subspace::das(m, swaps.call(x), #{ site: \"resid_post.0\", k: 2, steps: 2, seed: 1 });",
        texts: "[#{ clean: [0, 1, 2, 3, 0], corrupt: [0, 3, 2, 3, 0], answers: [1], wrong: [2] },
            #{ clean: [1, 2], corrupt: [3, 2], answers: [0], wrong: [3] }, #{ clean: [2, 1, 2], corrupt: [2, 1, 1], answers: [3], wrong: [1] }]",
        calls: &[
            ("circuits judged", Mean, "|x| judged.call(part, x)"),
            ("feature circuits", Mean, "|x| features.call(#{ method: \"attribution\" }, x)"),
            ("feature circuits", Mean, "|x| features.call(#{ method: \"integrated\" }, x)"),
            ("feature circuits", Mean, "|x| features.call(#{ method: \"exact\" }, x)"),
            ("feature circuits", Mean, "|x| features.call(#{ method: \"exact\", ablation: \"zero\" }, x)"),
            ("interchanges", Mean, "|x| subspace.accuracy(m, swaps.call(x))"),
            ("interchanges", Mean, "|x| subspaces::accuracy(m, swaps.call(x), subspace.basis, #{ site: \"resid_post.0\" })"),
            ("interchanges", Each, "|x| subspaces::logits(m, swaps.call(x), subspace.basis, #{ site: \"resid_post.0\" }).to_array()"),
            // Faithfulness is a quotient of means: times what it is a share of, it is a mean.
            (
                "curves of circuits",
                Mean,
                "|x| {
                    let ends = found.judge(m, x, #{ draws: 1, each: 0, seed: 1 }).to_map();
                    let curve = found.curve(m, x, #{ shares: [0.1, 0.3], draws: 2, seed: 1 }).table;
                    (curve[\"f\"] + curve[\"random f\"]).map(|f| f * (ends.everything - ends.nothing) * 100)
                }",
            ),
            ("groups ablated", Mean, "|x| found.ablate(m, x, \"g\", #{ draws: 2, seed: 1 })[\"measured\"].map(|change| change * 100)"),
            ("interactions", Mean, "|x| joint.call(x, \"loss\")"),
            ("interactions", Mean, "|x| joint.call(x, \"kl\")"),
            (
                "largest codes",
                Largest,
                "|x| intervene::pinned(m, saes[0].feature(2), [1, 2], clean.call(x), #{ tokens: 1 })[\"activation\"].map(|code| code * 100)",
            ),
        ],
    },
    CallGroup {
        begin: "let m = model::init(#{ layers: 3, d_model: 12, heads: 2, vocab: 20, context: 32 }, #{ seed: 3 });
            let l = sae::load_lorsa(\"tests/fixtures/lorsa/topk\", m);",
        texts: TEXTS,
        calls: &[
            ("codes of attention", Each, "|x| cut.call(l.codes(m, x), x)"),
            ("patterns of attention", Each, "|x| { let y = l.pattern(m, x, 9); x.map(|t, i| y[i][[0..t.len, 0..t.len]]) }"),
            ("patterns of attention", Each, "|x| { let y = l.reads(m, x, 4); x.map(|t, i| y[i][[0..t.len, 0..t.len]]) }"),
            ("spliced attention", Each, "|x| cut.call(m.logits(x, #{ hooks: l.splice() }), x)"),
            ("spliced attention", Each, "|x| m.generate_ids(x, #{ tokens: 2, hooks: l.splice() })"),
        ],
    },
    CallGroup {
        begin: "let m = model::init(#{ layers: 3, d_model: 6, heads: 2, vocab: 20, context: 32 }, #{ seed: 3 });
            let t = sae::load_temporal(\"tests/fixtures/temporal/topk\");",
        texts: TEXTS,
        calls: &[
            ("codes from the past", Each, "|x| cut.call(t.codes(m, x), x)"),
            ("codes from the past", Each, "|x| cut.call(t.predicted(m, x), x)"),
            ("codes from the past", Each, "|x| { let y = t.pattern(m, x, 2); x.map(|t, i| y[i][[0..t.len, 0..t.len]]) }"),
            ("spliced from the past", Each, "|x| cut.call(m.logits(x, #{ hooks: t.splice() }), x)"),
            ("spliced from the past", Each, "|x| m.generate_ids(x, #{ tokens: 2, hooks: t.splice() })"),
        ],
    },
    CallGroup {
        begin: "import \"std/tasks\" as tasks;
            let m = model::init(#{ layers: 2, d_model: 16, heads: 4, vocab: 6, context: 16 }, #{ words: [\"the\", \"cat\", \"sat\", \"on\", \"a\", \"mat\"], seed: 1 });",
        texts: "[\"the cat sat on a\", \"a\", \"the mat\"]",
        calls: &[
            // A text's first token is not predicted, and its bytes do not count.
            (
                "bits",
                Mean,
                "|x| {
                    let x = x.map(|text| text + \" on\");
                    let bytes = x.map(|text| text.bytes - text.split(\" \")[0].bytes).reduce(|a, b| a + b, 0);
                    m.bits_per_byte(x) * bytes / x.len
                }",
            ),
            ("texts as words", Each, "|x| m.generate(x, #{ tokens: 5 })"),
            ("texts as words", Each, "|x| real.call(m.losses(x))"),
            ("tasks", Each, "|x| tasks::log_probabilities(m, x, x.map(|text| [\" mat\", \" cat sat\"]))"),
            ("tasks", Each, "|x| tasks::judge(m, x.map(|text| #{ clean: text, answers: [\" cat\"], wrong: [\" on the\"] })).masses"),
        ],
    },
];

/// Functions of the reference that take texts, prompts or pairs, each with the code of the parts that tries it.
const TRIED: &[(&str, &str)] = &[
    ("Circuit.ablate", "found.ablate(m, x"),
    ("Circuit.curve", "found.curve(m, x"),
    ("Circuit.judge", "c.judge(m, x"),
    ("FittedLens.judge", "lens.judge(m, x"),
    ("FittedLens.read", "lens.read(m, x"),
    ("Lorsa.codes", "l.codes(m, x"),
    ("Lorsa.pattern", "l.pattern(m, x"),
    ("Lorsa.reads", "l.reads(m, x"),
    ("Metric.values", "metric::logit_diff().values(m, x"),
    ("Model.attribution", "m.attribution(x"),
    ("Model.bits_per_byte", "m.bits_per_byte(x"),
    ("Model.cache", "m.cache(x"),
    ("Model.generate", "m.generate(x"),
    ("Model.generate_ids", "m.generate_ids(x"),
    ("Model.grads", "m.grads(x"),
    ("Model.jacobian_lens", "m.jacobian_lens(x"),
    ("Model.lens", "m.lens(x"),
    ("Model.logits", "m.logits(x"),
    ("Model.loss", "m.loss(x"),
    ("Model.losses", "m.losses(x"),
    ("Model.patchscope", "m.patchscope(x"),
    ("Model.run", "m.run(x"),
    ("Monitor.calibrate", "judged.calibrate(m, x"),
    ("Monitor.false_alarms", "judged.false_alarms(m, x"),
    ("Monitor.fit", "judged.fit(m, x"),
    ("Monitor.judge", "judged.judge(m, x"),
    ("Monitor.roc", "judged.roc(m, x"),
    ("Monitor.scores", "mon.scores(m, x"),
    ("Monitor.watch", "mon.watch(m, x"),
    ("Subspace.accuracy", "subspace.accuracy(m, swaps.call(x)"),
    ("circuit::edges", "circuit::edges(m, x"),
    ("diff::activations", "diff::activations(m, tuned, x"),
    ("diff::differences", "diff::differences(m, tuned, x"),
    ("diff::kl", "diff::kl(m, tuned, x"),
    ("diff::mine", "diff::mine(m, tuned, x"),
    ("features::heads", "features::heads(m, x"),
    ("circuit::sparse_features", "circuit::sparse_features(m, saes, x"),
    ("intervene::feature_patch", "intervene::feature_patch(m, sae::identity(d), x"),
    ("intervene::grid", "intervene::grid(m, x"),
    ("intervene::interactions", "intervene::interactions(m, features, clean.call(x"),
    ("intervene::paths", "intervene::paths(m, x"),
    ("intervene::pinned", "intervene::pinned(m, saes[0].feature(2), [1, 2], clean.call(x"),
    ("intervene::steer", "sweep.call(x, many"),
    ("intervene::steering_vector", "intervene::steering_vector(m, x"),
    ("subspaces::accuracy", "subspaces::accuracy(m, swaps.call(x)"),
    ("subspaces::logits", "subspaces::logits(m, swaps.call(x)"),
    ("tasks::judge", "tasks::judge(m, x"),
    ("tasks::log_probabilities", "tasks::log_probabilities(m, x"),
    ("TemporalSae.codes", "t.codes(m, x"),
    ("TemporalSae.pattern", "t.pattern(m, x"),
    ("TemporalSae.predicted", "t.predicted(m, x"),
];

const ONE: &str = "it reads one text";
const CHOOSES: &str = "it chooses by means that are compared as those of edges";
const DESCENDS: &str =
    "it descends on batches of drawn pairs or prompts; what it finds is judged by calls that are compared";
const EACH: &str = "it reads each text by itself";
const TEXT: &str = "its text is a `Text`, which is cut into rows of one length";

/// Functions of the reference that take texts, prompts or pairs and are not compared, and why.
const EXCUSED: &[(&str, &str)] = &[
    ("Feature.on", ONE),
    ("Model.attention", ONE),
    ("Model.attention_map", ONE),
    ("Model.predict", ONE),
    ("Model.token_texts", ONE),
    ("Model.tokens", ONE),
    ("Model.tuned_lens", DESCENDS),
    ("Model.lens_page", ONE),
    ("Model.verify", "it compares a run, which is compared, with a dump"),
    ("Monitor.generate", ONE),
    ("circuit::acdc", CHOOSES),
    ("circuit::attribution_graph", ONE),
    ("circuit::qk", ONE),
    ("circuit::edge_pruning", DESCENDS),
    ("circuit::node_pruning", DESCENDS),
    ("diff::components", "it takes components of `diff::differences`, which is compared"),
    ("experiments::candidates", CHOOSES),
    ("experiments::read", TEXT),
    ("intervene::anchors", ONE),
    ("intervene::axbench", "it writes by `generate_ids`, which is compared, and grades each prompt by the others"),
    ("intervene::receiver_heads", EACH),
    ("intervene::sentences", ONE),
    ("probes::texts", TEXT),
    ("subspace::das", DESCENDS),
    ("subspaces::das", DESCENDS),
    ("tasks::brackets", TEXT),
    ("tasks::closing", TEXT),
    ("tasks::depths", TEXT),
    ("tasks::due", TEXT),
    ("tasks::quotes", TEXT),
    ("traits::layers", "it steers by `intervene::steer`, which is compared"),
    ("traits::typical", "it counts tokens, without a model's pass"),
    ("traits::vectors", "it calls `intervene::steering_vector`, which is compared"),
    ("traits::words", "it counts tokens, without a model's pass"),
    ("traits::written", "it writes by `generate_ids`, which is compared"),
];

/// Whether a function reads texts, prompts or pairs with a model. `Text` and `string` are types of their own.
fn reads_texts(entry: &ReferenceEntry) -> bool {
    const NAMES: [&str; 8] = ["pairs", "prompts", "prompt", "texts", "text", "x", "with", "without"];
    let is_one =
        |(name, kind): &(String, String)| NAMES.contains(&name.as_str()) && matches!(kind.as_str(), "any" | "array");
    entry.overloads.iter().any(|Overload { parameters, .. }| {
        let has_model = parameters.iter().any(|(name, kind)| name == "m" || kind == "Model");
        (has_model || entry.receiver == "Model") && parameters.iter().any(is_one)
    })
}

#[test]
fn every_function_that_takes_texts_is_compared_or_excused() {
    let found: BTreeSet<String> = support::on_large_stack(|| {
        let docs = support::docs();
        docs.entries().iter().filter(|entry| reads_texts(entry)).map(ReferenceEntry::path).collect()
    });
    let known = TRIED.iter().chain(EXCUSED).map(|(path, _)| path.to_string());
    assert_eq!(known.clone().count(), known.clone().collect::<BTreeSet<_>>().len(), "one stands there twice");
    assert_eq!(found, known.collect(), "functions that take texts, and those that are compared or excused");
    for (path, code) in TRIED {
        let stands =
            |part: &CallGroup| part.begin.contains(code) || part.calls.iter().any(|(_, _, call)| call.contains(code));
        assert!(PARTS.iter().any(stands), "{path}: no part has `{code}`");
    }
}

#[test]
fn every_call_that_takes_texts() {
    support::on_large_stack(|| {
        let mut found = BatchFindings::default();
        for part in PARTS {
            let (_folder, mut session) = support::alone();
            let _nothing =
                session.eval("batches", &part.begun(MODEL)).unwrap_or_else(|e| panic!("{}: {}", part.begin, e.message));
            for (group, joined, code) in part.calls {
                found.compare(&mut session, "", &BatchCall { group, joined: *joined, code }, MOST);
            }
        }
        found.judged();
    });
}

/// Families differ in their parts, so that some have no calls of some kinds: such a call is refused for a text alone, and has to be
/// refused for several.
#[test]
fn calls_that_take_texts_on_every_family() {
    support::on_large_stack(|| {
        let mut found = BatchFindings::default();
        let mut number = 0;
        for family in FAMILIES {
            let load = format!("model::load({:?})", fixture(family));
            for part in PARTS.iter().filter(|part| !part.begin.contains("let m = ")) {
                let (_folder, mut session) = support::alone();
                if let Err(failure) = session.eval("batches", &part.begun(&load)) {
                    found.refuse(family, &failure.message, part.calls.len());
                    continue;
                }
                for (group, joined, code) in part.calls {
                    number += 1;
                    if is_all() || number % SAMPLED == 0 {
                        let call = BatchCall { group, joined: *joined, code };
                        found.compare_or_refuse(&mut session, family, &call, MOST_OF_FAMILIES);
                    }
                }
            }
        }
        found.judged();
    });
}
