//! The methods of the guide, what each is measured by, and how much more it needs where that is larger; and the methods that
//! are not measured, with the reason.

/// What is varied, with its sizes; the first ones are those of the quick mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// Tokens of a prompt.
    Tokens,
    /// Tokens of a text.
    Text,
    /// Rows of activations.
    Rows,
    Layers,
    Heads,
    /// Features of a dictionary.
    Features,
    /// Edges between heads and MLPs, by the number of layers.
    Edges,
}

use Variable::{Edges, Features, Heads, Layers, Rows, Text, Tokens};

impl Variable {
    pub fn name(self) -> &'static str {
        match self {
            Tokens => "tokens",
            Text => "tokens of text",
            Rows => "rows",
            Layers => "layers",
            Heads => "heads",
            Features => "features",
            Edges => "edges",
        }
    }

    /// The word in scripts that stands for the size.
    pub fn word(self) -> &'static str {
        match self {
            Tokens => "{tokens}",
            Text => "{text}",
            Rows => "{rows}",
            Layers | Edges => "{layers}",
            Heads => "{heads}",
            Features => "{features}",
        }
    }

    pub fn sizes(self) -> &'static [usize] {
        match self {
            Tokens => &[64, 128, 256, 512],
            Text => &[4096, 8192, 16_384, 32_768],
            Rows => &[4096, 8192, 16_384, 32_768],
            Layers => &[2, 4, 8, 16],
            Edges => &[2, 4, 8, 12],
            Heads => &[2, 4, 8, 16],
            Features => &[1024, 2048, 4096, 8192],
        }
    }

    /// How large what is varied is, at a size.
    pub fn extent(self, size: usize) -> usize {
        /// Heads of the model whose edges are counted.
        const HEADS: usize = 4;
        match self {
            Edges => {
                let senders = |layer: usize| 1 + layer * (HEADS + 1);
                let of_layer = |layer: usize| 3 * HEADS * senders(layer) + senders(layer) + HEADS;
                (0..size).map(of_layer).sum::<usize>() + senders(size)
            }
            _ => size,
        }
    }
}

/// The values of the words of scripts where nothing else is varied.
pub type Sizes = [(&'static str, usize); 7];

/// Sizes at which growth is measured, small, so that the larger ones end in time.
pub const SMALL: Sizes = [
    ("{tokens}", 64),
    ("{text}", 4096),
    ("{rows}", 4096),
    ("{layers}", 4),
    ("{heads}", 4),
    ("{features}", 1024),
    ("{width}", 128),
];
/// Sizes at which threads are measured: the weights of the model, 28 MiB, fill the last cache.
pub const LARGE: Sizes = [
    ("{tokens}", 64),
    ("{text}", 2048),
    ("{rows}", 4096),
    ("{layers}", 4),
    ("{heads}", 4),
    ("{features}", 2048),
    ("{width}", 384),
];

/// The exponents that a method needs, of time and of memory: it may do with less.
pub struct Need {
    pub by: Variable,
    pub time: f64,
    pub memory: f64,
}

const fn need(by: Variable, time: f64, memory: f64) -> Need {
    Need { by, time, memory }
}

/// A method, by what is made before and what is measured, in scripts.
pub struct Method {
    pub name: &'static str,
    /// How the names of those paragraphs of the guide begin whose work this is.
    pub of: &'static [&'static str],
    /// The parts that are made, and behind a semicolon what is made with them.
    pub made: &'static str,
    pub measured: &'static str,
    pub needs: &'static [Need],
}

/// A model with random weights, whose tokens are bytes.
const MODEL: &str = r#"
let t = data::tokenizer("abc", #{ vocab: 300 });
let config = #{ layers: {layers}, d_model: {width}, heads: {heads}, vocab: t.size, context: 1024 };
let m = model::init(config, #{ tokenizer: t, seed: 1 });
"#;
const PROMPT: &str = r#"
let x = [];
for i in 0..{tokens} { x.push((i * 7919 + 13) % 256); }
"#;
const PAIRS: &str = r#"
let y = x;
y[1] = 42;
let pairs = data::pairs([x], [y], #{ answers: [100], wrong: [200] });
"#;
const TEXT: &str = r#"
let text = data::text("grammar", #{ mix: #{ parentheses: 1 }, tokens: {text}, seed: 1 });
"#;
/// Dictionaries of all layers, fitted for a step.
const DICTIONARIES: &str = r#"
let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 16, d_sae: {features}, steps: 1, batch: 256, seed: 1 });
"#;
const TRANSCODERS: &str = r#"
let options = #{ k: 16, d_sae: {features}, steps: 1, batch: 256, seed: 1 };
let transcoders = [];
for n in 0..{layers} { transcoders.push(sae::transcoder(m, `mlp_in.${n}`, `mlp_out.${n}`, text, options)); }
"#;
const ACTIVATIONS: &str = "let x = tensor::randn([{rows}, 64], #{ seed: 1 });\n";

/// What a method is made of, by its names above.
fn part(name: &str) -> &'static str {
    match name {
        "model" => MODEL,
        "prompt" => PROMPT,
        "pairs" => PAIRS,
        "text" => TEXT,
        "dictionaries" => DICTIONARIES,
        "transcoders" => TRANSCODERS,
        "activations" => ACTIVATIONS,
        _ => panic!("no part is called {name}"),
    }
}

impl Method {
    /// The scripts of a method at some sizes: what is made before, and what is measured.
    pub fn scripts(&self, sizes: &Sizes) -> [String; 2] {
        let filled = |script: &str| {
            sizes.iter().fold(script.to_string(), |script, (word, value)| script.replace(word, &value.to_string()))
        };
        let (parts, own) = self.made.split_once(';').unwrap_or((self.made, ""));
        let made: String = parts.split_whitespace().map(part).chain([own]).collect();
        [filled(&made), filled(self.measured)]
    }
}

/// The small sizes with another one.
pub fn varied(by: Variable, size: usize) -> Sizes {
    SMALL.map(|(word, usual)| (word, if word == by.word() { size } else { usual }))
}

/// What is measured; those without a paragraph of the guide are what several of them do.
pub const METHODS: &[Method] = &[
    Method {
        name: "a pass with all logits",
        of: &[],
        made: "model prompt",
        measured: "m.logits(x)",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 0.0)],
    },
    Method {
        name: "recording the residual stream",
        of: &[],
        made: "model prompt",
        measured: "m.run(x, #{ sites: \"resid_post.*\" })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "the logit lens at all layers",
        of: &["Logit lens"],
        made: "model prompt",
        measured: "m.lens(x)",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "a tuned lens, 10 steps",
        of: &["Logit lens"],
        made: "model text",
        measured: "m.tuned_lens(text, #{ steps: 10, seed: 1 })",
        needs: &[need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "a Jacobian lens, 2 prompts of 32 tokens",
        of: &["Logit lens"],
        made: "model text",
        measured: "m.jacobian_lens(text, #{ prompts: 2, context: 32 })",
        needs: &[need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "logit attribution by head",
        of: &["Direct logit attribution"],
        made: "model prompt",
        measured: "m.attribution(x, 100, #{ by: \"head\" })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0), need(Heads, 1.0, 1.0)],
    },
    Method {
        name: "a patchscope",
        of: &["Patchscopes"],
        made: "model prompt",
        measured: "m.patchscope(x, x)",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 2.0, 1.0)],
    },
    Method {
        name: "gradients at the residual stream",
        of: &["Gradients and integrated"],
        made: "model prompt",
        measured: "m.grads(x, |l| l.at([0, -1, 100]), \"resid_post.*\")",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "five steps of an optimised vector",
        of: &["Optimised vectors"],
        made: "model prompt",
        measured: "optim::adamw(#{ v: tensor::zeros({width}) }, #{ lr: 0.05, steps: 5 }).run(5, |p| \
                   -m.with(hooks::add(\"resid_post.1\", p.v)).logits(x).at([0, -1, 100]))",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "writing tokens",
        of: &["Steering by features"],
        made: "model prompt",
        measured: "m.generate([1, 2], #{ tokens: {tokens} })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "patching by layer and position",
        of: &["Activation patching"],
        made: "model prompt pairs",
        measured: "intervene::grid(m, pairs)",
        needs: &[need(Tokens, 3.0, 1.0), need(Layers, 2.0, 1.0)],
    },
    Method {
        name: "patching by head",
        of: &["Activation patching"],
        made: "model prompt pairs",
        measured: "intervene::grid(m, pairs, #{ by: \"head\" })",
        needs: &[need(Layers, 2.0, 1.0), need(Heads, 1.0, 1.0)],
    },
    Method {
        name: "patching by feature",
        of: &["Patching features"],
        made: "model prompt pairs text dictionaries",
        measured: "intervene::grid(m, pairs, #{ by: \"feature\", dictionaries: saes[-1] })",
        needs: &[need(Features, 1.0, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "the fewest features that carry a patch",
        of: &["Patching features"],
        made: "model prompt pairs text dictionaries",
        measured: "intervene::feature_patch(m, saes[-1], pairs)",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "patching by attribution",
        of: &["Attribution patching"],
        made: "model prompt pairs",
        measured: "intervene::grid(m, pairs, #{ method: \"attribution\" })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "the same by relevance",
        of: &["Relevance in place"],
        made: "model prompt pairs",
        measured: "intervene::grid(m, pairs, #{ method: \"attribution\", gradients: \"relp\" })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "suppressed sentences",
        of: &["Thought anchors"],
        made: "model; let words = \"\"; for i in 0..{tokens} { words += if i % 8 == 7 { \". \" } else { \"a\" }; }",
        measured: "intervene::sentences(m, words)",
        needs: &[need(Tokens, 3.0, 2.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "path patching to the logits",
        of: &["Path patching"],
        made: "model prompt pairs",
        measured: "intervene::paths(m, pairs, #{ senders: \"z.*.*\", receivers: [\"logits\"] })",
        needs: &[need(Layers, 2.0, 1.0), need(Heads, 1.0, 1.0)],
    },
    Method {
        name: "zero ablation of each layer's attention",
        of: &["Ablations and interactions"],
        made: "model prompt",
        measured: "intervene::grid(m, #{ clean: x }, #{ sites: \"attn_out\", by: \"layer\", ablate: \"zero\", \
                   metric: metric::kl() })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 2.0, 1.0)],
    },
    Method {
        name: "interaction of two features",
        of: &["Ablations and interactions"],
        made: "model text dictionaries",
        measured: "intervene::interactions(m, [saes[0].feature(1), saes[1].feature(2)], text, #{ rows: 8, context: \
                   64, seed: 1 })",
        needs: &[need(Layers, 1.0, 1.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "a pass without a direction",
        of: &["Directional ablation"],
        made: "model prompt; let v = tensor::randn([{width}], #{ seed: 1 }); let without = \
               m.with(hooks::project_out(\"resid_post.*\", v));",
        measured: "without.logits(x)",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 0.0)],
    },
    Method {
        name: "a steering vector",
        of: &["Steering (Turner"],
        made: "model prompt",
        measured: "intervene::steering_vector(m, [x], [x], \"resid_post.1\")",
        needs: &[need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "a probe",
        of: &["Probes (Alain"],
        made: "activations; let labels = x[[\":\", 0]] > 0;",
        measured: "probe::fit(x, labels)",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "a sparse probe",
        of: &["Sparse probes"],
        made: "activations; let labels = x[[\":\", 0]] > 0;",
        measured: "probe::fit(x, labels, #{ kind: \"sparse\", k: 5 })",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "an eraser, LEACE",
        of: &["Erasure."],
        made: "activations; let labels = x[[\":\", 0]] > 0;",
        measured: "intervene::erase(x, labels)",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "an eraser, INLP in four rounds",
        of: &["Mean projection"],
        made: "activations; let labels = x[[\":\", 0]] > 0;",
        measured: "intervene::erase(x, labels, #{ kind: \"inlp\", rounds: 4 })",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "distributed alignment search, 10 steps",
        of: &["Subspaces (DAS"],
        made: "model prompt; let of = []; for i in 0..8 { let a = x; a[-1] = i; let b = a; b[-1] = 42 + i; of.push(#{ \
               base: a, source: b, answer: 100 }); }",
        measured: "subspace::das(m, of, #{ site: \"resid_pre.0\", k: 4, steps: 10, seed: 1 })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "the same, boundless",
        of: &["Boundless DAS"],
        made: "model prompt; let of = []; for i in 0..8 { let a = x; a[-1] = i; let b = a; b[-1] = 42 + i; of.push(#{ \
               base: a, source: b, answer: 100 }); }",
        measured: "subspace::das(m, of, #{ site: \"resid_pre.0\", boundless: true, steps: 10, seed: 1 })",
        needs: &[need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "scores of edges, EAP",
        of: &["EAP, EAP-IG, AtP"],
        made: "model prompt pairs",
        measured: "circuit::edges(m, pairs)",
        needs: &[need(Edges, 1.0, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "scores of edges, EAP-IG over activations",
        of: &["EAP-IG over activations"],
        made: "model prompt pairs",
        measured: "circuit::edges(m, pairs, #{ method: \"eap_ig_activations\" })",
        needs: &[need(Edges, 1.5, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "exact effects of edges",
        of: &["Exact effects of edges"],
        made: "model prompt pairs",
        measured: "circuit::edges(m, pairs, #{ method: \"exact\" })",
        needs: &[need(Edges, 1.5, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "ACDC",
        of: &["Exact effects of edges"],
        made: "model prompt pairs",
        measured: "circuit::acdc(m, pairs, #{ threshold: 0.0 })",
        needs: &[need(Edges, 1.5, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "edge pruning, 5 steps",
        of: &["Edge pruning"],
        made: "model prompt pairs",
        measured: "circuit::edge_pruning(m, pairs, #{ steps: 5, seed: 1 })",
        needs: &[need(Edges, 1.0, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "node pruning, 5 steps",
        of: &["Node pruning"],
        made: "model prompt pairs; let small = model::init(config + #{ d_model: 16 }, #{ tokenizer: t, seed: 1 });",
        measured: "circuit::node_pruning(small, pairs, #{ steps: 5, loss: 10.0 })",
        // A pass through all layers for each channel, of which each layer has as many.
        needs: &[need(Layers, 2.0, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "a circuit of 20 edges by integer programming",
        of: &["Ensembles of scores"],
        made: "model prompt pairs; let all = circuit::edges(m, pairs);",
        measured: "all.ilp(20)",
        needs: &[need(Edges, 2.0, 1.0)],
    },
    Method {
        name: "judging a circuit of 20 edges",
        of: &["Judging"],
        made: "model prompt pairs; let some = circuit::edges(m, pairs).top(20);",
        measured: "some.judge(m, pairs)",
        needs: &[need(Edges, 1.0, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "the curve of all edges",
        of: &["Areas under curves"],
        made: "model prompt pairs; let all = circuit::edges(m, pairs);",
        measured: "all.curve(m, pairs)",
        needs: &[need(Edges, 1.0, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "a feature circuit",
        of: &["Sparse feature circuits"],
        made: "model prompt pairs text dictionaries",
        measured: "circuit::sparse_features(m, saes, pairs)",
        needs: &[need(Features, 1.0, 1.0), need(Tokens, 2.0, 1.0), need(Layers, 2.0, 1.0)],
    },
    Method {
        name: "features by attribution",
        of: &["Features by attribution"],
        made: "model text dictionaries",
        measured: "circuit::select(m, saes, saes[-1].feature(1), text, #{ token: \")\" })",
        needs: &[need(Features, 1.0, 1.0), need(Layers, 1.0, 1.0), need(Text, 1.0, 1.0)],
    },
    Method {
        name: "a smallest circuit of features, half a time",
        of: &["Smallest circuits"],
        made: "model text dictionaries",
        measured: "circuit::smallest(m, saes, text, #{ token: \")\", tokens: 256, rate: 0.5 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "a causal tree",
        of: &["Causal trees"],
        made: "model text dictionaries; let f = saes[-1].feature(features::contexts(m, saes[-1], text)[0].feature);",
        measured: "circuit::causal_tree(m, saes, f, text, #{ contexts: 8, tokens: 4096, context: 32 })",
        // Nodes of each layer, which are looked for in all layers before.
        needs: &[need(Features, 1.0, 1.0), need(Layers, 2.0, 1.0)],
    },
    Method {
        name: "an attribution graph",
        of: &["Attribution graphs"],
        made: "model prompt text transcoders",
        measured: "circuit::attribution_graph(m, transcoders, x, #{ targets: [5] })",
        needs: &[need(Tokens, 2.0, 2.0), need(Features, 1.0, 1.0), need(Layers, 2.0, 2.0)],
    },
    Method {
        name: "an attention pattern",
        of: &["Attention patterns"],
        made: "model prompt",
        measured: "m.attention_map(x, \"pattern.1.0\")",
        needs: &[need(Tokens, 2.0, 2.0)],
    },
    Method {
        name: "cards of all heads",
        of: &["Induction, previous-token", "Cards of heads"],
        made: "model text",
        measured: "features::heads(m, text)",
        needs: &[need(Heads, 1.0, 1.0), need(Layers, 2.0, 1.0), need(Text, 1.0, 1.0)],
    },
    Method {
        name: "parts of an attention score",
        of: &["QK attributions"],
        made: "model prompt",
        measured: "circuit::qk(m, x, \"scores.1.0\")",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "a fit of a top-k dictionary, 10 steps",
        of: &["Sparse autoencoders", "TopK, BatchTopK"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"topk\", k: 16, d_sae: {features}, steps: 10, batch: 2048, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0), need(Rows, 0.0, 1.0)],
    },
    Method {
        name: "the same with a batch's k",
        of: &["TopK, BatchTopK"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"batch_topk\", k: 16, d_sae: {features}, steps: 10, batch: 2048, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "the same with an L1 penalty",
        of: &["L1 penalties"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"relu\", target: 16, d_sae: {features}, steps: 10, batch: 2048, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "the same, jumprelu",
        of: &["Gated, JumpReLU"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"jumprelu\", target: 16, d_sae: {features}, steps: 10, batch: 2048, seed: 1 \
                   })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "the same, gated",
        of: &["Gated, JumpReLU"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"gated\", target: 16, d_sae: {features}, steps: 10, batch: 2048, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "the same, matryoshka",
        of: &["Matryoshka"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"matryoshka\", k: 16, prefixes: [64, 256, {features}], d_sae: {features}, \
                   steps: 10, batch: 2048, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "the same by matching pursuit, 2 steps",
        of: &["Matching pursuit"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"matching_pursuit\", k: 16, d_sae: {features}, steps: 2, batch: 2048, seed: \
                   1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "the same with a learned k, 2 steps",
        of: &["A number of features"],
        made: "activations",
        measured: "sae::fit(x, #{ kind: \"soft_topk\", k: 16, d_sae: {features}, steps: 2, batch: 2048, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "fine-tuning a dictionary, one step",
        of: &["End-to-end"],
        made: "model text dictionaries",
        measured: "saes[1].fine_tune(m, text, #{ steps: 1, batch: 4, context: 128, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "principal components",
        of: &["Linear baselines"],
        made: "activations",
        measured: "sae::pca(x, #{ k: 32 })",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "independent components",
        of: &["Linear baselines"],
        made: "activations",
        measured: "sae::ica(x)",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "shapes in a dictionary",
        of: &["Shapes."],
        made: "activations; let a = sae::random(x, {features}, #{ k: 16, seed: 1 });",
        measured: "sae::shapes(a, x)",
        needs: &[need(Features, 2.0, 1.0), need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "geometry of a dictionary",
        of: &["Geometry and interference"],
        made: "; let a = sae::random(64, {features}, #{ seed: 1 });",
        measured: "sae::geometry(a)",
        needs: &[need(Features, 2.0, 1.0)],
    },
    Method {
        name: "a map of a dictionary",
        of: &["Maps and neighbours"],
        made: "; let a = sae::random(64, {features}, #{ seed: 1 });",
        measured: "sae::map(a, #{ seed: 1 })",
        needs: &[need(Features, 2.0, 1.0)],
    },
    Method {
        name: "mean max cosine similarity",
        of: &["Universality, stability"],
        made: "; let a = sae::random(64, {features}, #{ seed: 1 }); let b = sae::random(64, {features}, #{ seed: 2 });",
        measured: "sae::mmcs(a, b)",
        needs: &[need(Features, 2.0, 1.0)],
    },
    Method {
        name: "features of two layers that agree",
        of: &["Universality, stability", "Features over depth"],
        made: "model text dictionaries",
        measured: "sae::universality(saes[0], m, saes[1], m, text)",
        needs: &[need(Features, 2.0, 2.0), need(Text, 1.0, 1.0)],
    },
    Method {
        name: "splitting",
        of: &["Feature splitting"],
        made: "activations; let a = sae::random(x, 512, #{ k: 16, seed: 1 }); let b = sae::random(x, {features}, #{ \
               k: 16, seed: 2 });",
        measured: "sae::splitting(a, b, x)",
        needs: &[need(Features, 1.0, 1.0), need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "suppression",
        of: &["Suppression"],
        made: "activations; let a = sae::random(x, {features}, #{ k: 16, seed: 1 });",
        measured: "sae::suppression(a, x)",
        needs: &[need(Features, 1.0, 1.0), need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "absorption of a feature",
        of: &["Absorption"],
        made: "activations; let labels = x[[\":\", 0]] > 0; let p = probe::fit(x, labels); let a = sae::random(x, \
               {features}, #{ k: 16, seed: 1 });",
        measured: "sae::absorption(a, x, p, [3, 17])",
        needs: &[need(Features, 1.0, 1.0), need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "a fit of a transcoder, 5 steps",
        of: &["Transcoders, skip"],
        made: "model text",
        measured: "sae::transcoder(m, \"mlp_in.1\", \"mlp_out.1\", text, #{ k: 16, d_sae: {features}, steps: 5, \
                   batch: 1024, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "a fit of a cross-layer transcoder, 5 steps",
        of: &["Transcoders, skip"],
        made: "model text",
        measured: "sae::cross_layer_transcoder(m, text, #{ k: 16, d_sae: {features}, steps: 5, batch: 1024, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0), need(Layers, 2.0, 2.0)],
    },
    Method {
        name: "a fit of sparse attention, one step",
        of: &["Low-rank sparse attention"],
        made: "model text",
        measured: "sae::lorsa(m, 1, text, #{ k: 16, steps: 1, batch: 4, context: 128, seed: 1 })",
        needs: &[need(Heads, 1.0, 1.0)],
    },
    Method {
        name: "a fit of a temporal dictionary, one step",
        of: &["Temporal feature analysis"],
        made: "model text",
        measured: "sae::temporal(m, \"resid_post.1\", text, #{ k: 16, d_sae: {features}, steps: 1, batch: 4, \
                   context: 32, seed: 1 })",
        needs: &[need(Features, 2.0, 2.0)],
    },
    Method {
        name: "a fit of a crosscoder of all layers, 5 steps",
        of: &["Crosscoders and diffing", "Crosscoders of layers"],
        made: "model text",
        measured: "sae::crosscoder(m, \"resid_post.*\", text, #{ target: 16, d_sae: {features}, steps: 5, batch: \
                   1024, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "a decomposition of an MLP, 5 steps",
        of: &["Parameter decomposition"],
        made: "model text",
        measured: "decomposition::mlp(m, 1, text, #{ steps: 5, faithful_steps: 0, seed: 1 })",
        needs: &[need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "divergence of two models",
        of: &["Divergence by token"],
        made: "model text; let tuned = model::init(config, #{ tokenizer: t, seed: 2 });",
        measured: "diff::kl(m, tuned, text)",
        needs: &[need(Text, 1.0, 1.0), need(Layers, 1.0, 0.0)],
    },
    Method {
        name: "difference of activations",
        of: &["Activation difference lens"],
        made: "model text; let tuned = model::init(config, #{ tokenizer: t, seed: 2 });",
        measured: "diff::activations(m, tuned, text, \"resid_post.1\", #{ first: 5 })",
        needs: &[need(Text, 1.0, 1.0)],
    },
    Method {
        name: "components of differences",
        of: &["Components of differences"],
        made: "model text; let tuned = model::init(config, #{ tokenizer: t, seed: 2 });",
        measured: "diff::components(m, tuned, text, \"resid_post.1\")",
        needs: &[need(Text, 1.0, 1.0)],
    },
    Method {
        name: "tokens that rise, in three topics",
        of: &["Diff mining"],
        made: "model text; let tuned = model::init(config, #{ tokenizer: t, seed: 2 });",
        measured: "diff::mine(m, tuned, text, #{ top: 20, topics: 3 })",
        needs: &[need(Text, 1.0, 1.0)],
    },
    Method {
        name: "a fit to differences, 5 steps",
        of: &["Dictionaries of differences"],
        made: "model text; let tuned = model::init(config, #{ tokenizer: t, seed: 2 });",
        measured: "sae::fit(diff::differences(m, tuned, text, \"resid_post.1\"), #{ k: 8, d_sae: {features}, steps: \
                   5, batch: 1024, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0)],
    },
    Method {
        name: "transcoder adapters, 2 steps",
        of: &["Transcoder adapters"],
        made: "model text; let tuned = model::init(config, #{ tokenizer: t, seed: 2 });",
        measured: "diff::transcoder_adapters(m, tuned, text, #{ steps: 2, seed: 1 })",
        needs: &[need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "a harvest",
        of: &[],
        made: "model text",
        measured: "data::harvest(m, \"resid_post.*\", text)",
        needs: &[need(Text, 1.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "contexts of all features",
        of: &["Surveys of contexts"],
        made: "model text dictionaries",
        measured: "features::contexts(m, saes[-1], text)",
        needs: &[need(Text, 1.0, 0.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "measures of a dictionary",
        of: &["Variance explained"],
        made: "model text dictionaries",
        measured: "saes[-1].measure_on(m, text)",
        needs: &[need(Text, 1.0, 0.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "loss recovered with a dictionary",
        of: &["Loss recovered"],
        made: "model text dictionaries",
        measured: "saes[-1].effect(m, text)",
        needs: &[need(Text, 1.0, 0.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "coverage of labels",
        of: &["Coverage and labels"],
        made: "model text dictionaries",
        measured: "sae::coverage(m, saes[-1], text)",
        needs: &[need(Features, 1.0, 1.0), need(Text, 1.0, 1.0)],
    },
    Method {
        name: "a description by rules",
        of: &["Descriptions without"],
        made: "model text dictionaries",
        measured: "features::describe(m, saes[-1].feature(1), text)",
        needs: &[need(Text, 1.0, 1.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "a card",
        of: &["Cards and dashboards"],
        made: "model text dictionaries; let densest = features::contexts(m, saes[-1], text).table.to_map().rows[0][1]; let f = \
               saes[-1].feature(densest);",
        measured: "features::card(m, f, text)",
        needs: &[need(Text, 1.0, 1.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "features that promote a token",
        of: &["Effects of a feature"],
        made: "model text dictionaries",
        measured: "features::predicting(m, saes[-1], text, \")\")",
        needs: &[need(Text, 1.0, 1.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "training a language model, 5 steps",
        of: &[],
        made: "model text",
        measured: "model::train(config, text, #{ tokenizer: t, steps: 5, batch: 8, context: {tokens}, seed: 1 })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
];

/// How the names of other paragraphs of the guide begin, and why their methods are not measured.
pub const OTHERS: &[(&str, &str)] = &[
    ("Attention knockout", "a pass with a hook, as the one without a direction"),
    ("AxBench", "written tokens, and a judge outside of the program"),
    ("Traits", "means of activations of texts that somebody wrote or a judge chose"),
    ("Judges of traits", "questions to a language model outside of the program"),
    ("Preventative steering", "a training with a hook, which costs a sum"),
    ("Monitors", "a pass, or written tokens, with a dot product at a site"),
    ("Deployment probes", "the order of some scores"),
    ("Bridges", "two trainings of language models, as the one below"),
    ("Few active neurons", "a training of a language model, as the one below"),
    ("QK and OV circuits", "one product of two matrices"),
    ("Known circuits", "a model of some tens of dimensions and the methods above"),
    ("Comparing circuits", "sets of names"),
    ("Changing a group", "passes with some nodes ablated, as judging makes"),
    ("Progress measures", "Fourier transforms of a table of 113 by 113, in a script"),
    ("Toy models", "a script that trains twenty numbers"),
    ("Evaluations", "the measures below, absorption, and probes"),
    ("Targeted probe perturbation", "probes, and passes with some features changed"),
    ("Recovery of known", "a fit and the cosines of two dictionaries"),
    ("Explanations and their", "questions to a language model outside of the program"),
    ("Simulation (Bills", "questions to a language model outside of the program"),
    ("Detection, fuzzing", "questions to a language model outside of the program"),
    ("Scores by input and by output", "a description, and a pass with a feature added"),
];

/// Why passes in which edges are cut take more.
const PATTERNS: &str = "patterns of attention take tokens squared, which shows from some hundred tokens on";

/// Reasons why a line of the list above what is needed is there, by how it begins; others are not known.
pub const REASONS: [(&str, &str); 5] = [
    (
        "time of an eraser, INLP",
        "a plane parts the labels, and the penalty of probes is 1 / rows, so that more rows take more steps",
    ),
    ("memory of judging a circuit", PATTERNS),
    ("memory of the curve of all edges", PATTERNS),
    ("time of the same by matching pursuit", "the products of all pairs of directions are made, up to 8,192 of these"),
    ("perhaps memory of the same by matching pursuit", "as for its time"),
];
