//! Whether a dictionary fits its model: one that does, and ones in which exactly one thing is wrong.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use microtome::base::Task;
use microtome::base::random::stream;
use microtome::checkpoint::load::{INSIDE, LoadSettings};
use microtome::data::Text;
use microtome::data::text::TextOptions;
use microtome::model::Model;
use microtome::sae::check::{CheckOptions, Checked, Wrong, check_on};
use microtome::sae::load::LoadOptions;
use microtome::sae::{Activation, Parts, Sae, SiteOptions};
use microtome::tensor::{DType, Tensor, create};
use serde_json::json;

use super::samples::{files, load, write_tensors};
use crate::support;

/// Dictionaries of the model inside the binary, each of a kind in a folder of its own, fitted once: as briefly as they still
/// explain .8 of the variance. The top-k one has more features, since what it explains at the site before its own is to be
/// clearly less.
fn fitted() -> &'static Path {
    static FITTED: OnceLock<PathBuf> = OnceLock::new();
    FITTED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let inside = folder.clone();
        support::on_large_stack(move || {
            let mut session = support::session(&inside);
            let code = r#"
                let m = model::load("tiny");
                let text = data::text("sample", #{ tokens: 8000 });
                let store = data::harvest(m, "resid_post.3", text, #{ dir: "acts" });
                let o = #{ d_sae: 384, steps: 120, batch: 512, seed: 1 };
                for kind in [#{ kind: "topk", k: 24, d_sae: 768 }, #{ kind: "batch_topk", k: 24 },
                    #{ kind: "jumprelu", target: 24 }, #{ kind: "relu", target: 40 }, #{ kind: "gated", target: 40 }] {
                    sae::fit(store, o + kind + #{ site: "resid_post.3" }).save(kind.kind);
                }
                sae::transcoder(m, "mlp_in.3", "mlp_out.3", text, o + #{ k: 24 }).save("transcoder");
                let jumps = o + #{ kind: "jumprelu", target: 24 };
                sae::transcoder(m, "mlp_in.3", "mlp_out.3", text, jumps).save("jump_transcoder");
            "#;
            session.eval("fits", code).map(|_| ()).unwrap_or_else(|failure| panic!("{}", failure.message));
        });
        folder.join("out")
    })
}

/// The parts of a fitted dictionary.
fn parts(name: &str) -> Parts {
    load(&fitted().join(name)).unwrap().parts().clone()
}

fn tiny() -> &'static Model {
    static TINY: OnceLock<Model> = OnceLock::new();
    TINY.get_or_init(|| {
        Model::load(&files(&std::env::temp_dir()), INSIDE, &LoadSettings::default(), &Task::default()).unwrap()
    })
}

/// A check on text of the kind that the dictionaries were fitted on.
fn checked(parts: Parts) -> Checked {
    let files = files(&std::env::temp_dir());
    let task = Task::default();
    let text = Text::of_tiny(&files, TextOptions::default(), &task).unwrap().limited(2000);
    check_on(&Sae::new(parts).unwrap(), tiny(), Some(&text), &CheckOptions::default(), &task).unwrap()
}

/// The parts of a fitted dictionary, changed.
fn with(name: &str, change: impl FnOnce(&mut Parts)) -> Parts {
    let mut parts = parts(name);
    change(&mut parts);
    parts
}

/// The same dictionary for inputs times a factor.
fn for_inputs_times(factor: f64, parts: &mut Parts) {
    let times = |tensor: &Tensor| (tensor * factor).unwrap();
    parts.encoder_bias = parts.encoder_bias.as_ref().map(times);
    parts.decoder_bias = parts.decoder_bias.as_ref().map(times);
    if let Activation::Threshold(threshold) = &parts.activation {
        parts.activation = Activation::Threshold(times(threshold));
    }
}

#[test]
fn every_kind_fits_the_site_that_it_was_fitted_on() {
    let mut alarms = Vec::new();
    for kind in ["topk", "batch_topk", "jumprelu", "relu", "gated", "transcoder"] {
        let found = checked(parts(kind));
        let place = if kind == "transcoder" { "mlp_in.3 to mlp_out.3" } else { "resid_post.3" };
        assert_eq!(found.place, place);
        // Without a text this model is checked on what it writes, as it is here.
        let sae = Sae::new(parts(kind)).unwrap();
        let ours = check_on(&sae, tiny(), None, &CheckOptions::default(), &Task::default()).unwrap();
        println!("{kind}: {found}; without a text: {ours}");
        alarms.extend([found, ours].into_iter().filter(|found| !found.to_string().starts_with("fits ")));
    }
    assert!(alarms.is_empty(), "{alarms:#?}");
    let found = checked(parts("topk"));
    assert!(found.explained.l0 <= 24.0 && found.l0 == Some(24.0) && found.wrong.is_none(), "{found}");
}

#[test]
fn a_dictionary_of_another_site_is_told_which() {
    let mut missed = Vec::new();
    for kind in ["topk", "jumprelu"] {
        for stated in ["resid_post.0", "resid_post.2", "resid_post.4", "mlp_out.3"] {
            let found = checked(with(kind, |parts| parts.about.sites = vec![stated.into()]));
            println!("{kind} {stated}: {found}");
            let is_told = matches!(&found.wrong, Some(Wrong::Site { place, .. }) if place == "resid_post.3");
            missed.extend((!is_told).then(|| format!("{kind} {stated}: {found}")));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    let shifted = with("transcoder", |parts| {
        parts.about.sites = vec!["mlp_in.1".into()];
        parts.about.writes = Some("mlp_out.1".into());
    });
    let found = checked(shifted);
    assert!(matches!(&found.wrong, Some(Wrong::Site { place, .. }) if place == "mlp_in.3 to mlp_out.3"), "{found}");
}

#[test]
fn a_dictionary_that_states_no_site_is_told_the_best() {
    let found = checked(with("topk", |parts| parts.about.sites.clear()));
    assert_eq!((found.place.as_str(), found.is_stated, &found.wrong), ("resid_post.3", false, &None));
    assert!(found.to_string().starts_with("says no site; fits resid_post.3 best: FVE ."), "{found}");
}

#[test]
fn inputs_of_another_scale_are_told_by_which_factor() {
    let mut missed = Vec::new();
    for kind in ["jumprelu", "relu"] {
        for factor in [0.05, 12.0] {
            let found = checked(with(kind, |parts| for_inputs_times(factor, parts)));
            println!("{kind} {factor}: {found}");
            let is_near = |told: &f64| (0.7..1.4).contains(&(told / factor));
            let is_told = matches!(&found.wrong, Some(Wrong::Scale { factor, .. }) if is_near(factor));
            missed.extend((!is_told).then(|| format!("{kind} {factor}: {found}")));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_top_k_dictionary_that_was_read_as_relu_is_told_its_k() {
    // A config often says the k that nobody read.
    let found = checked(with("topk", |parts| {
        parts.activation = Activation::Relu;
        parts.about.more.insert("k".into(), 24.into());
    }));
    println!("{found}");
    assert!(matches!(found.wrong, Some(Wrong::TopK { k: 24, .. })), "{found}");
    assert!(found.to_string().contains(" of 24; it fits as TopK with k 24: FVE ."), "{found}");
    // Eight random directions for each dimension: what half of them write together is far too long.
    let found = checked(with("topk", |parts| {
        let width = parts.encoder.dims()[1];
        let drawn = create::randn(&[8 * width, width], DType::F32, &mut stream(1, "directions", 0)).unwrap();
        let lengths = drawn.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
        parts.encoder = drawn.broadcast_div(&lengths).unwrap();
        parts.decoder = parts.encoder.clone();
        (parts.encoder_bias, parts.centred, parts.activation) = (None, true, Activation::Relu);
        parts.about.prefixes.clear();
    }));
    println!("{found}");
    assert!(matches!(found.wrong, Some(Wrong::TopK { k: 4..=64, .. })), "{found}");
}

#[test]
fn a_dictionary_that_was_not_fitted_on_first_tokens_says_so() {
    // What the first token of a row has in many models: a norm that is hundreds of times that of all others.
    let found = support::on_large_stack(|| {
        let path = fitted().join("topk").display().to_string();
        let (_folder, mut session) = support::alone();
        let code = format!(
            r#"
                let m = model::load("tiny");
                let far = m.with(hooks::add("resid_post.3", tensor::ones([192]) * 300.0, #{{ pos: 0 }}));
                let s = sae::load("{path}");
                let checked = s.check_on(far);
                print(checked);
                [checked.wrong, checked.fits, checked.fve > 0.3, s.check_on(m).wrong]
            "#
        );
        let value = session.eval("check", &code).unwrap_or_else(|failure| panic!("{}", failure.message));
        (format!("{value:?}"), session.env().console.take())
    });
    println!("{found:?}");
    assert!(found.1.contains("fits resid_post.3 but for the "), "{found:?}");
    assert!(found.0.contains("first"), "{found:?}");
}

/// The parts of a JumpReLU dictionary as they come from the layout of Gemma Scope 2, whose config names these modules.
fn in_gemma_scope_2(parts: &Parts, kind: &str, modules: [&str; 2]) -> Parts {
    let folder = tempfile::tempdir().unwrap();
    let Activation::Threshold(threshold) = &parts.activation else { panic!("{}", parts.activation.name()) };
    assert!(!parts.centred);
    let tensors = [
        ("w_enc", parts.encoder.t().unwrap().contiguous().unwrap()),
        ("b_enc", parts.encoder_bias.clone().unwrap()),
        ("threshold", threshold.clone()),
        ("w_dec", parts.decoder.clone()),
        ("b_dec", parts.decoder_bias.clone().unwrap()),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor)).into();
    write_tensors(&folder.path().join("params.safetensors"), tensors);
    let [reads, writes] = modules.map(|module| format!("model.layers.{module}.output"));
    let config = json!({
        "hf_hook_point_in": reads, "hf_hook_point_out": writes, "width": 384, "model_name": "tiny",
        "architecture": "jump_relu", "l0": 24, "affine_connection": false, "type": kind,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let files = files(folder.path());
    let options = LoadOptions::default();
    let place = folder.path().display().to_string();
    Sae::load_for(&files, &place, tiny(), &options, &Task::default()).unwrap().parts().clone()
}

#[test]
fn dictionaries_in_the_layout_of_gemma_scope_2_are_checked_at_the_modules_of_their_configs() {
    let jumps = parts("jumprelu");
    let found = checked(in_gemma_scope_2(&jumps, "sae", ["3", "3"]));
    assert!(found.to_string().starts_with("fits resid_post.3: FVE .") && found.l0 == Some(24.0), "{found}");
    let found = checked(in_gemma_scope_2(&jumps, "sae", ["1", "1"]));
    assert!(matches!(&found.wrong, Some(Wrong::Site { place, .. }) if place == "resid_post.3"), "{found}");
    let scaled = with("jumprelu", |parts| for_inputs_times(8.0, parts));
    let found = checked(in_gemma_scope_2(&scaled, "sae", ["3", "3"]));
    assert!(matches!(&found.wrong, Some(Wrong::Scale { factor, .. }) if (5.6..11.2).contains(factor)), "{found}");
    let norms = ["3.pre_feedforward_layernorm", "3.post_feedforward_layernorm"];
    let found = checked(in_gemma_scope_2(&parts("jump_transcoder"), "transcoder", norms));
    assert!(found.to_string().starts_with("fits mlp_in.3 to mlp_out.3: FVE .") && found.l0 == Some(24.0), "{found}");
}

/// With a dictionary that fits at hand, and a model that computes the same afterwards.
#[test]
fn a_dictionary_of_another_width_or_site_is_one_error_and_the_session_is_as_it_was() {
    let [wide, deep] = support::on_large_stack(|| {
        let (_folder, mut session) = support::alone();
        let mut eval = |code: &str| session.eval("line", code).map(|_| ()).map_err(|failure| failure.message);
        eval("let m = model::load(\"tiny\"); let s = sae::identity(192); let logits = m.logits([1, 2, 3]);").unwrap();
        ["saelens-topk", "gemma-scope-2-resid_post"].map(|name| {
            let place = kit::fixture("saes").join(name).display().to_string();
            let message = eval(&format!("s = sae::load(\"{place}\", #{{ model: m }})")).unwrap_err();
            let is_other = "s.d_sae != 192 || !m.logits([1, 2, 3]).equal(logits)";
            eval(&format!("if {is_other} {{ throw \"the session is another\" }}")).unwrap();
            message
        })
    });
    let wanted = "expected a dictionary for resid_post.3 of tiny, of width 192, found one of width 32 at resid_post.3";
    assert!(wide.contains(wanted), "{wide}");
    assert!(deep.contains("the dictionary is of resid_post.12 of google/gemma-3-270m, which tiny has not"), "{deep}");
}

#[test]
fn what_is_no_dictionary_of_the_model_is_told_so() {
    let found = checked(with("topk", |parts| {
        let turned = parts.encoder.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let turned: Vec<f32> = turned.iter().enumerate().map(|(i, x)| x * (i as f32 * 1.7).sin().signum()).collect();
        parts.encoder = Tensor::from_vec(turned, parts.encoder.dims(), parts.encoder.device()).unwrap();
    }));
    assert_eq!(found.wrong, Some(Wrong::Unknown), "{found}");
    assert!(found.to_string().ends_with("; no other site, scale or top-k explains more"), "{found}");
}

#[test]
fn another_width_and_another_site_are_errors() {
    let check = |parts: Parts, site: Option<&str>| {
        let reads = SiteOptions { site: site.map(String::from) };
        let options = CheckOptions { reads, ..CheckOptions::default() };
        check_on(&Sae::new(parts).unwrap(), tiny(), None, &options, &Task::default()).unwrap_err().message
    };
    let narrow = super::samples::plain(1, 8);
    assert!(check(narrow.clone(), None).contains("of width 192, found one of width 8"), "{}", check(narrow, None));
    let deep = with("topk", |parts| parts.about.sites = vec!["resid_post.7".into()]);
    assert!(check(deep, None).starts_with("the dictionary is of resid_post.7"), "deep");
    let hidden = check(parts("topk"), Some("mlp_hidden.3"));
    assert!(hidden.contains("for mlp_hidden.3 of"), "{hidden}");
}
