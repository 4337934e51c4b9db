//! Transcoders are written and read again, and what does not belong together is refused by name.

use std::path::Path;

use kit::{far, fixture};

use super::*;
use crate::base::Task;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::sae::load::LoadOptions;
use crate::sae::{About, Activation, Parts, Sae, Scaling};
use crate::tensor::Device;

/// Makes files of which those below a folder may be written.
fn files(folder: &Path) -> Files {
    Files::new(Access::new(folder, &Rules::default()).unwrap(), false)
}

fn load(folder: &Path, ignore: &[&str]) -> Result<Transcoders> {
    let options = TranscodersOptions { ignore: ignore.iter().map(|key| key.to_string()).collect() };
    Transcoders::load(&files(folder), &folder.display().to_string(), &options, &Task::default())
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_layout_is_written_and_read_again() {
    for (name, crosses) in [("gpt2-topk", false), ("llama-relu-skip", false), ("llama-clt-jumprelu", true)] {
        let first = load(&fixture("graphs").join(name).join("transcoder"), &[]).unwrap();
        assert_eq!(first.crosses(), crosses, "{name}");
        let folder = tempfile::tempdir().unwrap();
        first.save(&files(folder.path()), folder.path()).unwrap();
        let again = load(folder.path(), &[]).unwrap();
        assert_eq!((again.reads, again.writes), (first.reads, first.writes));
        for (a, b) in first.layers().iter().zip(again.layers()) {
            assert_eq!(numbers(&a.encoder), numbers(&b.encoder));
            assert_eq!(numbers(&a.decoder.rows(&[3, 1]).unwrap()), numbers(&b.decoder.rows(&[3, 1]).unwrap()));
            let x = Tensor::arange(0_f32, 24.0, &Device::Cpu).unwrap().sin().unwrap().reshape((1, 24)).unwrap();
            let fired = |layer: &TranscoderLayer| numbers(&layer.fired(&layer.pre(&x).unwrap()).unwrap());
            assert_eq!(fired(a), fired(b), "{name}");
            assert!(fired(a).iter().any(|value| *value != 0.0), "{name}");
        }
    }
}

#[test]
fn one_by_one_they_have_the_codes_that_they_have_together() {
    let loaded = |name: &str| load(&fixture("graphs").join(name).join("transcoder"), &[]).unwrap();
    let refused = loaded("gpt2-topk").one_by_one().unwrap_err().message;
    assert!(refused.contains("before its weights, which is no site"), "{refused}");
    for name in ["gpt2-relu", "llama-relu-skip", "llama-clt-jumprelu"] {
        let all = loaded(name);
        let saes = all.one_by_one().unwrap();
        let x = Tensor::arange(0_f32, 24.0, &Device::Cpu).unwrap().sin().unwrap().reshape((1, 24)).unwrap();
        assert_eq!(saes.len(), all.layers().len());
        for (number, (sae, layer)) in saes.iter().zip(all.layers()).enumerate() {
            let site = if all.reads == Reads::ResidMid { "resid_mid" } else { "mlp_in" };
            assert_eq!(sae.parts().about.site_names(), [format!("{site}.{number}")], "{name}");
            let fired = numbers(&layer.fired(&layer.pre(&x).unwrap()).unwrap());
            // A top-k transcoder of circuit-tracer has codes below 0, which are no activity.
            let fired: Vec<f32> = fired.iter().map(|code| code.max(0.0)).collect();
            assert_eq!(numbers(&sae.encode(&x).unwrap()), fired, "{name}");
            let own = layer.decoder.rows(&[3]).unwrap().narrow(1, 0, 1).unwrap();
            assert_eq!(numbers(&sae.directions().get(3).unwrap()), numbers(&own), "{name}");
        }
        if !all.crosses() {
            let again = Transcoders::of(&saes).unwrap();
            assert_eq!((again.reads, again.writes), (all.reads, all.writes), "{name}");
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let from = fixture("graphs/gpt2-relu/transcoder");
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    copy("layer_0.safetensors");
    copy("layer_2.safetensors");
    let config = std::fs::read_to_string(from.join("config.yaml")).unwrap();
    let put = |text: &str| std::fs::write(folder.path().join("config.yaml"), text).unwrap();
    let message = |ignore: &[&str]| load(folder.path(), ignore).unwrap_err().message;
    put(&config);
    assert!(message(&[]).ends_with("found no layer_1.safetensors"), "{}", message(&[]));
    copy("layer_1.safetensors");
    put(&format!("{config}temperature: 0.5\n"));
    assert!(message(&[]).contains("temperature"), "{}", message(&[]));
    assert!(load(folder.path(), &["temperature"]).is_ok());
    put(&config.replace("hook_resid_mid", "hook_resid_pre"));
    assert!(message(&[]).contains("`feature_input_hook`, found hook_resid_pre"), "{}", message(&[]));
    put(&config.replace("transcoder_set", "crosscoder"));
    assert!(message(&[]).contains("`model_kind`, found crosscoder"));
    put(&config.replace("transcoder_set", "cross_layer_transcoder"));
    assert!(message(&[]).contains("W_enc_"));
}

fn one(layer: usize, parts: impl FnOnce(&mut Parts)) -> Sae {
    let wave = |rows: usize, columns: usize, pace: f32| {
        let values = (0..rows * columns).map(|i| (i as f32 * pace).sin()).collect::<Vec<_>>();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    };
    let mut made = Parts {
        encoder: wave(5, 4, 0.7),
        encoder_bias: Some(Tensor::full(0.1_f32, 5, &Device::Cpu).unwrap()),
        activation: Activation::TopK(2),
        decoder: wave(5, 4, 1.3),
        decoder_bias: Some(Tensor::full(0.3_f32, 4, &Device::Cpu).unwrap()),
        centred: true,
        rescaled: true,
        skip: Some(wave(4, 4, 0.2)),
        scaling: Scaling::None,
        about: About {
            kind: "transcoder".into(),
            sites: vec![format!("mlp_in.{layer}").into()],
            writes: Some(format!("mlp_out.{layer}")),
            ..About::default()
        },
    };
    parts(&mut made);
    Sae::new(made).unwrap()
}

#[test]
fn transcoders_of_every_kind_are_in_a_set_what_they_are_alone() {
    let vector = |values: [f32; 5]| Tensor::new(&values, &Device::Cpu).unwrap();
    let gated = Activation::Gated {
        gate: vector([0.2, -0.5, 1.0, 0.0, -0.1]),
        magnitude: vector([-0.3, 0.4, 0.1, 0.6, -0.2]),
        log_scale: vector([0.5, -0.7, 0.0, 0.2, -0.1]),
    };
    let kinds =
        [Activation::TopK(2), Activation::Relu, Activation::Threshold(vector([0.1, 0.5, -0.2, 0.0, 0.3])), gated];
    let x = Tensor::from_vec(vec![0.3_f32, -1.2, 0.8, 2.0, 1.0, 0.5, -0.4, 0.1], (2, 4), &Device::Cpu).unwrap();
    for (kind, rescaled) in kinds.iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let of_kind = |parts: &mut Parts| (parts.activation, parts.rescaled) = (kind.clone(), rescaled);
        let all = [one(1, of_kind), one(0, |parts| parts.rescaled = false)];
        let together = Transcoders::of(&all).unwrap();
        let mut fired = 0;
        for (layer, alone) in together.layers().iter().zip([&all[1], &all[0]]) {
            let codes = layer.fired(&layer.pre(&x).unwrap()).unwrap();
            fired += numbers(&codes).iter().filter(|code| **code > 0.0).count();
            let rows = layer.decoder.rows(&[0, 1, 2, 3, 4]).unwrap().squeeze(1).unwrap();
            let skip = x.matmul(&layer.skip.as_ref().unwrap().t().unwrap()).unwrap();
            let found = (codes.matmul(&rows).unwrap() + skip).unwrap();
            let found = found.broadcast_add(layer.decoder_bias.as_ref().unwrap()).unwrap();
            let expected = alone.reconstruct(&x).unwrap();
            let worst = far(found, expected);
            assert!(worst < 1e-5, "{}: {worst}", kind.name());
        }
        assert!(fired > 4, "{}: {fired} codes", kind.name());
    }
}

#[test]
fn dictionaries_that_are_no_set_are_refused() {
    let message = |saes: &[Sae]| Transcoders::of(saes).unwrap_err().message;
    assert_eq!(
        message(&[one(0, |_| {}), one(2, |_| {})]),
        "expected a transcoder for each layer, found none for layer 1"
    );
    assert_eq!(
        message(&[one(0, |_| {}), one(0, |_| {})]),
        "expected one transcoder for each layer, found two for layer 0"
    );
    assert_eq!(message(&[]), "expected a transcoder for each layer, found none");
    let linear = one(0, |parts| {
        parts.activation = Activation::Linear(None);
        parts.rescaled = false;
    });
    assert!(message(&[linear]).starts_with("the transcoder of layer 0 is linear"));
    let elsewhere = one(0, |parts| parts.about.sites = vec!["resid_post.0".into()]);
    assert!(message(&[elsewhere]).ends_with("found one that reads resid_post.0"));
}

#[test]
fn a_layer_of_a_saved_top_k_set_is_the_transcoder_that_it_was() {
    let saes = [one(0, |parts| parts.rescaled = false), one(1, |parts| parts.rescaled = false)];
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    Transcoders::of(&saes).unwrap().save(&files, folder.path()).unwrap();
    let load = |layer: usize| {
        let path = folder.path().join(format!("layer_{layer}.safetensors")).display().to_string();
        Sae::load(&files, &path, &LoadOptions::default(), &Task::default())
    };
    let x = Tensor::from_vec(vec![0.3_f32, -1.2, 0.8, 2.0, 1.0, 0.5, -0.4, 0.1], (2, 4), &Device::Cpu).unwrap();
    for (layer, alone) in saes.iter().enumerate() {
        let again = load(layer).unwrap();
        assert!(matches!(again.parts().activation, Activation::TopK(2)), "{}", again.parts().activation.name());
        let worst = far(again.reconstruct(&x).unwrap(), alone.reconstruct(&x).unwrap());
        assert!(worst < 1e-5, "{layer}: {worst}");
    }
    // circuit-tracer's own top-k also keeps what is below 0, which a dictionary cannot be.
    let config = folder.path().join("config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("topk_relu: true\n", "")).unwrap();
    let error = load(0).unwrap_err();
    assert!(error.message.contains("expected `topk_relu: true`"), "{error}");
    std::fs::write(&config, text.replace("topk: 2", "topk: two")).unwrap();
    assert!(load(0).unwrap_err().message.contains("config key `topk`, found two"));
}
