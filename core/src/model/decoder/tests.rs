//! The gradients of weights in every shape of model: by the tape and by candle's graph in f32, against the reference
//! implementations in f64.

use candle_core::Var;
use kit::{far, largest};

use super::*;
use crate::model::fixtures::{configs, decoder};
use crate::model::hooks::At;
use crate::model::site::Site;
use kernels::TapedTensor;

/// Returns the model with its weights as variables, and these in the order of their names.
fn tracked(model: &Decoder, dtype: DType) -> (Decoder, Vec<Var>) {
    let mut variables = Vec::new();
    let mut given = model.weights().named(model.config()).unwrap().into_iter();
    let weights = Weights::build(model.config(), &mut |_, _| {
        let variable =
            Var::from_tensor(&given.next().unwrap().1.tensor().unwrap().to_dtype(dtype).unwrap().copy().unwrap())
                .unwrap();
        variables.push(variable.clone());
        Ok(variable.into_inner())
    });
    (Decoder::new((**model.config()).clone(), weights.unwrap()), variables)
}

/// Hooks that change one site with candle's operations, so that there is an island in the middle.
struct Bend(bool);

impl Hooks for Bend {
    fn wants(&self, site: Site) -> bool {
        self.0 && site == Site::new(SiteKind::AttnOut, 0)
    }

    fn on(&mut self, _: &At, x: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some((x.sin()? * 1.5)?))
    }
}

fn loss(model: &Decoder, hooks: &mut dyn Hooks) -> Result<Tensor> {
    let batch = Batch::new(vec![vec![1, 2, 3, 4, 5], vec![3, 3, 0, 1, 2]])?;
    let pass = Pass { hooks, past: None, logits: Logits::All, task: &Task::default() };
    let logits = model.forward(&batch, pass)?.unwrap();
    let vocab = model.config().outputs();
    let targets: Vec<u32> = (0..10).map(|i| i * 3 % vocab as u32).collect();
    Ok(kernels::token_losses(&logits.reshape(((), vocab))?, &targets)?.mean_all()?)
}

#[test]
fn gradients_of_all_weights() {
    for config in configs() {
        let name = format!("{config:?}");
        let model = decoder(config, DType::F32);
        let (narrow, narrow_variables) = tracked(&model, DType::F32);
        let (wide, wide_variables) = tracked(&model, DType::F64);
        for bent in [false, true] {
            let taped = TapedTensor::of(|| loss(&narrow, &mut Bend(bent))).unwrap().backward().unwrap();
            let by_candle = loss(&narrow, &mut Bend(bent)).unwrap().backward().unwrap();
            let expected = loss(&wide, &mut Bend(bent)).unwrap().backward().unwrap();
            for (narrow, wide) in narrow_variables.iter().zip(&wide_variables) {
                let Some(expected) = expected.get(wide) else {
                    // Biases that choose experts have no gradient, and neither have experts that no token is routed to.
                    assert!(taped.get(narrow).is_none() && by_candle.get(narrow).is_none(), "{name}");
                    continue;
                };
                let most = largest(expected);
                for found in [taped.get(narrow).unwrap(), by_candle.get(narrow).unwrap()] {
                    let error = far(found, expected);
                    // Sums that are exactly 0 in theory, as the gradient of the key bias, are compared up to the
                    // rounding of their terms.
                    assert!(error <= 1e-4 * most.max(2e-2), "{error} of {most}, shape {:?} in {name}", narrow.dims());
                }
            }
        }
    }
}
