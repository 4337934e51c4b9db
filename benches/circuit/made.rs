//! Models and dictionaries with random weights, and the files that the loop in Python reads them from.

use std::collections::BTreeMap;
use std::path::Path;

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::base::random::stream;
use microtome::checkpoint::load;
use microtome::model::Model;
use microtome::sae::{About, Activation, Parts, Sae, Scaling};
use microtome::tensor::files::{NamedTensors, safetensors};
use microtome::tensor::{DType, Tensor, create};

use super::common::shapes::PYTHIA;
use super::common::{eval, in_session};
use super::{D, FEATURES, K, LAYERS};

/// The shape of Pythia-70M with random weights, in the folder `neox` of a place.
pub fn model(place: &Path) -> Model {
    in_session(place, |session| eval(session, &format!("model::init({PYTHIA}, #{{ seed: 0 }}).save(\"neox\");")));
    let files = Files::unrecorded(place).unwrap();
    let folder = place.join("neox").display().to_string();
    Model::load(&files, &folder, &load::LoadSettings::default(), &Task::default()).unwrap()
}

/// A top-k dictionary with directions drawn uniformly from the sphere, the same for encoder and decoder.
pub fn dictionary(site: &str, d: usize, features: usize, k: usize, turn: u64) -> Sae {
    let mut random = stream(0, "bench", turn);
    let rows = create::randn(&[features, d], DType::F32, &mut random).unwrap();
    let lengths = rows.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
    let directions = rows.broadcast_div(&lengths).unwrap();
    Sae::new(Parts {
        encoder: directions.clone(),
        encoder_bias: None,
        activation: Activation::TopK(k),
        decoder: directions,
        decoder_bias: None,
        centred: false,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About { kind: "topk".into(), sites: vec![site.into()], ..About::default() },
    })
    .unwrap()
}

/// One after each block.
pub fn dictionaries() -> Vec<Sae> {
    let one = |layer: usize| dictionary(&format!("resid_post.{layer}"), D, FEATURES, K, layer as u64);
    (0..LAYERS).map(one).collect()
}

/// The loop's input beside the model: the last dictionaries, at most two, the contexts and the target.
pub fn write(place: &Path, saes: &[Sae], contexts: &[Vec<u32>], target: usize) {
    let mut tensors = BTreeMap::new();
    for (name, sae) in ["target", "previous"].into_iter().zip(saes.iter().rev()) {
        tensors.insert(name.to_string(), sae.directions().clone());
    }
    let ids: Vec<i64> = contexts.concat().into_iter().map(i64::from).collect();
    let ids = Tensor::from_vec(ids, (contexts.len(), contexts[0].len()), &microtome::tensor::Device::Cpu).unwrap();
    tensors.insert("contexts".into(), ids);
    tensors.insert("feature".into(), Tensor::new(&[target as i64], &microtome::tensor::Device::Cpu).unwrap());
    let mut file = std::fs::File::create(place.join("task.safetensors")).unwrap();
    safetensors::write(&NamedTensors { tensors, ..NamedTensors::default() }, &mut file).unwrap();
}

/// The loop's result: the effect of each of the first features.
pub fn effects(place: &Path) -> Option<Vec<f64>> {
    let bytes = std::fs::read(place.join("effects.safetensors")).ok()?;
    let found = safetensors::SafetensorsFile::new(bytes).unwrap().tensor("effects").unwrap();
    Some(found.to_dtype(DType::F64).unwrap().to_vec1().unwrap())
}
