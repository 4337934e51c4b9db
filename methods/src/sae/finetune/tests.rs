//! Tests of end-to-end fine-tuning: gradients, and a loss that falls.

use super::*;
use crate::base::random::Seed;
use crate::fixtures;
use crate::sae::{About, Scaling, baselines};
use crate::tensor::{create, floats};

const SITES: SitePair<'static> = SitePair { reads: "resid_post.0", writes: "resid_post.0" };

fn tuning() -> FineTuneOptions {
    FineTuneOptions { steps: 30, batch: 2, lr: 1e-2, seed: Seed::of(1), ..FineTuneOptions::default() }
}

/// Makes texts, of which the first token of one is left out.
fn texts() -> Vec<EvaluationText> {
    let text = |ids: &[u32], first: bool| {
        let left_out = (0..ids.len()).map(|position| first && position == 0).collect();
        EvaluationText { ids: ids.to_vec(), left_out, classes: Vec::new() }
    };
    vec![text(&[3, 1, 4, 1, 5], true), text(&[9, 2, 6], false)]
}

fn sae(dtype: DType, activation: Activation) -> Sae {
    let parts = baselines::random(16, 24, None, &mut stream(1, "directions", 0)).unwrap().parts().clone();
    let to = |t: &Tensor| t.to_dtype(dtype).unwrap();
    let vector = |turn, width: usize| {
        let noise = create::randn(&[width], DType::F64, &mut stream(2, "bias", turn)).unwrap();
        to(&noise.affine(0.1, 0.0).unwrap())
    };
    let activation = match activation {
        Activation::Gated { .. } => {
            Activation::Gated { gate: vector(3, 24), magnitude: vector(4, 24), log_scale: vector(5, 24) }
        }
        other => other,
    };
    Sae::new(Parts {
        encoder: to(&parts.encoder),
        encoder_bias: Some(vector(0, 24)),
        activation,
        decoder: to(&parts.decoder).affine(0.7, 0.0).unwrap(),
        decoder_bias: Some(vector(1, 16)),
        centred: true,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About { kind: "relu".into(), ..About::default() },
    })
    .unwrap()
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let model = fixtures::decoder(fixtures::config(), DType::F64);
    let texts = texts();
    let task = Task::default();
    let tuning = FineTuneOptions { l1: 0.1, error: 0.3, ..tuning() };
    let sites = SitePair { reads: "mlp_in.0", writes: "mlp_out.0" };
    let mut parts = sae(DType::F64, Activation::Relu).parts().clone();
    (parts.centred, parts.skip) = (false, Some(create::eye(16, 16, DType::F64).unwrap()));
    for (sites, sae) in [(SITES, sae(DType::F64, Activation::Relu)), (sites, Sae::new(parts).unwrap())] {
        let tuner = Tuner::new(&model, sites, &sae, &texts, &tuning).unwrap();
        let lesson = tuner.lesson(&texts.iter().collect::<Vec<_>>(), sae.parts(), &task).unwrap();
        let weights = FinetuneWeights::new(sae.parts()).unwrap();
        let found = tuner.loss(&Sae::new(weights.parts().unwrap()).unwrap(), &lesson, &task).unwrap();
        let store = found.total.backward().unwrap();
        for weight in &weights.all {
            let gradient = floats(store.get(&weight.weight).unwrap()).unwrap();
            let start = floats(&weight.weight).unwrap();
            for place in [0, start.len() / 2] {
                let at = |by: f64| {
                    let mut numbers = start.clone();
                    numbers[place] += by;
                    let moved = Tensor::from_vec(numbers, weight.weight.dims(), weight.weight.device()).unwrap();
                    let mut parts = sae.parts().clone();
                    let place = tuned(&mut parts).into_iter().find(|(name, _)| *name == weight.name);
                    *place.unwrap().1 = moved;
                    float(&tuner.loss(&Sae::new(parts).unwrap(), &lesson, &task).unwrap().total).unwrap()
                };
                let mut expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                if weight.name == DECODER {
                    // Lengths are taken as they are in the penalty.
                    let held = |by: f64| {
                        let mut decoder = start.clone();
                        decoder[place] += by;
                        let rows: Vec<f64> =
                            decoder.chunks(16).map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
                        let codes = sae.encode(&lesson.read).unwrap().abs().unwrap().mean(0).unwrap();
                        floats(&codes).unwrap().iter().zip(rows).map(|(code, length)| code * length).sum::<f64>() * 0.1
                    };
                    expected -= (held(1e-5) - held(-1e-5)) / 2e-5;
                }
                let what = format!("{:?} at {place}", weight.name);
                assert!((gradient[place] - expected).abs() < 1e-6, "{what}: {} {expected}", gradient[place]);
            }
        }
    }
}

#[test]
fn predictions_come_nearer_and_directions_keep_their_lengths() {
    let model = fixtures::decoder(fixtures::config(), DType::F32);
    let task = Task::default();
    let gated = sae(DType::F32, Activation::Relu).parts().encoder_bias.clone().unwrap();
    let gated = Activation::Gated { gate: gated.clone(), magnitude: gated.clone(), log_scale: gated };
    for activation in [Activation::Relu, Activation::TopK(4), gated] {
        let sae = sae(DType::F32, activation);
        let tuned = fine_tune(&model, SITES, &sae, &texts(), &tuning(), &task).unwrap();
        let first = tuned.steps[0].kl;
        let last = tuned.steps[29].kl;
        assert!(last < 0.5 * first && tuned.is_whole, "{first} {last}");
        let lengths = floats(&tuned.sae.directions().sqr().unwrap().sum(1).unwrap()).unwrap();
        assert!(lengths.iter().all(|length| (length - 0.49).abs() < 1e-4), "{lengths:?}");
        // The same again is the same.
        let again = fine_tune(&model, SITES, &sae, &texts(), &tuning(), &task).unwrap();
        assert_eq!(again.steps, tuned.steps);
    }
}

#[test]
fn what_cannot_be_tuned_is_refused() {
    let model = fixtures::decoder(fixtures::config(), DType::F32);
    let tune = |sites, sae: &Sae, texts: &[EvaluationText], tuning| {
        fine_tune(&model, sites, sae, texts, &tuning, &Task::default()).err().unwrap().message
    };
    let relu = sae(DType::F32, Activation::Relu);
    let all = SitePair { reads: "resid_post.*", writes: "resid_post.*" };
    assert!(tune(all, &relu, &texts(), tuning()).starts_with("expected one site"));
    assert!(tune(SITES, &relu, &[], tuning()).contains("found none with a token to predict"));
    assert_eq!(
        tune(SITES, &relu, &texts(), FineTuneOptions { lr: 0.0, ..tuning() }),
        "expected a number above 0 as `lr`, found 0"
    );
    let narrow = baselines::identity(12).unwrap();
    let error = tune(SITES, &narrow, &texts(), tuning());
    assert_eq!(error, "expected `resid_post.0` of the dictionary's width, 12, found 16");
    // A learning rate that is too high ends it, with the step in the error.
    let error = tune(SITES, &relu, &texts(), FineTuneOptions { lr: 1e30, ..tuning() });
    assert!(error.contains("at step") || error.contains("resid_post.0"), "{error}");
}
