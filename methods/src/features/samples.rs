//! A small model, dictionaries and texts for the tests of this floor.

// By their public paths, since the program's tests read this file, too.
use super::fixtures::{config, decoder};
use crate::data::Text;
use crate::data::text::TextOptions;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::hooks::KeptHook;
use crate::sae::splice::Splice;
use crate::sae::{About, Activation, Parts, Sae, Scaling};
use crate::tensor::{DType, Device, Tensor};
use crate::tokenizer::Tokenizer;

/// Builds a model of two layers that reads letters.
pub fn model() -> Model {
    let letters: Vec<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).collect();
    let tokenizer = Tokenizer::characters([letters, vec!["(".into(), ")".into()]].concat(), None, None).unwrap();
    let config = Config { vocab: 28, context: 12, ..config() };
    Model::new(decoder(config, DType::F32), Some(tokenizer), "sample")
}

/// Returns a model that keeps a hook for each dictionary, which adds what this writes to what the MLP of its layer writes.
pub fn with_adapters(model: &Model, adapters: &[Sae]) -> Model {
    let kept = adapters.iter().enumerate().map(|(layer, sae)| {
        let config = model.decoder.config().clone();
        let sae = sae.clone();
        KeptHook::new(format!("adapter {layer}"), Vec::new(), move || {
            let [reads, writes] = ["mlp_in", "mlp_out"].map(|site| format!("{site}.{layer}"));
            Splice::beside(sae.clone()).between(&config, &reads, &writes, None)
        })
    });
    model.keeping(kept.collect())
}

/// Returns documents of letters and brackets.
pub fn text(documents: usize, options: TextOptions) -> Text {
    let letter = |i: usize| char::from(b'a' + (i % 26) as u8);
    let word = |i: usize| -> String {
        let inner: String = (0..1 + i % 4).map(|j| letter(i * 3 + j * j)).collect();
        let outer: String = (0..4 + i * 7 % 9).map(|j| letter(i * 11 + j * 5)).collect();
        format!("{outer}({inner}){}", letter(i))
    };
    Text::given((0..documents).map(word).collect(), options).unwrap()
}

/// Builds a dictionary of 24 features, of which 3 are active at each position of a site.
pub fn dictionary(site: &str, seed: u64) -> Sae {
    dictionary_of(24, site, seed)
}

/// Builds a dictionary with a given number of features, of which 3 are active at each position of a site.
pub fn dictionary_of(features: usize, site: &str, seed: u64) -> Sae {
    let draw = |shift: f32| {
        let numbers = (0..features * 16).map(|i| ((i as f32 + shift + seed as f32) * 0.7).sin()).collect::<Vec<_>>();
        Tensor::from_vec(numbers, (features, 16), &Device::Cpu).unwrap()
    };
    let about = About { kind: "topk".into(), sites: vec![site.into()], ..About::default() };
    Sae::new(Parts { activation: Activation::TopK(3), about, ..plain(draw(1.0), draw(2.0)) }).unwrap()
}

/// Builds a dictionary that writes given directions.
pub fn with_directions(rows: &[[f32; 2]]) -> Sae {
    let rows = Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).unwrap();
    Sae::new(plain(rows.clone(), rows)).unwrap()
}

/// Returns the parts of a dictionary of positive codes, without biases and scaling.
pub fn plain(encoder: Tensor, decoder: Tensor) -> Parts {
    Parts {
        encoder,
        encoder_bias: None,
        activation: Activation::Relu,
        decoder,
        decoder_bias: None,
        centred: false,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About::default(),
    }
}
