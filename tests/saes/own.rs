//! Our own format: round trips are lossless, and what is not understood is refused.

use std::collections::BTreeMap;

use microtome::sae::baselines::nonnegative;
use microtome::sae::{About, Activation, Format, Parts, Sae, Scaling, Span};
use microtome::tensor::files::{NamedTensors, safetensors};
use microtome::tensor::{DType, Tensor};
use serde_json::{Value, json};

use super::samples::{D, F, files, gated, load, matrix, numbers, plain, spelled, vector};

/// One dictionary of every activation, with every optional part.
fn all() -> Vec<Parts> {
    let positive = |seed| matrix(seed, F, D).abs().unwrap();
    let activations = [
        Activation::Relu,
        Activation::TopK(3),
        Activation::Threshold(vector(5, -0.1, 0.5)),
        gated(4),
        Activation::Linear(None),
        Activation::Linear(Some(2)),
        nonnegative(positive(3), None),
        nonnegative(positive(3), Some(2)),
    ];
    let mut all: Vec<Parts> = activations.into_iter().map(|activation| Parts { activation, ..plain(1, D) }).collect();
    for parts in all.iter_mut().filter(|parts| parts.activation.name() == "nonnegative") {
        parts.encoder_bias = None;
    }
    let spans = vec![Span { width: 3, scale: 0.1 }, Span { width: D - 3, scale: 1.0 / 3.0 }];
    let several = About { sites: vec!["a".into(), "b".into()], spans, ..plain(1, D).about };
    all.push(Parts { about: several, rescaled: true, scaling: Scaling::LayerNorm, centred: true, ..plain(2, D) });
    let transcoder = About { kind: "skip_transcoder".into(), writes: Some("mlp_out.1".into()), ..plain(1, D).about };
    all.push(Parts { about: transcoder, skip: Some(matrix(4, D + 2, D)), ..plain(3, D + 2) });
    all
}

#[test]
fn everything_comes_back_as_it_was() {
    for parts in all() {
        let folder = tempfile::tempdir().unwrap();
        let sae = Sae::new(parts.clone()).unwrap();
        let places = sae.save(&files(folder.path()), folder.path(), Format::Microtome).unwrap();
        assert_eq!(places.len(), 1);
        let again = load(folder.path()).unwrap();
        assert_eq!(spelled(again.parts()), spelled(&parts));
        for (found, given) in again.parts().activation.tensors().iter().zip(parts.activation.tensors()) {
            assert_eq!(numbers(found.tensor), numbers(given.tensor));
        }
        // A file loads like its folder.
        assert_eq!(spelled(load(&places[0]).unwrap().parts()), spelled(&parts));
    }
}

/// The error of loading a top-k dictionary whose file was changed.
fn refusal(change: impl Fn(&mut BTreeMap<String, Tensor>, &mut Value)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts { activation: Activation::TopK(3), ..plain(1, D) };
    let place = &Sae::new(parts).unwrap().save(&files(folder.path()), folder.path(), Format::Microtome).unwrap()[0];
    let file = safetensors::SafetensorsFile::new(std::fs::read(place).unwrap()).unwrap();
    let mut said: Value = serde_json::from_str(&file.metadata()["dictionary"]).unwrap();
    let mut tensors = file.all().unwrap().tensors;
    change(&mut tensors, &mut said);
    let metadata = match said {
        Value::Null => BTreeMap::new(),
        said => BTreeMap::from([("dictionary".to_string(), said.to_string())]),
    };
    safetensors::write(&NamedTensors { tensors, metadata }, &mut std::fs::File::create(place).unwrap()).unwrap();
    let error = load(folder.path()).unwrap_err();
    let shown = folder.path().display().to_string();
    assert!(error.message.contains(&shown), "{}", error.message);
    error.message
}

/// A change to the tensors of a file and to its metadata.
type Damage = dyn Fn(&mut BTreeMap<String, Tensor>, &mut Value);

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let cases: [(&str, &Damage); 13] = [
        ("expected `dictionary` in the metadata", &|_, said| *said = Value::Null),
        ("expected the version `microtome dictionary, 1`", &|_, said| {
            said["version"] = "microtome dictionary, 2".into()
        }),
        ("found a tensor that such a dictionary does not have: `threshold`", &|tensors, _| {
            tensors.insert("threshold".into(), vector(1, 0.0, 1.0));
        }),
        ("expected a tensor `decoder`", &|tensors, _| drop(tensors.remove("decoder"))),
        ("expected the encoder's bias as [24], found [2]", &|tensors, _| {
            tensors.insert("encoder_bias".into(), vector(1, 0.0, 1.0).narrow(0, 0, 2).unwrap());
        }),
        ("found NaN at [0]", &|tensors, _| {
            let nan = Tensor::full(f32::NAN, F, &microtome::tensor::Device::Cpu).unwrap();
            tensors.insert("encoder_bias".into(), nan);
        }),
        ("expected a known `activation`, found \"tpk\"", &|_, said| said["activation"] = "tpk".into()),
        ("expected a known `scaling`", &|_, said| said["scaling"] = "sometimes".into()),
        ("expected `k`, the number of features that are kept, found none", &|_, said| said["k"] = Value::Null),
        ("expected k from 1 to 24", &|_, said| said["k"] = 25.into()),
        ("expected no `k` for the activation relu, found 3", &|_, said| said["activation"] = "relu".into()),
        ("temperature", &|_, said| said["temperature"] = 2.into()),
        ("expected sites that are 8 wide together", &|_, said| said["about"]["spans"] = json!([[3, 1.0], [4, 1.0]])),
    ];
    for (expected, change) in cases {
        let found = refusal(change);
        assert!(found.contains(expected), "{found} instead of {expected}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sae = Sae::new(plain(1, D)).unwrap();
    let place = &sae.save(&files(folder.path()), folder.path(), Format::Microtome).unwrap()[0];
    let whole = std::fs::read(place).unwrap();
    for length in [0, 7, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(place, &whole[..length]).unwrap();
        assert!(load(folder.path()).is_err(), "{length} bytes");
    }
    assert_eq!(sae.directions().dtype(), DType::F32);
}
