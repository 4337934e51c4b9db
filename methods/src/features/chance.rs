//! The probabilities of some tokens, without materialising the whole distribution.

use crate::common::*;

/// Returns the sum of the probabilities of some tokens at each row of logits `[.., vocab]`, row by row.
pub fn together(logits: &Tensor, tokens: &[u32]) -> Result<Vec<f64>> {
    Ok(apart(logits, tokens)?.into_iter().map(|row| row.into_iter().sum()).collect())
}

/// Returns the probability of each of some tokens at each row of logits `[.., vocab]`, row by row.
pub fn apart(logits: &Tensor, tokens: &[u32]) -> Result<Vec<Vec<f64>>> {
    let Some(first) = tokens.first() else {
        return Err(err!(Argument, "expected at least one token to look for, found none"));
    };
    let vocab = logits.dims().last().copied().unwrap_or_default();
    if let Some(beyond) = tokens.iter().find(|id| **id as usize >= vocab) {
        return Err(err!(Index, "expected tokens below {vocab}, the number of logits, found {beyond}"));
    }
    let rows = logits.elem_count() / vocab.max(1);
    let logits = logits.to_dtype(DType::F32)?.contiguous()?.reshape((rows, vocab))?;
    let chosen = logits.index_select(&Tensor::new(tokens, logits.device())?, 1)?.to_vec2::<f32>()?;
    // The loss at a token is log(sum of e^logits) minus the token's own logit.
    let losses = kernels::token_losses(&logits, &vec![*first; rows])?.to_vec1::<f32>()?;
    let row = |(chosen, loss): (Vec<f32>, f32)| {
        let total = f64::from(loss) + f64::from(chosen.first().copied().unwrap_or_default());
        chosen.into_iter().map(|logit| (f64::from(logit) - total).exp()).collect()
    };
    Ok(chosen.into_iter().zip(losses).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn it_is_the_sum_of_the_softmax() {
        let rows = [[0.5_f32, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]];
        let logits = rows.map(|row| row.map(|p| p.ln() + 3.0));
        let logits = Tensor::new(&logits, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        for (found, expected) in together(&logits, &[3, 1]).unwrap().into_iter().zip([0.375, 0.6]) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        assert!(together(&logits, &[]).is_err());
        assert_eq!(
            together(&logits, &[4]).unwrap_err().message,
            "expected tokens below 4, the number of logits, found 4"
        );
    }
}
