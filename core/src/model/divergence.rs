//! The divergence of the predictions of two passes, with its gradient, whose logits exist a few points at a time.
//!
//! What is trained to predict as a model does (Braun et al. 2024, eq. 3) asks for the logits of all tokens of a batch, those of
//! the model and its own, with their gradients: 24 bytes for each, and of a vocabulary of 2^18 6 GiB for 1,024 tokens. The gradient
//! reaches the trained weights through the rows that the unembedding reads alone. Where logits are whole each part is
//! differentiated by itself, at once, and what is kept are the gradients of these rows; elsewhere their logits exist for some
//! words at a time (`by_words`).

use std::ops::Range;

use candle_core::Var;

use super::decoder::Decoder;
use super::run::PassEnd;
use crate::base::{Result, Task, memory};
use crate::err;
use crate::tensor::{Tensor, normalise};

impl Decoder {
    /// Computes KL(clean || changed) at each point, in nats, of two passes that end at the same points: `[points]`. A gradient
    /// flows to the second.
    pub fn divergences(&self, clean: &PassEnd, changed: &PassEnd, task: &Task) -> Result<Tensor> {
        if let Some(found) = self.divergences_by_words(clean, changed, task)? {
            return Ok(found);
        }
        self.divergences_in_parts(clean, changed, self.points_at_once(), task)
    }

    fn divergences_in_parts(&self, clean: &PassEnd, changed: &PassEnd, at_once: usize, task: &Task) -> Result<Tensor> {
        let count = changed.points()?;
        // Logits of both passes, in f32 or wider, and their gradients.
        let numbers = count.min(at_once) * self.config().outputs();
        memory::check(24 * numbers as u128, || "predictions and their gradients".into())?;
        let clean = |points: Range<usize>| -> Result<Tensor> { Ok(self.logits_of(clean, points, task)?.detach()) };
        if count <= at_once {
            let changed = self.logits_of(changed, 0..count, task)?;
            return normalise::divergences(&clean(0..count)?, &changed);
        }
        let mut parts = Vec::new();
        for start in (0..count).step_by(at_once) {
            task.check()?;
            let points = start..count.min(start + at_once);
            let clean = clean(points.clone())?;
            parts.push(kernels::without_tape(|| self.part_of_divergences(&clean, &changed.part(points)?, task))?);
        }
        let (found, slopes): (Vec<Tensor>, Vec<Option<Tensor>>) = parts.into_iter().unzip();
        let found = Tensor::cat(&found, 0)?;
        let Some(slopes) = slopes.into_iter().collect::<Option<Vec<_>>>() else { return Ok(found) };
        let slopes = Tensor::cat(&slopes, 0)?;
        let back = move |_: &Tensor, gradient: &Tensor| {
            let gradient = gradient.to_dtype(slopes.dtype())?.unsqueeze(1)?;
            Ok(vec![Some(slopes.broadcast_mul(&gradient)?)])
        };
        Ok(kernels::with_gradient("divergences", &found, &[changed.rows()], back)?)
    }

    /// Computes the divergences of a part, and if its rows have a gradient the derivative of each by its own row.
    fn part_of_divergences(&self, clean: &Tensor, part: &PassEnd, task: &Task) -> Result<(Tensor, Option<Tensor>)> {
        let count = part.points()?;
        if !part.rows().track_op() {
            let changed = self.logits_of(part, 0..count, task)?;
            return Ok((normalise::divergences(clean, &changed)?, None));
        }
        let rows = Var::from_tensor(&part.rows().detach())?;
        let changed = self.logits_of(&part.with_rows(rows.as_tensor().clone()), 0..count, task)?;
        let found = normalise::divergences(clean, &changed)?;
        let sum = found.sum_all()?;
        let mut gradients = task.apart(move || Ok(sum.backward()?))?;
        let slopes = gradients.remove(&rows).ok_or_else(|| err!(Bug, "a divergence without its gradient"))?;
        Ok((found.detach(), Some(slopes)))
    }
}

#[cfg(test)]
mod tests {
    use kit::{far, largest};

    use super::*;
    use crate::model::batch::Batch;
    use crate::model::fixtures::{configs, decoder};
    use crate::model::hooks::{Action, BoundHook};
    use crate::model::run::Ask;
    use crate::tensor::DType;
    use crate::tensor::derivative::value_and_gradients;

    /// Runs a pass up to its end, whose stream there is multiplied by a variable.
    fn scaled(model: &Decoder, batch: &Batch, points: &[(usize, usize)], by: &Tensor) -> PassEnd {
        let end = model.run_to_end(batch, Ask::default(), points, &Task::default()).unwrap().1;
        end.with_rows(end.rows().broadcast_mul(by).unwrap())
    }

    #[test]
    fn value_and_gradient_in_parts_are_those_of_the_whole() {
        for config in configs() {
            if config.outputs() == 0 {
                continue;
            }
            let model = decoder(config, DType::F64);
            let batch = Batch::new(vec![vec![3, 1, 4, 1, 5, 9, 2], vec![6, 5, 3]]).unwrap();
            let points = [(0, 0), (0, 5), (1, 2), (1, 0), (0, 3)];
            let task = Task::default();
            let clean = model.run_to_end(&batch, Ask::default(), &points, &task).unwrap().1;
            let by = Var::new(vec![1.5_f64; model.config().d_model], model.device()).unwrap();
            let weights = Tensor::new(&[1.0_f64, -2.0, 0.5, 3.0, 0.25], model.device()).unwrap();
            let measured = |at_once: usize| {
                let changed = scaled(&model, &batch, &points, by.as_tensor());
                let found = model.divergences_in_parts(&clean, &changed, at_once, &task).unwrap();
                let total = (&found * &weights).unwrap().sum_all().unwrap();
                (found.detach(), total.backward().unwrap().remove(&by).unwrap())
            };
            let (whole, gradient) = measured(points.len());
            assert!(largest(&gradient) > 0.0);
            for at_once in [1, 2, 3] {
                let (found, slope) = measured(at_once);
                assert!(far(&found, &whole) < 1e-12);
                assert!(far(&slope, &gradient) < 1e-12);
                let mut total = |by: &[Tensor]| {
                    let changed = scaled(&model, &batch, &points, &by[0]);
                    let found = model.divergences_in_parts(&clean, &changed, at_once, &task)?;
                    Ok((&found * &weights)?.sum_all()?)
                };
                let taped = value_and_gradients(&mut total, &[by.as_detached_tensor()], &task).unwrap();
                assert!(far(&taped.gradients[0], &gradient) < 1e-12);
                let fixed = scaled(&model, &batch, &points, &by.as_tensor().detach());
                let found = model.divergences_in_parts(&clean, &fixed, at_once, &task).unwrap();
                assert!(far(&found, &whole) < 1e-12);
                assert!(!found.track_op());
            }
        }
    }

    #[test]
    fn a_hook_at_the_logits_is_heard() {
        let model = decoder(configs().remove(0), DType::F64);
        let batch = Batch::new(vec![vec![3, 1, 4, 1, 5]]).unwrap();
        let points = [(0, 0), (0, 1), (0, 4)];
        let task = Task::default();
        let clean = model.run_to_end(&batch, Ask::default(), &points, &task).unwrap().1;
        let zeroed = BoundHook::new(model.config(), "logits", None, None, Box::new(Action::Zero.begin())).unwrap();
        let ask = Ask { hooks: vec![zeroed], ..Ask::default() };
        let changed = model.run_to_end(&batch, ask, &points, &task).unwrap().1;
        let p = model.logits_of(&clean, 0..3, &task).unwrap();
        let uniform = p.zeros_like().unwrap();
        let expected = normalise::divergences(&p, &uniform).unwrap();
        for at_once in [1, 3] {
            let found = model.divergences_in_parts(&clean, &changed, at_once, &task).unwrap();
            assert!(far(&found, &expected) < 1e-12);
        }
    }
}
