//! The probabilities of some tokens, without materialising the whole distribution.

use crate::common::*;
use crate::tensor::normalise;

/// Computes the sum of the probabilities of some tokens at each point of the end of a pass: `[points]`. A gradient flows to
/// the pass.
pub fn chances(model: &Decoder, end: &PassEnd, tokens: &[u32], task: &Task) -> Result<Tensor> {
    let points = end.points()?;
    let chosen = match model.log_probabilities_of_tokens(end, &at_points(points, tokens), task)? {
        Some(found) => found.reshape((points, tokens.len()))?,
        None => {
            let logits = model.logits_of(end, 0..points, task)?;
            let logs = normalise::log_softmax(&logits.to_dtype(DType::F32)?, -1)?;
            logs.index_select(&Tensor::new(tokens, logits.device())?, 1)?
        }
    };
    Ok(chosen.exp()?.sum(1)?)
}

/// Returns the sum of the probabilities of some tokens at each point of the end of a pass, point by point.
pub fn together_of(model: &Decoder, end: &PassEnd, tokens: &[u32], task: &Task) -> Result<Vec<f64>> {
    Ok(apart_of(model, end, tokens, task)?.into_iter().map(|point| point.into_iter().sum()).collect())
}

/// Returns the probability of each of some tokens at each point of the end of a pass, point by point.
pub fn apart_of(model: &Decoder, end: &PassEnd, tokens: &[u32], task: &Task) -> Result<Vec<Vec<f64>>> {
    check(tokens, model.config().outputs())?;
    if let Some(found) = model.log_probabilities_of_tokens(end, &at_points(end.points()?, tokens), task)? {
        let found = floats(&found)?;
        return Ok(found.chunks(tokens.len()).map(|point| point.iter().map(|p| p.exp()).collect()).collect());
    }
    let mut found = Vec::new();
    let take = &mut |_: Range<usize>, logits: &[Tensor]| {
        for logits in logits {
            found.extend(apart(logits, tokens)?);
        }
        Ok(())
    };
    model.logits_of_ends(std::slice::from_ref(end), take, task)?;
    Ok(found)
}

/// Returns each of some tokens at each of some points, point by point.
fn at_points(points: usize, tokens: &[u32]) -> Vec<(usize, u32)> {
    (0..points).flat_map(|point| tokens.iter().map(move |token| (point, *token))).collect()
}

/// Refuses tokens unless there are some, all of them below the number of logits.
fn check(tokens: &[u32], vocab: usize) -> Result<()> {
    if tokens.is_empty() {
        return Err(err!(Argument, "expected at least one token to look for, found none"));
    }
    match tokens.iter().find(|id| **id as usize >= vocab) {
        None => Ok(()),
        Some(beyond) => Err(err!(Index, "expected tokens below {vocab}, the number of logits, found {beyond}")),
    }
}

/// Returns the probability of each of some tokens at each row of logits `[.., vocab]`, row by row.
fn apart(logits: &Tensor, tokens: &[u32]) -> Result<Vec<Vec<f64>>> {
    let vocab = logits.dims().last().copied().unwrap_or_default();
    check(tokens, vocab)?;
    let rows = logits.elem_count() / vocab.max(1);
    let logits = logits.to_dtype(DType::F32)?.contiguous()?.reshape((rows, vocab))?;
    let chosen = logits.index_select(&Tensor::new(tokens, logits.device())?, 1)?.to_vec2::<f32>()?;
    // The loss at a token is log(sum of e^logits) minus the token's own logit.
    let losses = kernels::token_losses(&logits, &vec![tokens[0]; rows])?.to_vec1::<f32>()?;
    let row = |(chosen, loss): (Vec<f32>, f32)| {
        let total = f64::from(loss) + f64::from(chosen.first().copied().unwrap_or_default());
        chosen.into_iter().map(|logit| (f64::from(logit) - total).exp()).collect()
    };
    Ok(chosen.into_iter().zip(losses).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_the_softmax() {
        let rows = [[0.5_f32, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]];
        let logits = rows.map(|row| row.map(|p| p.ln() + 3.0));
        let logits = Tensor::new(&logits, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        for (found, expected) in apart(&logits, &[3, 1]).unwrap().into_iter().zip([0.375, 0.6]) {
            let found: f64 = found.iter().sum();
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        assert!(apart(&logits, &[]).is_err());
        assert_eq!(apart(&logits, &[4]).unwrap_err().message, "expected tokens below 4, the number of logits, found 4");
    }
}
