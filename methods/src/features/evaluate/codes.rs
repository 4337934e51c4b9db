//! The activations of one dictionary's features at every token of a text, token by token, without their zeros.

use faer::Mat;

use crate::common::*;

/// Active features and their activations, by token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCodes {
    starts: Vec<usize>,
    features: Vec<u32>,
    codes: Vec<f32>,
    d_sae: usize,
}

/// The tokens at which a feature is active, with its activations.
pub type Active = Vec<(u32, f32)>;

impl TokenCodes {
    pub fn new(d_sae: usize) -> Self {
        Self { starts: vec![0], features: Vec::new(), codes: Vec::new(), d_sae }
    }

    /// Adds the next token with its activations, zeros among them.
    pub fn push(&mut self, codes: &[f32]) {
        for (feature, code) in (0..).zip(codes).filter(|(_, code)| **code != 0.0) {
            self.features.push(feature);
            self.codes.push(*code);
        }
        self.starts.push(self.features.len());
    }

    /// Returns the number of features.
    pub fn d_sae(&self) -> usize {
        self.d_sae
    }

    /// Returns the active features of a token, in order, and their activations.
    pub fn row(&self, token: u32) -> (&[u32], &[f32]) {
        let token = token as usize;
        let (Some(from), Some(to)) = (self.starts.get(token), self.starts.get(token + 1)) else { return (&[], &[]) };
        (&self.features[*from..*to], &self.codes[*from..*to])
    }

    /// Returns the activation of a feature at a token.
    pub fn code(&self, token: u32, feature: u32) -> f32 {
        let (features, codes) = self.row(token);
        features.binary_search(&feature).map_or(0.0, |at| codes[at])
    }

    /// Returns the activations of some features at some tokens, `[tokens, features]`.
    pub fn matrix(&self, tokens: &[u32], features: &[usize]) -> Mat<f64> {
        Mat::from_fn(tokens.len(), features.len(), |i, j| f64::from(self.code(tokens[i], features[j] as u32)))
    }

    /// Returns the activations of some features at some tokens as a tensor.
    pub fn tensor(&self, tokens: &[u32], features: &[usize]) -> Result<Tensor> {
        let codes = tokens.iter().flat_map(|token| features.iter().map(|feature| self.code(*token, *feature as u32)));
        Ok(Tensor::from_vec(codes.collect::<Vec<f32>>(), (tokens.len(), features.len()), &Device::Cpu)?)
    }

    /// Returns the active tokens feature by feature.
    pub fn by_feature(&self) -> Vec<Active> {
        let mut active = vec![Active::new(); self.d_sae];
        for token in 0..self.starts.len() - 1 {
            let (features, codes) = self.row(token as u32);
            for (feature, code) in features.iter().zip(codes) {
                active[*feature as usize].push((token as u32, *code));
            }
        }
        active
    }

    /// Returns the mean activation of each feature over some tokens.
    pub fn means(&self, tokens: impl Iterator<Item = u32>) -> Vec<f64> {
        let mut sums = vec![0.0; self.d_sae];
        let mut count = 0_usize;
        for token in tokens {
            let (features, codes) = self.row(token);
            features.iter().zip(codes).for_each(|(feature, code)| sums[*feature as usize] += f64::from(*code));
            count += 1;
        }
        sums.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_token_and_by_feature() {
        let mut codes = TokenCodes::new(3);
        [[0.0, 2.0, 1.0], [0.0; 3], [-1.0, 0.0, 3.0]].iter().for_each(|row| codes.push(row));
        assert_eq!(codes.row(0), ([1, 2].as_slice(), [2.0, 1.0].as_slice()));
        assert_eq!((codes.code(2, 0), codes.code(1, 2), codes.row(9).0.len()), (-1.0, 0.0, 0));
        assert_eq!(codes.by_feature(), [vec![(2, -1.0)], vec![(0, 2.0)], vec![(0, 1.0), (2, 3.0)]]);
        assert_eq!(codes.means([0, 2].into_iter()), [-0.5, 1.0, 2.0]);
        assert_eq!(codes.matrix(&[2, 0], &[2])[(0, 0)], 3.0);
        assert_eq!(codes.tensor(&[0, 2], &[1, 0]).unwrap().to_vec2::<f32>().unwrap(), [[2.0, 0.0], [0.0, -1.0]]);
    }
}
