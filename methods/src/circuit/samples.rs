//! Small models and dictionaries for the tests of this floor.

use crate::common::*;
use crate::data::{Text, harvest, text};
use crate::features::Survey;
use crate::features::samples::plain;
use crate::features::survey::KeptPositions;
use crate::fixtures::{config, decoder};
use crate::model::config::Activation::Relu;
use crate::model::config::{NormKind, Positions};
use crate::model::weights::Weights;
use crate::sae::{About, Activation, Parts, Sae};

/// The number of features of the dictionaries.
pub const FEATURES: usize = 24;

/// The length of the model's rows.
pub const CONTEXT: usize = 10;

/// Words of the text, as many as the vocabulary of the small models has.
const WORDS: [&str; 20] =
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];

pub fn model(config: Config) -> Model {
    let tokenizer = Tokenizer::words(WORDS.map(String::from).to_vec(), None, None).unwrap();
    Model::new(decoder(config, DType::F32), Some(tokenizer), "a small model")
}

/// Builds a model of three blocks, a dictionary after each, and their survey of a text.
pub fn found() -> (Model, Vec<Sae>, Survey) {
    let model = model(Config { layers: 3, ..config() });
    let d = model.decoder.config().d_model;
    let of = |layer: usize| dictionary(d, FEATURES, Activation::TopK(6), &format!("resid_post.{layer}"));
    let saes: Vec<Sae> = (0..3).map(of).collect();
    let harvesting = harvest::HarvestOptions { context: Some(CONTEXT), ..harvest::HarvestOptions::default() };
    let kept = KeptPositions { top: 4, some: 4, seed: 0 };
    let text = text();
    let reading = harvest::TextReading::new(&model, &text, &harvesting);
    let survey = Survey::of(&saes, reading, kept, &Task::default()).unwrap();
    (model, saes, survey)
}

/// Returns the text that the dictionaries read.
pub fn text() -> Text {
    let words = "a c e g b d f h k j i l m q r s t a a b c o p n c b a f e d";
    Text::given(vec![words.into(); 2], text::TextOptions::default()).unwrap()
}

/// Builds a dictionary whose numbers have no pattern.
pub fn dictionary(d: usize, d_sae: usize, activation: Activation, site: &str) -> Sae {
    let draw = |rows: usize, turn: f32| {
        let numbers = (0..rows * d).map(|i| ((i as f32 + turn) * 12.9898).sin()).collect::<Vec<_>>();
        Tensor::from_vec(numbers, (rows, d), &Device::Cpu).unwrap()
    };
    let decoder_bias = Some(draw(1, 3.0).squeeze(0).unwrap());
    let about = About { kind: "relu".into(), sites: vec![site.into()], ..About::default() };
    let parts = plain(draw(d_sae, 1.0), (draw(d_sae, 2.0) * 0.3).unwrap());
    Sae::new(Parts { activation, decoder_bias, centred: true, about, ..parts }).unwrap()
}

/// Returns a model of tests/fixtures/sparse, whose passes are those of Gao et al.'s code: "dense", or "sparse".
pub fn of_the_authors(name: &str) -> Model {
    let (d_model, d_mlp) = if name == "dense" { (6, 10) } else { (8, 12) };
    let d_head = d_model / 2;
    let config = Config {
        d_model,
        d_mlp,
        heads: 2,
        kv_heads: 2,
        d_head,
        score_scale: 1.0 / (d_head as f64).sqrt(),
        vocab: 11,
        context: 8,
        act: Relu,
        norm: Some(NormKind::Rms),
        norm_bias: false,
        norm_eps: 1e-12,
        positions: Positions::Learned,
        rotary: None,
        ..config()
    };
    let made = kit::tensors("sparse/step.safetensors");
    let weights = Weights::build(&config, &mut |weight, _| Ok(made[&format!("{name}.{weight}")].clone()));
    Model::new(Decoder::new(config, weights.unwrap()), None, name)
}
