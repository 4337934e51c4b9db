//! Cached dictionaries: a repeated fit loads them bit for bit, and never those of a different fit.

use crate::support;
use crate::watch::{Moment, Watch};
use std::fs;
use std::path::{Path, PathBuf};

use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::settings::Settings;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::value::repr;

const FOUND: &str = " from the cache, fitted with the same model, text and options; --fresh fits again";

/// A folder with a cache, in which scripts run.
struct CacheFolder {
    folder: tempfile::TempDir,
    fresh: bool,
    rules: Rules,
    interrupts: Option<&'static str>,
}

impl CacheFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder, fresh: false, rules: Rules::default(), interrupts: None };
        fs::write(place.folder.path().join("text.txt"), "to be or not to be, that is the question").unwrap();
        place
    }

    /// Runs code in a new session with a model `m`, a `text`, and options `few`: its value, and the progress messages.
    fn run(&self, code: &str) -> (String, Vec<String>) {
        let root = self.folder.path();
        let before = format!(
            r#"let t = data::tokenizer("to be or not to be, that is the question", #{{ kind: "characters", min_frequency: 1 }});
            let shape = #{{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }};
            let m = model::init(shape, #{{ tokenizer: t, seed: 1 }});
            let text = data::text("{}");
            let few = #{{ k: 2, ratio: 2, steps: 4, batch: 16, seed: 1 }};
            "#,
            root.join("text.txt").display()
        );
        let code = before + code;
        let out = root.join("out");
        let cache = root.join("cache");
        let fresh = self.fresh;
        let rules = self.rules.clone();
        let interrupts = self.interrupts;
        support::on_large_stack(move || {
            let (task, watch) = Watch::until(interrupts.map(|work| Moment::Begins(work, 1)));
            let env = Env::in_memory(&out).unwrap();
            let env = Env {
                task,
                files: Files::new(Access::new(&out, &rules).unwrap(), true),
                settings: Settings { cache: Some(cache), fresh, ..env.settings.clone() },
                ..env
            };
            let mut session = Session::new(env);
            let value = session.eval("kept", &code).map(|value| repr(&value)).map_err(|failure| failure.message);
            // A cache hit is not an input of the run, and a cached dictionary is not an output.
            let ledger = session.env().files.ledger();
            assert!(ledger.read.keys().chain(ledger.written.keys()).all(|path| !path.ends_with("kept.dictionary")));
            let ended = value.unwrap_or_else(|message| {
                assert_eq!(message, "interrupted");
                message
            });
            (ended, watch.said())
        })
    }

    fn saved(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join("out").join(name).join("dictionary.safetensors")).unwrap()
    }

    /// All files of a folder of the output, by name.
    fn all_saved(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let files = fs::read_dir(self.folder.path().join("out").join(name)).unwrap().flatten();
        let mut all: Vec<_> = files.map(|file| (file.file_name().into(), fs::read(file.path()).unwrap())).collect();
        all.sort();
        all
    }

    fn kept(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.folder.path().join("cache/dictionaries")).into_iter().flatten().flatten();
        let mut all: Vec<PathBuf> = folders.map(|folder| folder.path().join("kept.dictionary")).collect();
        all.sort();
        all
    }
}

const FIT: &str = r#"let s = sae::fit(m, "resid_post.1", text, few); s.save("NAME"); [s.settings, s.history.to_map()]"#;

fn fit(name: &str) -> String {
    FIT.replace("NAME", name)
}

#[test]
fn a_dictionary_is_found_again_and_is_the_same() {
    let mut place = CacheFolder::new();
    let (first, said) = place.run(&fit("first"));
    assert_eq!((said, place.kept().len()), (vec![], 1));
    let whole = fs::read(&place.kept()[0]).unwrap();
    let (second, said) = place.run(&fit("second"));
    assert_eq!(said, [format!("loaded resid_post.1{FOUND}")]);
    assert_eq!((second, place.saved("second")), (first.clone(), place.saved("first")));

    // A fit that runs again gives the same dictionary, and replaces the cached one.
    fs::write(&place.kept()[0], "broken").unwrap();
    place.fresh = true;
    let (third, said) = place.run(&fit("third"));
    assert_eq!((third, place.saved("third"), said), (first.clone(), place.saved("first"), vec![]));
    assert_eq!(fs::read(&place.kept()[0]).unwrap(), whole);
    place.fresh = false;
    let code = fit("fourth").replace("few", "few + #{ fresh: true }");
    assert_eq!(place.run(&code), (first, vec![]));
    assert_eq!(place.kept().len(), 1);
}

#[test]
fn nothing_is_found_that_would_be_fitted_otherwise() {
    let place = CacheFolder::new();
    place.run(&fit("s"));
    for other in [
        fit("s").replace("few", "few + #{ seed: 2 }"),
        fit("s").replace("few", "few + #{ k: 1 }"),
        fit("s").replace("few", "few + #{ without_first: 1 }"),
        fit("s").replace("few", "few + #{ buffer: 16 }"),
        fit("s").replace("resid_post.1", "resid_post.0"),
        format!("m = model::init(shape, #{{ tokenizer: t, seed: 2 }}); {}", fit("s")),
    ] {
        assert_eq!(place.run(&other).1, Vec::<String>::new(), "{other}");
    }
    assert_eq!(place.kept().len(), 7);
    fs::write(place.folder.path().join("text.txt"), "to be or to be, that is not the question").unwrap();
    assert_eq!(place.run(&fit("s")).1, Vec::<String>::new());
    assert_eq!(place.kept().len(), 8);
}

#[test]
fn transcoders_are_found_again_and_are_the_same() {
    let cross = r#"let c = sae::cross_layer_transcoder(m, text, few); c.save("NAME"); c.history.to_map()"#;
    let of_layer =
        r#"let s = sae::transcoder(m, "mlp_in.1", "mlp_out.1", text, few); s.save("NAME"); s.history.to_map()"#;
    for (code, site, others) in [
        (cross, "mlp_in.* to mlp_out.*", [r#"kind: "topk""#, r#"reads: "resid_mid""#, "seed: 2", "d_sae: 12"]),
        (of_layer, "mlp_in.1 to mlp_out.1", [r#"kind: "batch_topk""#, "skip: true", "seed: 2", "d_sae: 12"]),
    ] {
        let place = CacheFolder::new();
        let named = |name: &str| code.replace("NAME", name);
        let (first, said) = place.run(&named("first"));
        assert_eq!((said, place.kept().len()), (vec![], 1), "{site}");
        let (second, said) = place.run(&named("second"));
        assert_eq!(said, [format!("loaded {site}{FOUND}")]);
        assert_eq!((&second, place.all_saved("second")), (&first, place.all_saved("first")), "{site}");
        // Every kind is read as it was written, and never in the place of another.
        for (count, other) in others.into_iter().enumerate() {
            let code = |name: &str| named(name).replace("few", &format!("few + #{{ {other} }}"));
            let (fitted, said) = place.run(&code("fitted"));
            assert_eq!((said, place.kept().len()), (vec![], count + 2), "{other}");
            let (loaded, said) = place.run(&code("loaded"));
            assert!(matches!(said.as_slice(), [line] if line.ends_with(FOUND)), "{other}: {said:?}");
            assert_eq!(loaded, fitted, "{other}");
            assert_eq!(place.all_saved("loaded"), place.all_saved("fitted"), "{other}");
        }
    }
}

#[test]
fn crosscoders_are_found_again_and_are_the_same() {
    let layers =
        r#"sae::crosscoder(m, "resid_post.*", text, #{ l1: 0.01, ratio: 2, steps: 4, batch: 16, seed: 1 } + MORE)"#;
    let models = layers.replace("m, \"resid_post.*\"", "[m, other], \"resid_post.1\"");
    let both = "resid_post.1 of model 0, resid_post.1 of model 1";
    for (code, site) in [(layers, "resid_post.0, resid_post.1"), (&models, both)] {
        let place = CacheFolder::new();
        let run = |name: &str, other: &str, more: &str| {
            let code = code.replace("MORE", more);
            place.run(&format!(
                r#"let other = model::init(shape, #{{ tokenizer: t, {other} }});
                let s = {code}; s.save("{name}"); [s.sites, s.by_site().to_map(), s.history.to_map(), s.more]"#
            ))
        };
        let (first, said) = run("first", "seed: 2", "#{}");
        assert_eq!((said, place.kept().len()), (vec![], 1), "{site}");
        let (second, said) = run("second", "seed: 2", "#{}");
        assert_eq!(said, [format!("loaded {site}{FOUND}")]);
        assert_eq!((second, place.saved("second")), (first, place.saved("first")), "{site}");
        // Other options, and of several models another second one, are other crosscoders.
        assert_eq!(run("third", "seed: 2", "#{ target: 4 }").1, Vec::<String>::new(), "{site}");
        let found = run("fourth", "seed: 3", "#{}").1.len();
        assert_eq!((found, place.kept().len()), if site == both { (0, 3) } else { (1, 2) }, "{site}");
    }
}

#[test]
fn sweeps_of_every_target_take_what_is_kept_and_fit_the_rest() {
    for (of, sites, kind, alone) in [
        (
            "transcoder",
            r#"["mlp_in.1", "mlp_out.1"]"#,
            "k",
            r#"sae::transcoder(m, "mlp_in.1", "mlp_out.1", text, few)"#,
        ),
        ("cross_layer", r#""mlp_in.*""#, "k", "sae::cross_layer_transcoder(m, text, few)"),
        ("crosscoder", r#""resid_post.*""#, "l1", r#"sae::crosscoder(m, "resid_post.*", text, few)"#),
    ] {
        let place = CacheFolder::new();
        let few = format!("few = #{{ {kind}: 1, ratio: 2, steps: 4, batch: 16, seed: 1 }};");
        let sweep = |name: &str, values: &str| {
            place.run(&format!(
                r#"{few} let all = sae::sweep(m, {sites}, text, few + #{{ of: "{of}", {kind}: {values} }});
                for i in 0..all.len() {{ all[i].save(`{name}/${{i}}`); }} all.len()"#
            ))
        };
        assert_eq!(sweep("a", "[1, 2]"), ("2".into(), vec![]), "{of}");
        let (_, said) = sweep("b", "[2, 1]");
        assert!(matches!(said.as_slice(), [line] if line.starts_with("loaded 2 dictionaries of ")), "{of}: {said:?}");
        assert_eq!(place.all_saved("a/1"), place.all_saved("b/0"), "{of}");
        let (_, said) = place.run(&format!(r#"{few} {alone}.save("alone")"#));
        assert!(matches!(said.as_slice(), [line] if line.ends_with(FOUND)), "{of}: {said:?}");
        assert_eq!(place.all_saved("a/0"), place.all_saved("alone"), "{of}");
        assert_eq!(place.kept().len(), 2, "{of}");
    }
}

#[test]
fn what_is_damaged_is_said_fitted_anew_and_replaced() {
    let place = CacheFolder::new();
    let (first, _) = place.run(&fit("first"));
    let file = place.kept().remove(0);
    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 4;
    fs::write(&file, bytes).unwrap();
    let (second, said) = place.run(&fit("second"));
    let why = "its bytes have changed since it was written";
    assert_eq!(said, [format!("the cached dictionary of resid_post.1 cannot be used, so it is fitted again: {why}")]);
    assert_eq!((second, place.saved("second")), (first, place.saved("first")));
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn of_several_sites_those_are_fitted_that_are_missing() {
    let together = CacheFolder::new();
    let all = r#"let all = sae::fit_all(m, "resid_post.*", text, few); for s in all { s.save(s.sites[0]); } all.len()"#;
    assert_eq!(together.run(all).1, ["fitting resid_post.0", "fitting resid_post.1"]);
    for buffer in ["", "few.buffer = 12;"] {
        let place = CacheFolder::new();
        place.run(&format!("{buffer} {}", fit("alone")));
        let (_, said) = place.run(&format!("{buffer} {all}"));
        assert_eq!(said, [format!("loaded resid_post.1{FOUND}")]);
        let (_, said) = place.run(&format!("{buffer} {all}"));
        assert_eq!(said, [format!("loaded resid_post.0, resid_post.1{FOUND}")]);
        assert_eq!(place.saved("alone"), place.saved("resid_post.1"));
        if buffer.is_empty() {
            assert_eq!(place.saved("resid_post.0"), together.saved("resid_post.0"));
        }
    }
}

#[test]
fn a_sweep_takes_what_is_kept_and_fits_the_rest() {
    let place = CacheFolder::new();
    let sweep = |grid: &str| {
        let code = format!(
            r#"let all = sae::sweep(m, "resid_post.1", text, few + #{{ {grid} }});
            for i in 0..all.len() {{ all[i].save(`NAME/${{i}}`); }} all.map(|s| s.settings.k)"#
        );
        move |name: &str| code.replace("NAME", name)
    };
    let two = sweep("k: [1, 2]");
    assert_eq!(place.run(&two("a")), ("[1, 2]".into(), vec![]));
    let (value, said) = place.run(&two("b"));
    assert_eq!((value, said), ("[1, 2]".into(), vec![format!("loaded 2 dictionaries of resid_post.1{FOUND}")]));
    let (value, said) = place.run(&sweep("k: [1, 3, 2]")("c"));
    assert_eq!((value, said), ("[1, 3, 2]".into(), vec![format!("loaded 2 dictionaries of resid_post.1{FOUND}")]));
    for (one, other) in [("a/0", "b/0"), ("a/1", "b/1"), ("a/0", "c/0"), ("a/1", "c/2")] {
        assert_eq!(place.saved(one), place.saved(other), "{one} {other}");
    }
    // A fit is a sweep of one dictionary.
    assert_eq!(place.run(&fit("alone")).1, [format!("loaded resid_post.1{FOUND}")]);
    assert_eq!(place.saved("alone"), place.saved("a/1"));
}

#[test]
fn a_fit_that_was_stopped_is_not_kept() {
    let mut place = CacheFolder::new();
    place.interrupts = Some("fitting");
    let (_, said) = place.run(&fit("s"));
    assert_eq!(said, ["stopped after 0 of 4 steps; the call returns the dictionary as it is"]);
    // A sweep says it once.
    let (_, said) = place.run(r#"sae::sweep(m, "resid_post.1", text, few + #{ k: [1, 2] }).len"#);
    assert_eq!(said, ["stopped after 0 of 4 steps; the call returns 2 unfinished dictionaries as they are"]);
    place.interrupts = None;
    assert_eq!(place.kept(), Vec::<PathBuf>::new());
    assert_eq!(place.run(&fit("s")).1, Vec::<String>::new());
    assert_eq!(place.kept().len(), 1);
}

#[test]
fn a_harvest_of_a_fit_that_was_stopped_says_what_is_lost() {
    let mut place = CacheFolder::new();
    place.interrupts = Some("harvesting");
    let (ended, said) = place.run(&fit("s"));
    let line = "stopped while harvesting, before the first step: 0 rows read and dropped; `data::harvest` keeps what it has \
                read, and fits read its folder";
    assert_eq!((ended.as_str(), said), ("interrupted", vec![line.into()]));
    assert_eq!(place.kept(), Vec::<PathBuf>::new());
}

#[test]
fn a_folder_of_its_own_or_a_rule_keeps_it_out_of_the_cache() {
    let mut place = CacheFolder::new();
    place.run(&fit("s").replace("few", r#"few + #{ dir: "fit" }"#));
    place.run(r#"sae::fit(tensor::randn([32, 4], #{ seed: 1 }), #{ k: 1, d_sae: 4, steps: 2, seed: 1 })"#);
    place.rules.deny_write = vec![place.folder.path().join("cache/dictionaries")];
    assert_eq!(place.run(&fit("s")).1, Vec::<String>::new());
    assert_eq!(place.kept(), Vec::<PathBuf>::new());
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_said_and_stops_nobody() {
    let place = CacheFolder::new();
    // A file in place of the folder stops everybody, root included.
    fs::write(place.folder.path().join("cache"), "").unwrap();
    let (_, said) = place.run(&fit("s"));
    assert!(matches!(said.as_slice(), [line] if line.starts_with("resid_post.1 is not cached: ")), "{said:?}");
    assert!(Path::new(&place.folder.path().join("out/s/dictionary.safetensors")).exists());
}
