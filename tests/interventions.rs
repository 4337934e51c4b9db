//! Interventions as users write them: short scripts with the results of a plain implementation in PyTorch.

use crate::support;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::checkpoint::load;
use microtome::circuit::tree::{EffectTarget, Stage, TreeOptions, effects};
use microtome::model::Model;
use microtome::sae::{About, Activation, Format, Parts, Sae, Scaling};
use microtome::script::Session;
use microtome::script::engine::drawing;
use microtome::script::engine::env::Env;
use microtome::tensor::Tensor;

const FAMILIES: [&str; 4] = ["gpt2", "gpt_neox", "llama", "gemma2"];

#[test]
fn scripts_reproduce_interventions_on_every_family() {
    let scripts = support::files("tests/interventions", "rhai");
    assert_eq!(scripts.len(), 7);
    for script in &scripts {
        let text = std::fs::read_to_string(script).unwrap();
        assert!(text.lines().count() < 25, "{} is not short", script.display());
        for family in FAMILIES {
            check(&text, family);
        }
    }
}

#[test]
fn effects_of_a_tree_are_those_of_full_forwards_on_every_family() {
    let out = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(out.path()).unwrap();
    for family in FAMILIES {
        let truth = truth(family);
        let name = model(family).display().to_string();
        let model = Model::load(&files, &name, &load::LoadSettings::default(), &Task::default()).unwrap();
        let [from, to] = [1, 2].map(|number| Stage::new(&model, &dictionary(&truth, number)).unwrap());
        let texts: Vec<Vec<u32>> =
            truth["clean_ids"].to_dtype(microtome::tensor::DType::U32).unwrap().to_vec2().unwrap();
        let target: Vec<i64> = truth["tree_target"].to_vec1().unwrap();
        let options = TreeOptions::default();
        let targets = [EffectTarget { feature: target[0] as usize, texts }];
        let found = effects(&model, &from, &to, &targets, &options, &Task::default()).unwrap().remove(0);
        let expected: Vec<f32> = truth["tree_effect"].to_vec1().unwrap();
        assert_eq!(found.mean.len(), expected.len());
        for (feature, (found, expected)) in found.mean.iter().zip(&expected).enumerate() {
            assert!(
                (found - f64::from(*expected)).abs() < 1e-4,
                "{family}, feature {feature}: {found}, not {expected}"
            );
        }
    }
}

fn model(family: &str) -> PathBuf {
    kit::fixture("models").join(family)
}

/// The results of PyTorch.
fn truth(family: &str) -> BTreeMap<String, Tensor> {
    kit::tensors(model(family).join("interventions.safetensors"))
}

/// One of the two dictionaries of a family, at the input of the block with this number:
/// codes = relu((x - b_dec) W_enc + b_enc), x_hat = codes W_dec + b_dec.
fn dictionary(truth: &BTreeMap<String, Tensor>, number: usize) -> Sae {
    let part = |name: &str| truth[&format!("sae{number}.{name}")].clone();
    Sae::new(Parts {
        encoder: part("W_enc").t().unwrap().contiguous().unwrap(),
        encoder_bias: Some(part("b_enc")),
        activation: Activation::Relu,
        decoder: part("W_dec"),
        decoder_bias: Some(part("b_dec")),
        centred: true,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About { kind: "relu".into(), sites: vec![format!("resid_pre.{number}").into()], ..About::default() },
    })
    .unwrap()
}

/// Runs a script on the model of a family: it succeeds, and all of its checks hold.
fn check(text: &str, family: &str) {
    let text = text.to_string();
    let family = family.to_string();
    support::on_large_stack(move || {
        let folder = tempfile::tempdir().unwrap();
        let env = Env::in_memory(folder.path()).unwrap();
        let truth = truth(&family);
        for number in [1, 2] {
            let place = Path::new("dictionaries").join(number.to_string());
            dictionary(&truth, number).save(&env.files, &place, Format::Microtome).unwrap();
        }
        let arguments = BTreeMap::from([("model".to_string(), model(&family).display().to_string())]);
        let mut session = Session::new(Env { arguments: std::rc::Rc::new(arguments.into()), ..env });
        let outcome = session.eval(&family, &text);
        if let Err(failure) = outcome {
            panic!("{}", drawing::draw(&failure, session.sources(), false));
        }
        let said = session.env().console.take();
        assert!(session.env().checks.failed() == 0 && session.env().checks.passed() > 0, "{family}: {said}");
    });
}
