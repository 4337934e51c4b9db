//! Encoding a batch with a random dictionary.

use microtome::base::Task;
use microtome::base::random::stream;
use microtome::sae::{About, Activation, Parts, Sae, Scaling};
use microtome::tensor::{DType, Number, create};

use super::{D, K};

/// A `topk` dictionary with random weights.
pub fn dictionary(features: usize) -> Sae {
    let mut random = stream(0, "bench", 2);
    let encoder = create::randn(&[features, D], DType::F32, &mut random).unwrap();
    let zeros = |size: usize| create::full(&[size], Number::Float(0.0), DType::F32).unwrap();
    Sae::new(Parts {
        decoder: encoder.clone(),
        encoder,
        encoder_bias: Some(zeros(features)),
        activation: Activation::TopK(K),
        decoder_bias: Some(zeros(D)),
        centred: true,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About::default(),
    })
    .unwrap()
}

pub fn encode(sae: &Sae, x: &microtome::tensor::Tensor) {
    std::hint::black_box(sae.encode_sparse(x, &Task::default()).unwrap());
}
