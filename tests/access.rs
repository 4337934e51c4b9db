//! Access rules of scripts: every way to a file is checked.

use crate::support;
use std::path::Path;

use microtome::base::access::Rules;

/// Every function that takes a path, found in the reference, refuses one that it may not touch.
#[test]
fn every_primitive_that_takes_a_path_is_judged() {
    let calls = support::on_large_stack(|| {
        let docs = support::docs();
        let takes_path = |e: &&microtome::script::docs::ReferenceEntry| {
            e.overloads.iter().any(|o| o.parameters.iter().any(|(name, _)| name == "path" || name == "folder"))
        };
        docs.own().filter(takes_path).map(|e| e.path()).collect::<Vec<_>>()
    });
    let model = "model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 8 })";
    let words = "data::tokenizer(\"a b\", #{ kind: \"words\", min_frequency: 1 })";
    let of_model = |rest: &str| format!("{model}.{rest}");
    let fitted = |rest: &str| {
        let m = "model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t })";
        let s = "sae::fit(m, \"resid_post.0\", text, #{ k: 1, d_sae: 4, steps: 1 })";
        format!("let t = {words}; let m = {m}; let text = data::texts([\"a b a b\"]); let s = {s}; {rest}")
    };
    let chosen = |rest: &str| {
        let m = "model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t })";
        let saes = "sae::fit_all(m, \"resid_post.*\", text, #{ k: 2, d_sae: 4, steps: 1 })";
        let chosen = "circuit::select(m, saes, saes[1].feature(0), text, #{ token: \"a\" })";
        let text = "data::texts([\"a b a b\"])";
        format!("let t = {words}; let m = {m}; let text = {text}; let saes = {saes}; let chosen = {chosen}; {rest}")
    };
    let jacobian = |rest: &str| {
        let m = "model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 8 })";
        format!("let m = {m}; let lens = m.jacobian_lens([[1, 2, 3]], #{{ skip_first: 0 }}); lens{rest}")
    };
    let graph = {
        let folder = "tests/fixtures/graphs/llama-relu-skip";
        let t = format!("sae::transcoders(\"{folder}/transcoder\")");
        format!("let m = model::load(\"{folder}/model\"); let g = circuit::attribution_graph(m, {t}, [0, 81]); g")
    };
    let curve = "let c = circuit::compiled(\"sort\"); circuit::edges(c.model, c.pairs(2)).curve(c.model, c.pairs(2))";
    let sets = |rest: &str| {
        let m = "model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t })";
        let s = "sae::fit(m, \"resid_post.0\", text, #{ k: 1, d_sae: 4, steps: 1 })";
        let text = "data::texts([\"a b a b a b a b\", \"b a b b a b\"])";
        let sets = "intervene::interactions(m, s.features([0, 1]), [\"a b\", \"b a b\"])";
        format!("let t = {words}; let m = {m}; let text = {text}; let s = {s}; let sets = {sets}; sets{rest}")
    };
    let values = [
        (
            "Adapter",
            "model::load(\"tests/fixtures/models/llama\", #{ adapter: \"tests/fixtures/adapters/llama\" }).adapter"
                .to_string(),
        ),
        ("AttributionGraph", graph),
        ("CircuitCurve", curve.to_string()),
        ("Sae", fitted("s")),
        ("Transcoders", "sae::transcoders(\"tests/fixtures/graphs/llama-relu-skip/transcoder\")".to_string()),
        ("BothLenses", jacobian(".read(m, [1, 2])")),
        ("Interactions", sets("")),
        ("FittedLens", jacobian("")),
        ("Contexts", fitted("features::contexts(m, s, text)")),
        (
            "Evaluation",
            fitted("let many = []; many.pad(60, \"a b a b a b a\"); sae::coverage(m, s, data::texts(many))"),
        ),
        ("FeatureCard", fitted("features::card(m, s.feature(0), text)")),
        ("Report", "report(\"a\", [\"b\"])".to_string()),
        ("Ranking", fitted("features::predicting(m, s, text, \"a\")")),
        ("Circuit", "circuit::load(\"tests/fixtures/circuits/tree.json\")".to_string()),
        ("Attribution", of_model("attribution([1, 2], 3)")),
        ("Cache", of_model("cache([1, 2], \"embed\")")),
        ("Comparison", format!("{model}.compare({0}, {0})", of_model("run([1, 2])"))),
        (
            "Verification",
            format!("let m = {model}; m.run([1, 2]).save(\"run.safetensors\"); m.verify(\"run.safetensors\", [1, 2])"),
        ),
        ("HeadCards", format!("features::heads({model}, [[0, 1, 2, 3]])")),
        ("Lens", of_model("lens([1, 2])")),
        ("LensPage", of_model("lens_page([1, 2], [])")),
        ("Model", model.to_string()),
        ("ModelPicture", of_model("picture()")),
        (
            "Decomposition",
            "decomposition::fit(decomposition::network([#{ name: \"w\", matrix: [[1]] }]), #{ steps: 1, batch: 8 })"
                .to_string(),
        ),
        ("Monitor", "intervene::monitor(tensor([1, 2]), #{ site: \"resid_post.0\" })".to_string()),
        ("Lorsa", "sae::load_lorsa(\"tests/fixtures/lorsa/topk\")".to_string()),
        ("TemporalSae", "sae::load_temporal(\"tests/fixtures/temporal/topk\")".to_string()),
        ("Probe", "probe::fit([[0], [1], [3], [4]], [0, 0, 1, 1])".to_string()),
        ("Run", of_model("run([1, 2])")),
        ("Sample", format!("data::draw({}, #{{ tokenizer: {words} }}), #{{ tokens: 8 }})", &model[..model.len() - 1])),
        ("Tokenizer", words.to_string()),
        (
            "Sentences",
            "intervene::sentences(model::load(\"tiny\"), \"The boat was old. The sea was calm.\")".to_string(),
        ),
        ("Selection", chosen("chosen")),
        ("Enough", chosen("chosen.enough(m, text)")),
    ];
    let plain = [
        ("Card", "card(\"c\", #{ a: 1 })"),
        ("Chart", "plot::line([1, 2])"),
        ("Grid", "grid([[1, 2]])"),
        ("HeatText", "heat_text([\"a\"], [1])"),
        ("Table", "table([#{ a: 1 }])"),
        ("Tensor", "tensor([1, 2])"),
    ];
    let plain = plain.map(|(name, code)| (name, code.to_string()));
    let values: Vec<_> = values.into_iter().chain(plain).collect();
    assert!(calls.len() >= 12, "{calls:?}");
    for path in &calls {
        let call = match path.split_once('.') {
            Some((receiver, name)) => {
                let (_, value) = values.iter().find(|(known, _)| *known == receiver).expect(path);
                format!("{value}.{name}")
            }
            None => path.clone(),
        };
        let before = match path.as_str() {
            "AttributionGraph.save_neuronpedia" => "g.prune(), ",
            "AttributionGraph.save_viewer" => "g.prune(), [], ",
            _ => "",
        };
        let more = match path.as_str() {
            "tensor::save" => ", #{ a: tensor([1]) }",
            "run::save_json" | "run::save_text" | "run::copy" => ", \"x\"",
            _ => "",
        };
        let writes = call.contains("save");
        let outside = match path.as_str() {
            "tensor::load" | "tensor::metadata" | "model::load_jacobian_lens" | "model::load_tuned_lens" if !writes => {
                "/etc/x.safetensors"
            }
            _ if !writes => "/etc/hosts",
            "Report.save" => "../outside.html",
            "Tensor.save" => "../outside.npy",
            "tensor::save" | "Cache.save" | "Run.save" | "FittedLens.save" | "Probe.save" => "../outside.safetensors",
            _ => "../outside.json",
        };
        let code = format!("{call}({before}\"{outside}\"{more})").leak();
        let rules = if writes { Rules::default() } else { Rules { deny_read: vec!["/".into()], ..Rules::default() } };
        assert_eq!(support::failure(code, rules).0, "access", "{code}");
    }
}

/// A path that leaves its folder in its middle, an address, the name of a report, and the folders of checkpoints, pages and
/// batch files lead nowhere else either; where work begins with them, that is said before.
#[test]
fn no_name_leads_out_of_where_a_script_may_write() {
    let anywhere = || Rules { allow_net: vec!["*".into()], ..Rules::default() };
    let train =
        "model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, [[1, 2]], #{ steps: 1, dir: \"../kept\" })";
    let of_features = |call: &str| {
        format!(
            "let t = data::tokenizer(\"a b\", #{{ kind: \"words\", min_frequency: 1 }}); let text = data::texts([\"a b a b\"]);
             let m = model::init(#{{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }}, #{{ tokenizer: t }});
             let s = sae::fit(m, \"resid_post.0\", text, #{{ k: 1, d_sae: 4, steps: 1 }});
             features::{call}(m, s, text, #{{ dir: \"../kept\" }})"
        )
    };
    let kept = "this script may not write ../kept/";
    for (code, rules, said) in [
        ("run::save_json(\"a/../../x.json\", 1)".to_string(), Rules::default(), ""),
        ("run::fetch(\"http://example.invalid/x\")".to_string(), Rules::default(), ""),
        ("run::fetch(\"http://localhost:1/x\", #{ to: \"../x\" })".to_string(), anywhere(), ""),
        (train.to_string(), Rules::default(), "this script may not write ../kept/training.safetensors"),
        (of_features("dashboard"), Rules::default(), kept),
        (of_features("save_batches"), Rules::default(), kept),
    ] {
        let code = code.leak();
        let (kind, message) = support::failure(code, rules);
        assert!(kind == "access" && message.starts_with(said), "{code}: {kind}: {message}");
    }
    let (kind, message) = support::failure("report(\"../elsewhere\", [\"text\"]).save()", Rules::default());
    assert!(matches!(kind.as_str(), "access" | "argument"), "{kind}: {message}");
}

/// Everything that the error of a line says.
fn words(folder: &Path, rules: Rules, code: &str) -> String {
    let failure = support::session_with(folder, rules).eval("line", code).unwrap_err();
    format!("{}: {} (hint: {})", failure.kind, failure.message, failure.hint.unwrap_or_default())
}

/// A path that may not be read gives the same error whether it exists or not, so that no script can probe for it.
#[test]
fn what_may_not_be_read_is_answered_as_what_is_not_there() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::create_dir_all(secret.join("there")).unwrap();
        for name in ["there.rhai", "there.txt", "there.json", "there.npy", "there.safetensors", "there/config.json"] {
            std::fs::write(secret.join(name), "1").unwrap();
        }
        let base = secret.display().to_string();
        let words = |code: &str| {
            let rules = Rules { deny_read: vec![secret.clone()], ..Rules::default() };
            words(folder.path(), rules, &code.replace("SECRET", &base))
        };
        for code in [
            "import \"SECRET/NAME\" as lib;",
            "run::load_text(\"SECRET/NAME.txt\")",
            "run::load_json(\"SECRET/NAME.json\")",
            "tensor::load(\"SECRET/NAME.npy\")",
            "tensor::metadata(\"SECRET/NAME.safetensors\")",
            "model::load(\"SECRET/NAME\")",
            "sae::load(\"SECRET/NAME\")",
            "model::load(\"tiny\", #{ tokenizer: \"SECRET/NAME.json\" })",
            "circuit::load(\"SECRET/NAME.json\")",
            "data::text(\"SECRET/NAME.txt\")",
            "data::text(\"SECRET/NAME\")",
            "data::text(\"SECRET/NAME*\")",
            "data::text(\"SECRET/NAME/*.json\")",
            "data::text(\"SECRET/*/NAME.json\")",
        ] {
            let [there, missing] =
                ["there", "lacking"].map(|name| words(&code.replace("NAME", name)).replace(name, "NAME"));
            assert_eq!(there, missing, "{code}");
        }
    });
}

/// A folder that may not be read is left out of the listing of its parent.
#[test]
fn what_may_not_be_read_is_not_listed() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let secret = folder.path().join("data/secret");
        std::fs::create_dir_all(&secret).unwrap();
        std::fs::write(data.join("open.txt"), "open").unwrap();
        let all = format!(
            "data::text(\"{0}/**/*.txt\").documents(9).len() + data::text(\"{0}\").documents(9).len()",
            data.display()
        );
        let nearly = format!("run::load_text(\"{}/secre.txt\")", data.display());
        let rules = || Rules { deny_read: vec![secret.clone(), data.join("secret.txt")], ..Rules::default() };
        let is_passed_over = || {
            let found = support::session_with(folder.path(), rules()).eval("line", &all);
            assert_eq!(found.map(|value| value.to_string()).map_err(|failure| failure.message), Ok("2".into()));
            assert!(!words(folder.path(), rules(), &nearly).contains("secret"));
        };
        is_passed_over();
        std::fs::write(secret.join("hidden.txt"), "hidden").unwrap();
        std::fs::write(data.join("secret.txt"), "hidden").unwrap();
        // Links to it, and to missing names in it.
        #[cfg(unix)]
        for (link, target) in [("a.txt", "secret/hidden.txt"), ("b.txt", "secret/none.txt"), ("c", "secret")] {
            std::os::unix::fs::symlink(target, data.join(link)).unwrap();
        }
        is_passed_over();
    });
}
