//! Every reader of files: its valid files, which of them are damaged, and how they are read.

use std::path::Path;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::binary::binary;
use super::child::with_fixtures;
use super::damage::{DamageKind, damaged};
use super::dice::Dice;
use super::examples::root;
use super::samples;

/// Files by name, below the folder `case`.
pub type Files = Vec<(String, Vec<u8>)>;

pub struct FileReader {
    pub name: &'static str,
    /// Files and folders of the fixtures, each read alone. A file is renamed to `x`, with its extension.
    fixtures: &'static [&'static str],
    /// Code that writes below `case`.
    pub makes: &'static str,
    /// Files that neither the fixtures nor the program provide.
    made: fn() -> Vec<Files>,
    /// The endings of the names of files that are damaged.
    hit: &'static [&'static str],
    inside: DamageKind,
    /// Code that reads them, and uses what it has read.
    pub reads: &'static str,
}

const NONE: FileReader =
    FileReader { name: "", fixtures: &[], makes: "", made: Vec::new, hit: &[""], inside: DamageKind::Bytes, reads: "" };

/// A model for the readers of stores and dictionaries, in front of their code.
macro_rules! model {
    ($code:literal) => {
        concat!(
            r#"let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
            let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
            let text = data::texts(["a b c d d c b a", "d a b b c a d d", "c c b a d b a a"]);"#,
            $code
        )
    };
}

/// A model with a template of chats, in front of the code that writes the file beside it.
macro_rules! chatting {
    ($code:literal) => {
        concat!(
            r#"let words = ["user", "assistant", "what", "is", "x", "this", "Layer:", "0", "end"];
            model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 9, context: 32 }, #{ words: words, seed: 3 }).save("case");
            run::save_text("case/chat_template.jinja", "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant{% endif %}");"#,
            $code
        )
    };
}

const LOOK_AT_TENSORS: &str = r#"
    tensor::metadata(file);
    let all = tensor::load(file);
    for name in all.keys() { let t = all[name]; t.sum(); show(t); t.to("f32").flatten(); }
    all"#;

const LOOK_AT_MODEL: &str = r#"
    m.logits([1, 2]); m.parameters; m.run([0, 1, 2]); m.save("again"); m"#;

const LOOK_AT_DICTIONARY: &str = r#"
    let x = tensor::ones([3, s.d_in]); s.encode(x); s.reconstruct(x); s.directions.sum(); s.settings; s.save("again"); s"#;

pub const READERS: &[FileReader] = &[
    FileReader {
        name: "safetensors",
        fixtures: &["formats/lens/gelu.safetensors", "formats/lens/gelu.expected.safetensors"],
        makes: r#"tensor::save("case/x.safetensors", #{ a: tensor([[1, 2], [3, 4]]), b: tensor::zeros([0, 3]), "c d":
            tensor([1, 2], #{ dtype: "bf16" }), e: tensor([7], #{ dtype: "i64" }) }, #{ metadata: #{ by: "us" } });"#,
        inside: DamageKind::Safetensors,
        reads: r#"let file = "case/x.safetensors";"#,
        ..NONE
    },
    FileReader {
        name: "npy",
        makes: r#"tensor([[1, 2], [3, 4]]).save("case/x.npy");"#,
        reads: r#"let t = tensor::load("case/x.npy"); t.sum(); show(t); t.to("f32").flatten(); t"#,
        ..NONE
    },
    FileReader {
        name: "npz",
        makes: r#"tensor::save("case/x.npz", #{ a: tensor([[1, 2], [3, 4]]), b: tensor([1]) });"#,
        inside: DamageKind::Zip,
        reads: r#"let all = tensor::load("case/x.npz"); for name in all.keys() { all[name].sum(); show(all[name]); } all"#,
        ..NONE
    },
    FileReader {
        name: "config",
        fixtures: &[
            "models/llama",
            "models/gpt2",
            "models/gpt_neox",
            "models/gemma2",
            "models/gemma3_text",
            "models/phi3",
            "models/qwen3",
            "models/opt",
            "models/olmo2",
            "models/olmo3",
            "models/granite",
            "models/qwen2_moe",
            "models/gpt_oss",
            "models/llama3_rope",
        ],
        hit: &["config.json"],
        inside: DamageKind::Json,
        reads: r#"let m = model::load("case");"#,
        ..NONE
    },
    FileReader {
        name: "sharded",
        made: sharded,
        hit: &["index.json", "index.json", "index.json", ".safetensors"],
        inside: DamageKind::Json,
        reads: r#"let m = model::load("case");"#,
        ..NONE
    },
    FileReader {
        name: "pytorch",
        made: pytorch,
        hit: &[".bin", ".pt"],
        inside: DamageKind::Zip,
        reads: r#"let m = if "case/x.pt" in names { model::load("case/x.pt", #{ config: #{ act: "gelu" } }) } else
            { model::load("case") };"#,
        ..NONE
    },
    FileReader {
        name: "gguf",
        made: || vec![vec![("x.gguf".into(), samples::gguf())]],
        reads: r#"let m = model::load("case/x.gguf"); m.tokens("a b");"#,
        ..NONE
    },
    FileReader {
        name: "llama2c",
        made: || [false, true].map(|newer| vec![("x.bin".into(), samples::llama2c(newer))]).to_vec(),
        reads: r#"let m = model::load("case/x.bin");"#,
        ..NONE
    },
    FileReader {
        name: "llama2c-tokenizer",
        fixtures: &["stories260K/tok512.bin"],
        reads: r#"let m = model::load("tests/fixtures/stories260K/stories260K.bin", #{ tokenizer: "case/x.bin" });
            let t = m.tokens("Once upon a time\n\U0001f469 1987"); m.text(t.ids); t"#,
        ..NONE
    },
    FileReader {
        name: "tokenizer-json",
        made: tokenizer,
        hit: &["tokenizer.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"],
        inside: DamageKind::Json,
        reads: r#"let m = model::load("case");
            let t = m.tokens("The cat sat, (1987) it's\n\U0001f469"); m.text(t.ids); m.token_set("a"); t.offsets; t"#,
        ..NONE
    },
    FileReader {
        name: "own-tokenizer",
        makes: model!(r#"m.save("case");"#),
        hit: &["token", "vocab", "words", ".json"],
        inside: DamageKind::Json,
        reads: r#"let m = model::load("case"); m.tokens("a b c");"#,
        ..NONE
    },
    FileReader {
        name: "dictionaries",
        fixtures: &[
            "saes/cunningham-tied",
            "saes/dictionary_learning-AutoEncoder",
            "saes/dictionary_learning-AutoEncoderTopK",
            "saes/dictionary_learning-GatedAutoEncoder",
            "saes/dictionary_learning-JumpReluAutoEncoder",
            "saes/dictionary_learning-MatryoshkaBatchTopKSAE",
            "saes/dictionary_learning-SoftSAE",
            "saes/gemma-scope-2-transcoder-affine",
            "saes/gemma-scope-jumprelu",
            "saes/saelens-gated",
            "saes/saelens-jumprelu",
            "saes/saelens-jumprelu-transcoder",
            "saes/saelens-skip-transcoder",
            "saes/saelens-standard-layernorm",
            "saes/saelens-topk-rescaled",
            "saes/sparsify-topk",
            "saes/sparsify-transcoder-skip",
        ],
        hit: &["cfg.json", "config.json", ".safetensors", ".pt", ".npz"],
        inside: DamageKind::Safetensors,
        reads: r#"let s = sae::load("case");"#,
        ..NONE
    },
    FileReader {
        name: "own-dictionary",
        makes: model!(
            r#"sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 2, seed: 1, fresh: true }).save("case/x");"#
        ),
        hit: &[".safetensors"],
        inside: DamageKind::Safetensors,
        reads: r#"let s = sae::load("case/x");"#,
        ..NONE
    },
    FileReader {
        name: "oracle",
        makes: chatting!(
            r#"run::save_json("case/ao_config.json", #{ schema_version: 1, special_token: " x", hook_onto_layer: 1,
                steering_coefficient: 0.5, act_layer_combinations: [[0], [1]], lora_r: 64,
                prefix_template: "Layer: {layer}\\n{special_token} * {num_positions} \\n" });"#
        ),
        hit: &["ao_config.json", "ao_config.json", ".jinja"],
        inside: DamageKind::Json,
        reads: r#"let ao = model::load("case"); ao.ask([1, 0, -2, 0, 3, 0, 0, 1], "what is", #{ layers: 0, tokens: 2 })"#,
        ..NONE
    },
    FileReader {
        name: "verbaliser",
        makes: chatting!(
            r#"run::save_text("case/nla_meta.yaml", "kind: nla_model\nrole: av\nd_model: 8\nextraction:\n  injection_scale: 3.0\ntokens:\n  injection_char: x\n  injection_token_id: 4\n  injection_left_neighbor_id: 3\n  injection_right_neighbor_id: 5\nprompt_templates:\n  av: what is {injection_char} this\n");"#
        ),
        hit: &["nla_meta.yaml"],
        inside: DamageKind::Lines,
        reads: r#"let av = model::load("case"); av.verbalise([1, 0, -2, 0, 3, 0, 0, 1], #{ temperature: 0, tokens: 2 })"#,
        ..NONE
    },
    FileReader {
        name: "reconstructor",
        makes: chatting!(
            r#"run::save_text("case/nla_meta.yaml", "kind: nla_model\nrole: ar\nd_model: 8\nprompt_templates:\n  ar: this is {explanation} end\ntokens:\n  critic_suffix_ids: [8]\n");
            tensor::save("case/value_head.safetensors", #{ weight: tensor::eye(8) });"#
        ),
        hit: &["nla_meta.yaml", "value_head.safetensors"],
        inside: DamageKind::Lines,
        reads: r#"let ar = model::load("case"); ar.reconstruct(["what", "x this"])"#,
        ..NONE
    },
    FileReader {
        name: "decomposition",
        makes: model!(
            r#"let network = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]], bias: [0, 1] }]);
            decomposition::fit(network, #{ parts: 3, steps: 2, batch: 8, seed: 1, fresh: true }).save("case/x.safetensors");
            let few = #{ parts: 4, steps: 1, context: 8, batch: 1, seed: 1, fresh: true };
            decomposition::mlp(m, 0, text, few).save("case/y.safetensors");"#
        ),
        hit: &[".safetensors"],
        inside: DamageKind::Safetensors,
        reads: model!(
            r#"let x = decomposition::load("case/x.safetensors"); x.importances([[1, 0]]); x.run([[1, 0]]); x.table([[1, 0]]);
            x.columns("w"); x.faithfulness; x.save("again.safetensors");
            let y = decomposition::load("case/y.safetensors"); y.matrices; y.history; y.v("up"); y.u("down");
            y.table(m, text, "up", #{ context: 8 }); y.save("again.safetensors"); y"#
        ),
        ..NONE
    },
    FileReader {
        name: "store",
        makes: model!(r#"data::harvest(m, ["z.0", "resid_post.0"], text, #{ dir: "case/x", shard_rows: 8 });"#),
        hit: &["manifest.json", ".json", ".safetensors"],
        inside: DamageKind::Safetensors,
        reads: r#"let x = data::store("case/x"); x.sites; x.rows; x.dtype; x.statistics(); x.activations("z.0", 0, 5);
            x.origins(0, 9); sae::fit(x, #{ site: "z.0", k: 2, ratio: 2, steps: 2, seed: 1 }); x.verify(); x"#,
        ..NONE
    },
    FileReader {
        name: "harvest",
        makes: model!(r#"data::harvest(m, "z.0", text, #{ dir: "case/x", shard_rows: 8 });"#),
        hit: &[".json", ".safetensors"],
        inside: DamageKind::Safetensors,
        reads: model!(r#"data::harvest(m, "z.0", text, #{ dir: "case/x", shard_rows: 8 })"#),
        ..NONE
    },
    FileReader {
        name: "fit",
        makes: r#"sae::fit(tensor::randn([64, 8], #{ seed: 1 }), #{ k: 2, steps: 2, seed: 1, dir: "case/x" });"#,
        hit: &[".safetensors"],
        inside: DamageKind::Safetensors,
        reads: r#"sae::fit(tensor::randn([64, 8], #{ seed: 1 }), #{ k: 2, steps: 2, seed: 1, dir: "case/x" })"#,
        ..NONE
    },
    FileReader {
        name: "training",
        makes: r#"model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, [[1, 2, 3, 1]], #{ steps: 2, seed: 1, dir: "case/x" });"#,
        hit: &[".safetensors", ".json"],
        inside: DamageKind::Safetensors,
        reads: r#"model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, [[1, 2, 3, 1]], #{ steps: 2, seed: 1, dir: "case/x" })"#,
        ..NONE
    },
    FileReader {
        name: "kept",
        makes: model!(r#"sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 2, seed: 1 });"#),
        inside: DamageKind::Summed,
        reads: model!(r#"sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 2, seed: 1 })"#),
        ..NONE
    },
    FileReader {
        name: "tree",
        fixtures: &["circuits/tree.json"],
        inside: DamageKind::Json,
        reads: r#"let tree = circuit::load("case/x.json"); show(tree); tree.table; tree.edge_table; tree.to_map();
            tree.save("again.svg"); tree.save("again.json"); tree"#,
        ..NONE
    },
    FileReader {
        name: "batch-file",
        fixtures: &["dashboard/batch-0.json"],
        inside: DamageKind::Json,
        reads: r#"let cards = features::load_batch("case/x.json"); for card in cards { show(card); card.tables; card.to_map(); }
            cards[0].save("again.html"); cards"#,
        ..NONE
    },
    FileReader {
        name: "json",
        makes: r#"run::save_json("case/x.json", #{ a: [1, 2.5, (), "x"], b: #{ c: true, d: [[1, 2], [3, 4]] } });"#,
        inside: DamageKind::Json,
        reads: r#"let j = run::load_json("case/x.json"); show(j); repr(j); to_json(j); j"#,
        ..NONE
    },
    FileReader {
        name: "text",
        made: || {
            vec![plain(
                "x.txt",
                "one two\n%\nthree four\n%\n\nfive (six) 1987\nit's \"so\"\r\n".repeat(20).into_bytes(),
            )]
        },
        inside: DamageKind::Lines,
        reads: r#"let text = data::text("case/x.txt", #{ separator: "%\n", labels: true });"#,
        ..NONE
    },
    FileReader {
        name: "jsonl",
        made: || {
            vec![plain(
                "x.jsonl",
                "{\"text\": \"one (two) three\", \"n\": 1}\n{\"text\": \"\\u00e9\\ud83d\\ude00\"}\n"
                    .repeat(20)
                    .into_bytes(),
            )]
        },
        inside: DamageKind::Lines,
        reads: r#"let text = data::text("case/x.jsonl");"#,
        ..NONE
    },
    FileReader {
        name: "gzip",
        made: || vec![plain("x.txt.gz", packed("one two\nthree four\n\n".repeat(200).as_bytes()))],
        inside: DamageKind::Gzip,
        reads: r#"let text = data::text("case/x.txt.gz");"#,
        ..NONE
    },
    FileReader {
        name: "gzip-jsonl",
        made: || vec![plain("x.jsonl.gz", packed("{\"text\": \"one (two) three\"}\n".repeat(100).as_bytes()))],
        inside: DamageKind::Gzip,
        reads: r#"let text = data::text("case/x.jsonl.gz");"#,
        ..NONE
    },
    FileReader { name: "parquet", made: tables, reads: r#"let text = data::text("case/x.parquet");"#, ..NONE },
    FileReader {
        name: "table-csv",
        makes: r#"table([#{ a: 1, b: 0.5, c: "x, \"y\"", d: true }, #{ a: 2, c: "" }]).save("case/x.csv");"#,
        inside: DamageKind::Lines,
        reads: r#"let t = data::table("case/x.csv"); show(t); t.head(1); t.rows"#,
        ..NONE
    },
    FileReader {
        name: "table-json",
        makes: r#"table([#{ a: 1, b: 0.5, c: "x, \"y\"", d: true }, #{ a: 2, c: "" }]).save("case/x.json");"#,
        inside: DamageKind::Json,
        reads: r#"let t = data::table("case/x.json"); show(t); t.head(1); t.rows"#,
        ..NONE
    },
    FileReader {
        name: "table-parquet",
        makes: r#"table([#{ a: 1, b: 0.5, c: "x, \"y\"", d: true }, #{ a: 2, c: "" }]).save("case/x.parquet");"#,
        reads: r#"let t = data::table("case/x.parquet"); show(t); t.head(1); t.rows"#,
        ..NONE
    },
    FileReader {
        name: "table-arrow",
        makes: r#"let t = table([#{ a: 1, b: 0.5, c: "x, \"y\"", d: true }, #{ a: 2, c: "" }]);
            t.save("case/x.arrow"); t.save("case/x.arrows");"#,
        reads: r#"let t = data::table(if "case/x.arrow" in names { "case/x.arrow" } else { "case/x.arrows" });
            show(t); t.head(1); t.rows"#,
        ..NONE
    },
    FileReader {
        name: "library",
        made: libraries,
        hit: &[".rhai"],
        inside: DamageKind::Lines,
        reads: r#"import "out/case/x" as x; x::f(2)"#,
        ..NONE
    },
    FileReader {
        name: "record",
        // The command line reads it: see `child`.
        made: || vec![plain("x/run.json", recorded())],
        inside: DamageKind::Json,
        ..NONE
    },
];

/// The code that uses the result, by the type of the reader.
fn looked_at(reads: &str) -> String {
    let look = [
        ("let file =", LOOK_AT_TENSORS),
        ("let m = model::load(\"case", LOOK_AT_MODEL),
        ("let m = if", LOOK_AT_MODEL),
        ("let s = sae::load", LOOK_AT_DICTIONARY),
        ("let text = data::text(", "let d = text.documents(50); text.report(); text.columns(); d"),
    ];
    let found = look.iter().find(|(begin, _)| reads.starts_with(begin) && !reads.contains("; t.offsets"));
    format!("{reads}{}", found.map_or("", |(_, look)| look))
}

impl FileReader {
    /// Its valid files; `made` are those that its code has written.
    pub fn whole(&self, made: Files) -> Vec<Files> {
        let mut all: Vec<Files> = self.fixtures.iter().map(|path| fixture(path)).collect();
        all.extend((self.made)());
        if !made.is_empty() {
            all.push(made);
        }
        all
    }

    /// Damaged files, and the code that reads them. The first cases are the valid ones.
    pub fn case(&self, whole: &[Files], number: u64, dice: &mut Dice) -> (Files, String) {
        let mut files = match whole.get(number as usize) {
            Some(files) => files.clone(),
            None => dice.pick(whole).clone(),
        };
        if number as usize >= whole.len() {
            let hit = |name: &str, end: &str| name.ends_with(end) || name.contains(&format!("{end}."));
            let ends: Vec<&str> =
                self.hit.iter().copied().filter(|end| files.iter().any(|(n, _)| hit(n, end))).collect();
            let end = dice.pick(&ends);
            let places: Vec<usize> = (0..files.len()).filter(|at| hit(&files[*at].0, end)).collect();
            let at = *dice.pick(&places);
            let strangers = dice.pick(whole);
            let other = dice.pick(strangers).1.clone();
            let inside = match files[at].0.rsplit('.').next() {
                Some("json") => DamageKind::Json,
                Some("npz" | "pt") if self.inside != DamageKind::Bytes => DamageKind::Zip,
                Some("safetensors") => DamageKind::Safetensors,
                _ => self.inside,
            };
            files[at].1 = damaged(&files[at].1, &other, inside, dice);
        }
        let names: Vec<String> = files.iter().map(|(name, _)| format!("\"case/{name}\"")).collect();
        let reads = with_fixtures(&looked_at(self.reads));
        (files, format!("let names = [{}];\n{reads}\n", names.join(", ")))
    }
}

fn plain(name: &str, bytes: Vec<u8>) -> Files {
    vec![(name.into(), bytes)]
}

/// A file or a folder of the fixtures, without the expected results of tests.
fn fixture(path: &str) -> Files {
    let path = root().join("tests/fixtures").join(path);
    if path.is_file() {
        let ending = path.extension().unwrap().to_string_lossy().into_owned();
        return plain(&format!("x.{ending}"), std::fs::read(path).unwrap());
    }
    let named = |path: &Path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap());
    let mut files: Files = std::fs::read_dir(path).unwrap().map(|entry| named(&entry.unwrap().path())).collect();
    files.retain(|(name, _)| {
        !name.starts_with("expected") && !name.starts_with("interventions") && !name.ends_with(".bin")
    });
    files.sort();
    files
}

/// A model whose weights are in two files with an index.
fn sharded() -> Vec<Files> {
    let files = fixture("models/gpt2");
    let weights = &files.iter().find(|(name, _)| name == "model.safetensors").unwrap().1;
    let read = safetensors::SafeTensors::deserialize(weights).unwrap();
    let mut names: Vec<String> = read.names().iter().map(|name| name.to_string()).collect();
    names.sort();
    let mut shards = Vec::new();
    let mut map = serde_json::Map::new();
    for (number, part) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let shard = format!("model-0000{}-of-00002.safetensors", number + 1);
        map.extend(part.iter().map(|name| (name.clone(), shard.clone().into())));
        let tensors: Vec<_> = part.iter().map(|name| (name.clone(), read.tensor(name).unwrap())).collect();
        shards.push((shard, safetensors::serialize(tensors, None).unwrap()));
    }
    let index = serde_json::json!({ "metadata": { "total_size": weights.len() }, "weight_map": map });
    let config = files.into_iter().find(|(name, _)| name == "config.json").unwrap();
    vec![[shards, vec![config, ("model.safetensors.index.json".into(), index.to_string().into_bytes())]].concat()]
}

/// A folder with PyTorch's .bin, and TransformerLens models in one file.
fn pytorch() -> Vec<Files> {
    let of = |path: &str| std::fs::read(root().join("tests/fixtures").join(path)).unwrap();
    let folder =
        ["config.json", "pytorch_model.bin"].map(|n| (n.to_string(), of(&format!("models/gpt2/{n}")))).to_vec();
    let files = ["gated", "rotary"].map(|n| plain("x.pt", of(&format!("formats/lens/{n}.pt"))));
    [vec![folder], files.to_vec()].concat()
}

/// A model with a tokenizer.json.
fn tokenizer() -> Vec<Files> {
    let mut files = fixture("models/llama");
    files.push(("tokenizer.json".into(), std::fs::read(root().join("tests/fixtures/models/tokenizer.json")).unwrap()));
    let config = r#"{"add_bos_token": false, "eos_token": "</s>", "unk_token": "<unk>", "model_max_length": 64}"#;
    let with_config = [files.clone(), plain("tokenizer_config.json", config.into())].concat();
    vec![files, with_config]
}

/// Parquet tables of strings, with every compression.
fn tables() -> Vec<Files> {
    let kinds =
        [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW, Compression::GZIP(Default::default())];
    kinds
        .into_iter()
        .chain([Compression::ZSTD(Default::default())])
        .map(|kind| plain("x.parquet", table(kind)))
        .collect()
}

fn table(compression: Compression) -> Vec<u8> {
    let schema = parse_message_type("message m { required int32 id; optional binary text (UTF8); }").unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema.into(), properties.into()).unwrap();
    for group in 0..2 {
        let mut rows = writer.next_row_group().unwrap();
        let mut ids = rows.next_column().unwrap().unwrap();
        ids.typed::<parquet::data_type::Int32Type>().write_batch(&[1, 2, 3, 4], None, None).unwrap();
        ids.close().unwrap();
        let mut texts = rows.next_column().unwrap().unwrap();
        let values: Vec<ByteArray> = (0..3).map(|i| format!("text {group} {i}").into_bytes().into()).collect();
        texts.typed::<ByteArrayType>().write_batch(&values, Some(&[1, 1, 0, 1]), None).unwrap();
        texts.close().unwrap();
        rows.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// The record of a run of the program.
fn recorded() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.rhai"), "print(arg(\"n\", 1)); run::save_text(\"a.txt\", \"b\");").unwrap();
    let mut command = std::process::Command::new(binary());
    let status =
        command.args(["run", "x.rhai"]).current_dir(folder.path()).env("MICROTOME_CACHE", "").output().unwrap().status;
    assert!(status.success(), "the program cannot be run");
    std::fs::read(folder.path().join("out/x/run.json")).unwrap()
}

/// The stdlib, and a library of closures.
fn libraries() -> Vec<Files> {
    let own = "/// Doubles.\nfn f(x) { let g = |y| y * x; g.call(2) }\nexport const N = 3;\nfn deep(n) { if n == 0 { 0 } else { 1 + deep(n - 1) } }\n";
    let mut all = vec![plain("x.rhai", own.into())];
    for name in ["geometry", "stats", "tasks"] {
        let text = std::fs::read_to_string(root().join(format!("stdlib/{name}.rhai"))).unwrap();
        all.push(plain("x.rhai", (text + "\nfn f(x) { x }\n").into_bytes()));
    }
    all
}
