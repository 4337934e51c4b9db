//! The methods of the guide, what each is measured by, and how much more it needs where that is larger.

/// What is varied, with its sizes; the first ones are those of the quick mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    Threads,
}

use Variable::{Edges, Features, Heads, Layers, Rows, Text, Threads, Tokens};

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
            Threads => "threads",
        }
    }

    /// The word in scripts that stands for the size, and its value where something else is varied.
    pub const WORDS: [(&'static str, usize); 6] =
        [("{tokens}", 64), ("{text}", 8192), ("{rows}", 4096), ("{layers}", 4), ("{heads}", 4), ("{features}", 1024)];

    pub fn word(self) -> Option<&'static str> {
        match self {
            Tokens => Some("{tokens}"),
            Text => Some("{text}"),
            Rows => Some("{rows}"),
            Layers | Edges => Some("{layers}"),
            Heads => Some("{heads}"),
            Features => Some("{features}"),
            Threads => None,
        }
    }

    pub fn sizes(self) -> &'static [usize] {
        match self {
            Tokens => &[64, 128, 256, 512],
            Text => &[8192, 16_384, 32_768, 65_536],
            Rows => &[4096, 8192, 16_384, 32_768],
            Layers => &[2, 4, 8, 16],
            Edges => &[2, 4, 8, 12],
            Heads => &[2, 4, 8, 16],
            Features => &[1024, 2048, 4096, 8192],
            Threads => &[1, 2, 4, 8, 16],
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
    pub made: &'static str,
    pub measured: &'static str,
    pub needs: &'static [Need],
}

/// A model with random weights, whose tokens are bytes.
const MODEL: &str = r#"
let t = data::tokenizer("abc", #{ vocab: 300 });
let config = #{ layers: {layers}, d_model: 128, heads: {heads}, vocab: t.size, context: 1024 };
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
    /// The scripts of a method, where something has a size: what is made before, and what is measured.
    pub fn scripts(&self, by: Variable, size: usize) -> [String; 2] {
        let filled = |script: &str| {
            Variable::WORDS.iter().fold(script.to_string(), |script, (word, usual)| {
                let value = if by.word() == Some(*word) { size } else { *usual };
                script.replace(*word, &value.to_string())
            })
        };
        let (parts, own) = self.made.split_once(';').unwrap_or((self.made, ""));
        let made: String = parts.split_whitespace().map(part).chain([own]).collect();
        [filled(&made), filled(self.measured)]
    }
}

/// The parts that are made, and behind a semicolon what is made with them.
pub const METHODS: &[Method] = &[
    Method {
        name: "a pass with all logits",
        made: "model prompt",
        measured: "m.logits(x)",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 0.0), need(Threads, -1.0, 0.0)],
    },
    Method {
        name: "recording the residual stream",
        made: "model prompt",
        measured: "m.run(x, #{ sites: \"resid_post.*\" })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "gradients at the residual stream",
        made: "model prompt",
        measured: "m.grads(x, |l| l.at([0, -1, 100]), \"resid_post.*\")",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "writing tokens",
        made: "model prompt",
        measured: "m.generate([1, 2], #{ tokens: {tokens} })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "patching by layer and position",
        made: "model prompt pairs",
        measured: "intervene::grid(m, pairs)",
        needs: &[need(Tokens, 3.0, 1.0), need(Layers, 2.0, 1.0), need(Threads, -1.0, 0.0)],
    },
    Method {
        name: "patching by head",
        made: "model prompt pairs",
        measured: "intervene::grid(m, pairs, #{ by: \"head\" })",
        needs: &[need(Layers, 2.0, 1.0), need(Heads, 1.0, 1.0)],
    },
    Method {
        name: "patching by attribution",
        made: "model prompt pairs",
        measured: "intervene::grid(m, pairs, #{ method: \"attribution\" })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "path patching to the logits",
        made: "model prompt pairs",
        measured: "intervene::paths(m, pairs, #{ senders: \"z.*.*\", receivers: [\"logits\"] })",
        needs: &[need(Layers, 2.0, 1.0), need(Heads, 1.0, 1.0)],
    },
    Method {
        name: "zero ablation of each layer's attention",
        made: "model prompt",
        measured: "intervene::grid(m, #{ clean: x }, #{ sites: \"attn_out\", by: \"layer\", ablate: \"zero\", \
                   metric: metric::kl() })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 2.0, 1.0)],
    },
    Method {
        name: "scores of edges, EAP",
        made: "model prompt pairs",
        measured: "circuit::edges(m, pairs)",
        needs: &[need(Edges, 1.0, 1.0), need(Tokens, 2.0, 1.0)],
    },
    Method {
        name: "exact effects of edges",
        made: "model prompt pairs",
        measured: "circuit::edges(m, pairs, #{ method: \"exact\" })",
        needs: &[need(Edges, 1.5, 0.5), need(Tokens, 2.0, 1.0), need(Threads, -1.0, 0.0)],
    },
    Method {
        name: "ACDC",
        made: "model prompt pairs",
        measured: "circuit::acdc(m, pairs, #{ threshold: 0.0 })",
        needs: &[need(Edges, 1.5, 1.0), need(Tokens, 2.0, 1.0), need(Threads, -1.0, 0.0)],
    },
    Method {
        name: "a feature circuit",
        made: "model prompt pairs text dictionaries",
        measured: "circuit::sparse_features(m, saes, pairs)",
        needs: &[need(Features, 1.0, 1.0), need(Tokens, 2.0, 1.0), need(Layers, 2.0, 1.0)],
    },
    Method {
        name: "an attribution graph",
        made: "model prompt text transcoders",
        measured: "circuit::attribution_graph(m, transcoders, x, #{ targets: [5] })",
        needs: &[need(Tokens, 2.0, 2.0), need(Features, 1.0, 1.0), need(Layers, 2.0, 2.0)],
    },
    Method {
        name: "a causal tree",
        made: "model text dictionaries; let f = saes[-1].feature(features::contexts(m, saes[-1], text)[0].feature);",
        measured: "circuit::causal_tree(m, saes, f, text, #{ contexts: 8, tokens: 4096, context: 32 })",
        needs: &[need(Features, 1.0, 1.0), need(Layers, 1.0, 1.0), need(Threads, -1.0, 0.0)],
    },
    Method {
        name: "a fit of a top-k dictionary, 20 steps",
        made: "activations",
        measured: "sae::fit(x, #{ k: 16, d_sae: {features}, steps: 20, batch: 2048, seed: 1 })",
        needs: &[need(Features, 1.0, 1.0), need(Rows, 0.0, 1.0), need(Threads, -1.0, 0.0)],
    },
    Method {
        name: "a harvest",
        made: "model text",
        measured: "data::harvest(m, \"resid_post.*\", text)",
        needs: &[need(Text, 1.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "contexts of all features",
        made: "model text dictionaries",
        measured: "features::contexts(m, saes[-1], text)",
        needs: &[need(Text, 1.0, 0.0), need(Features, 1.0, 1.0), need(Threads, -1.0, 0.0)],
    },
    Method {
        name: "measures of a dictionary",
        made: "model text dictionaries",
        measured: "saes[-1].measure_on(m, text)",
        needs: &[need(Text, 1.0, 0.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "loss recovered with a dictionary",
        made: "model text dictionaries",
        measured: "saes[-1].effect(m, text)",
        needs: &[need(Text, 1.0, 0.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "features that promote a token",
        made: "model text dictionaries",
        measured: "features::predicting(m, saes[-1], text, \")\")",
        needs: &[need(Text, 1.0, 1.0), need(Features, 1.0, 1.0)],
    },
    Method {
        name: "mean max cosine similarity",
        made: "; let a = sae::random(64, {features}, #{ seed: 1 }); let b = sae::random(64, {features}, #{ seed: 2 });",
        measured: "sae::mmcs(a, b)",
        needs: &[need(Features, 2.0, 1.0)],
    },
    Method {
        name: "geometry of a dictionary",
        made: "; let a = sae::random(64, {features}, #{ seed: 1 });",
        measured: "sae::geometry(a)",
        needs: &[need(Features, 2.0, 1.0)],
    },
    Method {
        name: "a probe",
        made: "activations; let labels = x[[\":\", 0]] > 0;",
        measured: "probe::fit(x, labels)",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "an eraser, LEACE",
        made: "activations; let labels = x[[\":\", 0]] > 0;",
        measured: "intervene::erase(x, labels)",
        needs: &[need(Rows, 1.0, 1.0)],
    },
    Method {
        name: "a tuned lens, 10 steps",
        made: "model text",
        measured: "m.tuned_lens(text, #{ steps: 10, seed: 1 })",
        needs: &[need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "parts of an attention score",
        made: "model prompt",
        measured: "circuit::qk(m, x, \"scores.1.0\")",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0)],
    },
    Method {
        name: "divergence of two models",
        made: "model text; let tuned = model::init(config, #{ tokenizer: t, seed: 2 });",
        measured: "diff::kl(m, tuned, text)",
        needs: &[need(Text, 1.0, 1.0), need(Layers, 1.0, 0.0)],
    },
    Method {
        name: "training a language model, 5 steps",
        made: "model text",
        measured: "model::train(config, text, #{ tokenizer: t, steps: 5, batch: 8, context: {tokens}, seed: 1 })",
        needs: &[need(Tokens, 2.0, 1.0), need(Layers, 1.0, 1.0), need(Threads, -1.0, 0.0)],
    },
];
