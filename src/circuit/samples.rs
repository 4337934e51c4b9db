//! Dictionaries for the tests of this floor.

use crate::sae::{About, Activation, Parts, Sae, Scaling};
use crate::tensor::{Device, Tensor};

/// A dictionary whose numbers have no pattern.
pub fn dictionary(d: usize, d_sae: usize, activation: Activation, site: &str) -> Sae {
    let draw = |rows: usize, turn: f32| {
        let numbers = (0..rows * d).map(|i| ((i as f32 + turn) * 12.9898).sin()).collect::<Vec<_>>();
        Tensor::from_vec(numbers, (rows, d), &Device::Cpu).unwrap()
    };
    let parts = Parts {
        encoder: draw(d_sae, 1.0),
        encoder_bias: None,
        activation,
        decoder: (draw(d_sae, 2.0) * 0.3).unwrap(),
        decoder_bias: Some(draw(1, 3.0).squeeze(0).unwrap()),
        centred: true,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About { kind: "relu".into(), sites: vec![site.into()], ..About::default() },
    };
    Sae::new(parts).unwrap()
}
