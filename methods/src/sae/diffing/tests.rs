//! Latent scaling against its formula, and on models that have a feature, shrink it, or write it by others.

use super::*;
use crate::base::random::stream;
use crate::sae::{About, Activation, Parts, ReadSite, Scaling, Span};
use crate::tensor::{Device, create};

/// Makes a crosscoder of two models of width 4 whose features read and write these halves.
fn crosscoder(halves: &[[[f32; 4]; 2]], scales: [f64; 2]) -> Sae {
    let directions: Vec<f32> = halves.iter().flat_map(|halves| halves.concat()).collect();
    let decoder = Tensor::from_vec(directions, (halves.len(), 8), &Device::Cpu).unwrap();
    // Features are orthogonal, so this encoder finds their codes again.
    let encoder = decoder.broadcast_div(&decoder.sqr().unwrap().sum_keepdim(1).unwrap()).unwrap();
    let about = About {
        spans: scales.map(|scale| Span { width: 4, scale }).to_vec(),
        sites: [0, 1].map(|model| ReadSite::of_model("resid_post.0", model)).to_vec(),
        ..About::default()
    };
    Sae::new(Parts {
        encoder,
        encoder_bias: None,
        activation: Activation::Relu,
        decoder,
        decoder_bias: None,
        centred: false,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about,
    })
    .unwrap()
}

fn unit(at: usize) -> [f32; 4] {
    std::array::from_fn(|i| f32::from(u8::from(i == at)))
}

const NONE: [f32; 4] = [0.0; 4];

/// Draws codes of four features, each active in about half of the rows.
fn codes() -> Tensor {
    create::randn(&[300, 4], DType::F32, &mut stream(1, "codes", 0)).unwrap().relu().unwrap()
}

fn of(sae: &Sae, x: &Tensor) -> Vec<LatentScaling> {
    let mut found = diff_of_rows(sae, x, &Task::default()).unwrap().features;
    found.sort_by_key(|one| one.feature);
    found
}

#[test]
fn what_both_models_have_has_ratios_of_one_and_what_one_has_of_zero() {
    // The second model is half as large, and the scales say so.
    let half = |at| unit(at).map(|x| 0.5 * x);
    let sae = crosscoder(&[[unit(0), half(0)], [unit(1), half(1)], [NONE, half(2)], [unit(3), NONE]], [1.0, 2.0]);
    let x = codes().matmul(sae.directions()).unwrap();
    let found = of(&sae, &x);
    for one in &found[..2] {
        assert!((one.ratio_of_errors().unwrap() - 1.0).abs() < 1e-5, "{one:?}");
        assert!((one.ratio_of_reconstructions().unwrap() - 1.0).abs() < 1e-5, "{one:?}");
        assert!(!one.is_own());
    }
    assert!((found[0].share - 0.5).abs() < 1e-6);
    for (one, of) in found[2..].iter().zip([1, 0]) {
        assert_eq!((one.of, one.is_own()), (of, true));
        assert!((one.share - 1.0).abs() < 1e-6);
        assert!(one.ratio_of_errors().unwrap().abs() < 1e-5 && one.ratio_of_reconstructions().unwrap().abs() < 1e-5);
        assert!((one.errors[of] - 1.0).abs() < 1e-5 && (one.reconstructions[of] - 1.0).abs() < 1e-5);
    }
    let table = diff_of_rows(&sae, &x, &Task::default()).unwrap().summary();
    assert_eq!(table.rows.iter().map(|row| row[2].clone()).collect::<Vec<_>>(), [1_usize; 4].map(Cell::from));
}

#[test]
fn what_a_penalty_has_shrunk_in_one_model_is_seen_in_its_errors() {
    // The first model has the feature, too, but the crosscoder writes nothing there: only its errors have it.
    let sae = crosscoder(&[[NONE, unit(2)], [unit(0), unit(0)]], [1.0, 1.0]);
    let truth = crosscoder(&[[unit(2), unit(2)], [unit(0), unit(0)]], [1.0, 1.0]);
    let x = codes().narrow(1, 0, 2).unwrap().matmul(truth.directions()).unwrap();
    let found = of(&sae, &x);
    assert!(found[0].share > SHARE && !found[0].is_own(), "{found:?}");
    assert!((found[0].ratio_of_errors().unwrap() - 1.0).abs() < 1e-5);
    assert!(found[0].ratio_of_reconstructions().unwrap().abs() < 1e-5);
}

#[test]
fn what_another_feature_writes_in_one_model_is_seen_in_its_reconstructions() {
    // Two features with the same codes: one has the direction in the first model, one in the second.
    let sae = crosscoder(&[[NONE, unit(2)], [unit(2), NONE]], [1.0, 1.0]);
    let one = codes().narrow(1, 0, 1).unwrap();
    let x = Tensor::cat(&[&one, &one], 1).unwrap().matmul(sae.directions()).unwrap();
    let found = of(&sae, &x);
    assert!(found.iter().all(|one| one.share > SHARE && !one.is_own()), "{found:?}");
    assert!(found.iter().all(|one| (one.ratio_of_reconstructions().unwrap() - 1.0).abs() < 1e-5));
    assert!(found.iter().all(|one| one.ratio_of_errors().unwrap().abs() < 1e-5));
}

#[test]
fn betas_are_the_least_squares_of_their_formula() {
    // Directions at random, which overlap, and a bias; beta is what minimises |y - b f d|² in the second model.
    let draw = |shape: &[usize], name| create::randn(shape, DType::F32, &mut stream(2, name, 0)).unwrap();
    let parts = crosscoder(&[[unit(0), unit(0)]], [0.5, 3.0]).parts().clone();
    let sae = Sae::new(Parts {
        encoder: draw(&[5, 8], "encoder"),
        decoder: draw(&[5, 8], "decoder"),
        decoder_bias: Some(draw(&[8], "bias")),
        ..parts
    })
    .unwrap();
    let x = draw(&[100, 8], "x");
    let scales = factors(&sae.parts().about.spans).unwrap();
    let (codes, x_hat) = sae.encode_and_reconstruct(&x).unwrap();
    let bias = sae.parts().decoder_bias.as_ref().unwrap();
    let found = of(&sae, &x);
    assert_eq!(found.len(), 5);
    for one in found {
        let half = |t: &Tensor, model: usize| t.broadcast_mul(&scales).unwrap().narrow(1, 4 * model, 4).unwrap();
        let directions = sae.directions().narrow(0, one.feature, 1).unwrap();
        let code = codes.narrow(1, one.feature, 1).unwrap();
        let predictor = code.matmul(&half(&directions, one.of)).unwrap();
        let beta = |y: &Tensor| -> f64 {
            let sum = |t: Tensor| f64::from(t.sum_all().unwrap().to_scalar::<f32>().unwrap());
            sum((&predictor * y).unwrap()) / sum(predictor.sqr().unwrap())
        };
        for model in 0..2 {
            let own = code.matmul(&half(&directions, model)).unwrap();
            let error = (half(&(&x - &x_hat).unwrap(), model) + own).unwrap();
            let written = half(&x_hat.broadcast_sub(bias).unwrap(), model);
            assert!((beta(&error) - one.errors[model]).abs() < 1e-4, "{one:?}");
            assert!((beta(&written) - one.reconstructions[model]).abs() < 1e-4, "{one:?}");
        }
    }
}

#[test]
fn what_is_no_crosscoder_of_two_models_is_refused() {
    let one = crate::sae::baselines::identity(4).unwrap();
    let error = diff_of_rows(&one, &codes(), &Task::default()).unwrap_err();
    assert_eq!(error.message, "expected a crosscoder of 2 models, found one that names none");
}
