//! Fits whose encoder multiplies numbers rounded to bf16, beside those in f32.

use std::sync::Arc;

use serde_json::json;

use super::{SHAPE, alone, kind, recipe};
use crate::base::random::stream;
use crate::sae::fit::kinds::DictionaryKind;
use crate::sae::fit::params::unit_rows;
use crate::sae::fit::{AuxK, Dead, EncoderProducts, ErrorNormalisation, FitResult, OfTensor, Recipe, SETTINGS};
use crate::tensor::{DType, Tensor, create};
use crate::training::{Schedule, ScheduleShape};

/// Returns sums of a few of 20 directions in 12 dimensions.
fn rows() -> Tensor {
    let mut random = stream(1, "rows", 0);
    let truth = unit_rows(&create::randn(&[20, 12], DType::F32, &mut random).unwrap()).unwrap();
    let codes = create::uniform(&[512, 20], -9.0, 1.0, DType::F32, &mut random).unwrap();
    codes.relu().unwrap().matmul(&truth).unwrap()
}

fn fitted(kind: Arc<dyn DictionaryKind>, compute: EncoderProducts) -> FitResult {
    let recipe = Recipe {
        compute,
        d_sae: 24,
        batch: 128,
        lr: 6e-3,
        schedule: Schedule { shape: ScheduleShape::Trapezoid, warmup: 2, decay: 20, floor: 0.0 },
        betas: [0.9, 0.99],
        clip: Some(0.01),
        dead: Dead::AuxK(AuxK { k: 6, weight: 1.0 / 32.0, most: usize::MAX }),
        dead_after: 512,
        ..recipe(kind, ErrorNormalisation::Normalised)
    };
    alone(recipe, Box::new(OfTensor::new(&rows(), 5).unwrap())).unwrap()
}

#[test]
fn a_fit_by_products_of_bf16_explains_as_much_as_one_in_f32() {
    let kinds =
        [kind("topk", json!({ "k": 8 })), kind("batch_topk", json!({ "k": 8 })), kind("relu", json!({ "l1": 0.001 }))];
    for kind in kinds {
        let [plain, rounded] = [EncoderProducts::F32, EncoderProducts::Bf16].map(|by| fitted(kind.clone(), by));
        let explained = |fitted: &FitResult| {
            let last = &fitted.history.steps[80..];
            last.iter().map(|step| step.fve).sum::<f64>() / last.len() as f64
        };
        let [expected, found] = [&plain, &rounded].map(explained);
        assert!((found - expected).abs() < 0.002, "{}: FVE {found} instead of {expected}", kind.name());
        assert_ne!(plain.history, rounded.history, "{}", kind.name());
        let settings = |fitted: FitResult| fitted.made.dictionary().unwrap().parts().about.more[SETTINGS].clone();
        assert_eq!(settings(rounded)["compute"], "bf16");
        assert!(settings(plain).get("compute").is_none());
    }
}

#[test]
fn a_kind_without_a_product_of_its_encoder_rounds_none() {
    let pursuit = recipe(kind("matching_pursuit", json!({ "k": 3 })), ErrorNormalisation::Sum);
    let error = Recipe { compute: EncoderProducts::Bf16, ..pursuit }.checked(SHAPE).unwrap_err();
    let expected = "expected \"f32\" as `compute` for the kind \"matching_pursuit\", whose codes are no product of an \
                    encoder, found \"bf16\"";
    assert_eq!(error.message, expected);
    assert_eq!(error.about.as_deref(), Some("compute"));
}
