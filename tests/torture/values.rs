//! Random values of a type, as a script writes them: most of them are valid, some are not.

use super::dice::Dice;

/// Variables in the scope of every call, by type; a type without one here cannot be created by a call either.
pub const PRELUDE: &str = r#"
let tok = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: tok.size, context: 8 }, #{ tokenizer: tok, seed: 1 });
let text = data::texts(["a b c d d c b a", "d a b b c a d d", "c c b a d b a a"]);
let store = data::harvest(m, "resid_post.*", text, #{ dir: "prelude" });
let saes = sae::fit_all(store, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
let s = saes[1];
let f = s.feature(0);
let x = tensor::randn([16, 8], #{ seed: 1 });
let ran = m.run("a b c");
let kept = m.cache("a b c", ["resid_post.*", "pattern.*", "z.*"]);
let lens = m.lens("a b c");
let attributed = m.attribution("a b c", "d");
let compared = m.compare(ran, ran);
let tree = circuit::causal_tree(m, saes, f, text, #{ contexts: 2 });
let chosen = circuit::select(m, saes, f, text, #{ token: "a" });
let enough = chosen.enough(m, text, #{ sizes: [3], draws: 1 });
let judged = tree.judge(m, text, #{ token: "a", draws: 1, labels: () });
let contexts = features::contexts(m, s, text);
let of_feature = contexts[0];
let explained = features::explain(m, f, data::texts(["a b c d", "b c", "d a b", "c c a"]), #{ fragments: 4, length: 2 });
let measured = s.measure(x);
let front = sae::pareto(saes, x);
let long_texts = []; long_texts.pad(60, "a b c d d c b a");
let covered = sae::coverage(m, s, data::texts(long_texts));
let ranked = features::predicting(m, s, text, "a");
let page = report("page", ["text"]);
let drawn = data::draw(m, #{ tokens: 10 });
let grams = data::ngram(["a b c d", "b c"], tok, #{ order: 2 });
let rows = table([#{ a: 1, b: "x" }, #{ a: 2.5, b: () }]);
let cells = grid([[1, 2, 3], [4, 5, 6]]);
let heat = heat_text(["(", "1999", ")"], [0.1, 0.9, 0.3]);
let chart = plot::line([1, 2, 3]);
let facts = card("facts", #{ a: 1 });
let hook = hooks::zero("resid_post.0");
let words = m.tokens("a b c");
let compiled = circuit::compiled("sort");
let pairs = compiled.pairs(2);
let edges = circuit::edges(compiled.model, pairs);
let curve = edges.curve(compiled.model, pairs, #{ draws: 1 });
let on_pairs = edges.top(5).judge(compiled.model, pairs, #{ draws: 1 });
let roc = edges.roc(compiled.truth, compiled.model);
let alike = edges.compare(compiled.truth);
m.run("a b c").save("dump.safetensors");
let verified = m.verify("dump.safetensors", "a b c");
let coders = sae::cross_layer_transcoder(m, text, #{ k: 2, d_sae: 6, steps: 2, context: 6 });
let prompt = circuit::attribution_graph(m, coders, "a b c");
let looked = circuit::qk(m, "a b c", "scores.1.0");
let network = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
let decomposed = decomposition::fit(network, #{ parts: 3, steps: 2, batch: 8, seed: 1 });
let bridged = circuit::bridges(m, m, text, #{ steps: 1, context: 6, batch: 2, seed: 1 });
let attention = sae::lorsa(m, 1, text, #{ heads: 4, k: 2, steps: 2, context: 6, batch: 2 });
let foretold = sae::temporal(m, "resid_post.0", text, #{ d_sae: 8, k: 2, steps: 2, context: 6, batch: 2 });
let long = "a"; long.pad(100_000, "ab ");
let many = []; many.pad(20_000, 1.5);
"#;

/// The variables of [`PRELUDE`] by type.
const HANDLES: &[(&str, &[&str])] = &[
    ("Attribution", &["attributed"]),
    ("Cache", &["kept"]),
    ("Card", &["facts"]),
    ("Chart", &["chart"]),
    ("Comparison", &["compared"]),
    ("Contexts", &["contexts"]),
    ("Enough", &["enough"]),
    ("Explanation", &["explained"]),
    ("Evaluation", &["covered"]),
    ("Feature", &["f", "saes[0].feature(3)"]),
    ("FeatureCard", &["of_feature"]),
    ("Grid", &["cells"]),
    ("HeatText", &["heat"]),
    ("Hook", &["hook", "hooks::add(f, 2)"]),
    ("Judgement", &["judged"]),
    ("Lens", &["lens"]),
    ("Measures", &["measured"]),
    ("Model", &["m"]),
    ("Ngram", &["grams"]),
    ("Pareto", &["front"]),
    ("Ranking", &["ranked"]),
    ("Report", &["page"]),
    ("Run", &["ran"]),
    ("Sae", &["s", "saes[0]", "sae::identity(8)"]),
    ("Sample", &["drawn"]),
    ("Selection", &["chosen"]),
    ("Store", &["store"]),
    ("Table", &["rows"]),
    ("Text", &["text", "data::text(\"grammar\", #{ tokens: 500 })", "data::texts([])", "data::texts([\"\"])"]),
    ("Tokenizer", &["tok"]),
    ("Tokens", &["words"]),
    ("AttributionGraph", &["prompt"]),
    ("Circuit", &["tree", "edges", "compiled.truth", "prompt.prune()"]),
    ("CircuitComparison", &["alike"]),
    ("Verification", &["verified"]),
    ("ModelPicture", &["m.picture()"]),
    ("Bridges", &["bridged"]),
    ("CircuitCurve", &["curve"]),
    ("Compiled", &["compiled"]),
    ("PairJudgement", &["on_pairs"]),
    ("Decomposition", &["decomposed"]),
    ("Lorsa", &["attention"]),
    ("Network", &["network"]),
    ("QkScore", &["looked"]),
    ("Roc", &["roc"]),
    ("TemporalSae", &["foretold"]),
    ("Transcoders", &["coders"]),
];

/// Unusual tensors: without elements, with axes beyond all memory, views, special numbers, every dtype.
const ODD_TENSORS: &[&str] = &[
    "tensor::zeros([])",
    "tensor::zeros([0])",
    "tensor::zeros([0, 3])",
    "tensor::zeros([3, 0, 2])",
    "tensor::zeros([0, 0])",
    "tensor::zeros([100_000_000_000, 0])",
    "tensor::zeros([0, 100_000_000_000])",
    "tensor::zeros([0, 4_294_967_296, 4_294_967_296])",
    "tensor::zeros([9_223_372_036_854_775_807, 0])",
    "tensor::zeros([1_000_000, 0], #{ dtype: \"u8\" })",
    "tensor::ones([1, 1, 1, 1, 1])",
    "tensor::ones([1]).expand([100_000])",
    "tensor::arange(24).reshape([2, 3, 4]).permute([2, 0, 1])",
    "tensor::arange(24).reshape([4, 6]).transpose()",
    "tensor::arange(24).reshape([4, 6])[[\":\", 1..3]]",
    "tensor([0.0 / 0.0, 1.0 / 0.0, -1.0 / 0.0, -0.0])",
    "tensor([[0.0 / 0.0, 1], [2, 3]])",
    "tensor([1e38, -1e38, 1e-45])",
    "tensor([[1, 2], [2, 4]])",
    "tensor([true, false, true])",
    "tensor([3, 1, 2], #{ dtype: \"i64\" })",
    "tensor([9_223_372_036_854_775_807, -9_223_372_036_854_775_807], #{ dtype: \"i64\" })",
    "tensor([255, 0], #{ dtype: \"u8\" })",
    "tensor([1, 2, 3], #{ dtype: \"bf16\" })",
    "tensor([1, 2, 3], #{ dtype: \"f16\" })",
    "tensor([[1, 2], [3, 4]], #{ dtype: \"f64\" })",
    "tensor([0, 1, 2], #{ dtype: \"u32\" })",
    "tensor::randn([200, 300], #{ seed: 1 })",
    "tensor::eye(3)",
];

const USUAL_TENSORS: &[&str] = &[
    "x",
    "tensor::randn([3, 4], #{ seed: 1 })",
    "tensor::randn([4, 4], #{ seed: 1 })",
    "tensor::randn([2, 3, 4], #{ seed: 1 })",
    "tensor([1, 2, 3])",
    "tensor([[1, 2], [3, 4]])",
    "tensor::ones([8])",
    "m.weight(\"embed\")",
    "kept[\"resid_post.0\"]",
];

const INTEGERS: &[&str] = &[
    "-1",
    "-2",
    "-100",
    "7",
    "10",
    "64",
    "255",
    "1000",
    "4097",
    "65_536",
    "1_000_000",
    "100_000_000",
    "2_147_483_647",
    "2_147_483_648",
    "4_294_967_295",
    "4_294_967_296",
    "10_000_000_000",
    "100_000_000_000",
    "1_152_921_504_606_846_976",
    "4_611_686_018_427_387_904",
    "9_223_372_036_854_775_807",
    "-9_223_372_036_854_775_807",
    "(-9_223_372_036_854_775_807 - 1)",
];

const FLOATS: &[&str] = &[
    "0.0",
    "-0.0",
    "0.5",
    "1.0",
    "0.999999",
    "-1.0",
    "1e-8",
    "1e-300",
    "1e9",
    "9e15",
    "1e19",
    "1e38",
    "1e300",
    "(0.0 / 0.0)",
    "(1.0 / 0.0)",
    "(-1.0 / 0.0)",
];

const STRINGS: &[&str] = &[
    "",
    " ",
    "a",
    "b c",
    "a b c d",
    "d",
    "resid_post.0",
    "resid_post.*",
    "*",
    "**",
    "z.1",
    "mlp_out.1",
    "pattern.0",
    "embed",
    "logits",
    "resid_post.99999999999999999999",
    "f32",
    "f64",
    "bf16",
    "i64",
    "u8",
    "mean",
    "max",
    "grammar",
    "sample",
    "train",
    "held",
    "depth",
    ":",
    "ij,jk->ik",
    "ii->i",
    "...,->",
    "ab,cd,ef,gh,ij,kl,mn,op->acegikmo",
    "out",
    ".",
    "..",
    "../x",
    "/",
    "/dev/zero",
    "/dev/full",
    "/proc/self/environ",
    "x.json",
    "x.npy",
    "x.npz",
    "x.safetensors",
    "x.svg",
    "x.png",
    "x.csv",
    "x.txt",
    "a/b/c.md",
    "prelude",
    "prelude/*",
    "model",
    "org/name",
    "org/name@main/x",
    "http://localhost:1/x",
    "https://[::1]:99999/",
    "file:///etc/hosts",
    "(a+)+$",
    "%s%n{}{0}${x}",
    "<script>alert(1)</script>",
    "]]>&lt;'\"",
    "\\x1b[31mred\\x07",
    "\\u202eright\\x00",
    "\\ufeff",
    "\\U0001f469\\u200d\\U0001f4bb",
    "e\\u0301",
    "1987",
    "-1",
    "NaN",
    "null",
    "{\\\"a\\\": 1}",
];

const CLOSURES: &[&str] = &[
    "|| 1",
    "|a| a",
    "|a, b| a",
    "|a| a + 1",
    "|a| a.sum()",
    "|logits| logits[[0, -1, 0]]",
    "|a| ()",
    "|a| []",
    "|a| #{}",
    "|a| \"text\"",
    "|a| throw \"no\"",
    "|a| a * (0.0 / 0.0)",
    "|a| tensor::zeros([0])",
    "|a| [[1, 2], [3, 4]]",
    "|a| true",
    "|a, b| a < b",
    "|a, b, c| c",
    "Fn(\"nothing\")",
    "|a| m.run(\"a b\")",
];

/// The type of a parameter without a declared type, by its name, so that calls get past their first argument.
const BY_NAME: &[(&str, &[&str])] = &[
    ("x", &["string", "array", "Tensor", "Tokens", "Store"]),
    ("site", &["site"]),
    ("sites", &["site", "sites"]),
    ("place", &["site", "Feature"]),
    ("text", &["Text", "string", "array"]),
    ("token", &["string", "integer"]),
    ("tokens", &["array", "Tensor", "Tokens"]),
    ("m", &["Model"]),
    ("f", &["Feature", "array"]),
    ("s", &["Sae", "array"]),
    ("tokens_of", &["Model", "Tokenizer"]),
    ("metric", &["function"]),
    ("data", &["Tensor", "array", "map", "Text"]),
    ("values", &["Tensor", "array"]),
    ("config", &["config", "Model"]),
    ("dictionaries", &["saes"]),
    ("saes", &["saes"]),
    ("trees", &["trees"]),
    ("tensors", &["tensors"]),
    ("vector", &["Tensor", "number"]),
    ("from", &["Cache", "Tensor", "integer"]),
    ("codes", &["Tensor", "array"]),
    ("clean", &["string"]),
    ("corrupt", &["string"]),
    ("documents", &["texts"]),
    ("prompts", &["texts"]),
    ("continuations", &["texts"]),
    ("directions", &["Tensor"]),
];

/// Random values of every type.
pub struct ValueMaker<'a> {
    pub dice: &'a mut Dice,
    /// Whether tensors are unusual ones.
    pub odd: bool,
}

impl ValueMaker<'_> {
    /// A value for a parameter of that name and type; `said` are words that its documentation quotes.
    pub fn argument(&mut self, name: &str, kind: &str, said: &[String]) -> String {
        if self.dice.chance(0.08) {
            return self.anything(2);
        }
        if kind == "string" && !said.is_empty() && self.dice.chance(0.4) {
            return quoted(self.dice.pick(said));
        }
        let by_name = BY_NAME.iter().find(|(known, _)| *known == name).map(|(_, kinds)| *kinds);
        match by_name {
            Some(kinds) if matches!(kind, "any" | "array") => {
                let kind = *self.dice.pick(kinds);
                self.of(kind, 3)
            }
            _ => self.of(kind, 3),
        }
    }

    /// A value of a type as the reference calls it.
    pub fn of(&mut self, kind: &str, depth: usize) -> String {
        match kind {
            "integer" => self.integer(),
            "number" | "float" => self.number(),
            "integers" if self.dice.chance(0.4) => self.integer(),
            "integers" => self.list(4, |values| values.integer()),
            "string" => self.text(),
            "bool" => self.dice.pick(&["true", "false"]).to_string(),
            "character" => self.dice.pick(&["'a'", "' '", "'\\U0001f469'", "'\\x00'"]).to_string(),
            "function" => self.dice.pick(CLOSURES).to_string(),
            "blob" => format!("blob({})", self.dice.below(40)),
            "map" => self.map(depth),
            "options" => "#{}".into(),
            "array" => self.array(depth),
            "Tensor" | "T" => self.tensor(),
            "site" => quoted(self.dice.pick(&["resid_post.0", "resid_post.1", "resid_pre.0", "z.0", "mlp_out.1"])),
            "sites" => self.list(3, |values| values.of("site", 0)),
            "texts" => self.list(4, Self::text),
            "tensors" => self.list(4, Self::tensor),
            "saes" if self.dice.chance(0.7) => "saes".into(),
            "saes" => self.list(3, |values| values.of("Sae", 0)),
            "trees" => self.list(3, |values| values.of("Circuit", 0)),
            "config" => self.config(),
            other => match HANDLES.iter().find(|(name, _)| *name == other) {
                Some((_, made)) => self.dice.pick(made).to_string(),
                None => self.anything(depth),
            },
        }
    }

    /// A value of any type.
    pub fn anything(&mut self, depth: usize) -> String {
        const KINDS: &[&str] =
            &["integer", "number", "integers", "string", "bool", "character", "function", "blob", "Tensor", "Tensor"];
        match self.dice.below(8) {
            0 => "()".into(),
            1 => self.dice.pick(HANDLES).1[0].into(),
            2 if depth > 0 => self.map(depth - 1),
            3 if depth > 0 => self.array(depth - 1),
            4 => self.dice.pick(&["0..3", "0..=2", "5..1", "-3..0", "0..9_223_372_036_854_775_807"]).to_string(),
            _ => {
                let kind = self.dice.pick(KINDS);
                self.of(kind, depth)
            }
        }
    }

    pub fn integer(&mut self) -> String {
        if self.dice.chance(0.7) { self.dice.below(5).to_string() } else { self.dice.pick(INTEGERS).to_string() }
    }

    pub fn number(&mut self) -> String {
        if self.dice.chance(0.5) { self.integer() } else { self.dice.pick(FLOATS).to_string() }
    }

    pub fn text(&mut self) -> String {
        match self.dice.below(20) {
            0 => "long".into(),
            1 => quoted("*".repeat(3000)),
            2 => quoted("(".repeat(400)),
            _ => quoted(self.dice.pick(STRINGS)),
        }
    }

    fn tensor(&mut self) -> String {
        let odd = if self.odd { 0.8 } else { 0.25 };
        let made = if self.dice.chance(odd) { self.dice.pick(ODD_TENSORS) } else { self.dice.pick(USUAL_TENSORS) };
        match self.dice.below(12) {
            0 => format!("{made}.unsqueeze(0)"),
            1 => format!("{made}.flatten()"),
            2 => format!("{made}.to({})", quoted(self.dice.pick(&["f32", "f64", "bf16", "i64", "u8", "u32"]))),
            _ => made.to_string(),
        }
    }

    fn list(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> String) -> String {
        let count = self.dice.below(most + 1);
        let parts: Vec<String> = (0..count).map(|_| one(self)).collect();
        format!("[{}]", parts.join(", "))
    }

    fn array(&mut self, depth: usize) -> String {
        match self.dice.below(7) {
            0 => "many".into(),
            1 => self.list(5, Self::number),
            2 => self.list(4, |values| values.list(4, Self::number)),
            3 => self.list(5, |values| values.dice.below(5).to_string()),
            4 => self.list(4, Self::text),
            5 => self.list(3, |values| {
                let a = values.number();
                let b = values.text();
                format!("#{{ a: {a}, b: {b} }}")
            }),
            _ => self.list(4, |values| values.anything(depth.saturating_sub(1))),
        }
    }

    fn map(&mut self, depth: usize) -> String {
        let count = self.dice.below(4);
        let field = |values: &mut Self| {
            let key = match values.dice.below(3) {
                0 => values.dice.pick(&["ids", "targets", "mask", "x", "a"]).to_string(),
                _ => quoted(values.dice.pick(STRINGS)),
            };
            format!("{key}: {}", values.anything(depth.saturating_sub(1)))
        };
        let mut fields: Vec<String> = (0..count).map(|_| field(self)).collect();
        // A duplicate key is a syntax error, of which there are enough elsewhere.
        fields.sort();
        fields.dedup_by(|a, b| a.split(": ").next() == b.split(": ").next());
        format!("#{{ {} }}", fields.join(", "))
    }

    /// The config of a model, small except for a number now and then.
    fn config(&mut self) -> String {
        let mut fields = vec![String::from("layers: 1"), "d_model: 8".into(), "heads: 2".into(), "vocab: 5".into()];
        for _ in 0..self.dice.below(3) {
            let key = *self.dice.pick(&[
                "layers",
                "d_model",
                "heads",
                "vocab",
                "context",
                "d_mlp",
                "d_head",
                "kv_heads",
                "act",
                "norm",
                "eps",
                "positions",
                "rotary",
                "tied",
                "parallel",
                "window",
            ]);
            let value = if self.dice.chance(0.5) { self.integer() } else { self.anything(1) };
            fields.retain(|field| !field.starts_with(&format!("{key}:")));
            fields.push(format!("{key}: {value}"));
        }
        format!("#{{ {} }}", fields.join(", "))
    }
}

/// A text in quotation marks, already escaped.
pub fn quoted(text: impl AsRef<str>) -> String {
    format!("\"{}\"", text.as_ref())
}
