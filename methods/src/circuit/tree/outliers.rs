//! Outlier dimensions of the residual stream (Dettmers et al. 2022), and the features that only represent such a
//! dimension (Cunningham et al. 2023 found them in their trees).

use super::stage::Stage;
use crate::common::*;

/// A dimension is an outlier where its variance is more than this many times that of the median dimension, which is five
/// times its standard deviation.
const TIMES: f64 = 25.0;

/// Maximum number of texts: thousands of positions estimate a variance well enough.
const TEXTS: usize = 64;

/// A feature represents a dimension that has more than this share of its squared norm.
const SHARE: f64 = 0.5;

/// The dimensions that are outliers, level by level.
pub struct Outliers(Vec<Vec<bool>>);

impl Outliers {
    /// Reads the residual stream of some texts, without the first token of each: in many models its norm is far larger
    /// than all others.
    pub fn of(model: &Model, stages: &[Stage], texts: &[Vec<u32>], task: &Task) -> Result<Self> {
        let texts = texts.get(..TEXTS).unwrap_or(texts);
        let batch = Batch::new(texts.to_vec())?;
        let ask = Ask { places: stages.iter().map(|stage| stage.place).collect(), ..Ask::default() };
        let cache = model.decoder.cache(&batch, ask, task)?;
        let of_stage = |stage: &Stage| -> Result<Vec<bool>> {
            let x = cache.at(stage.place)?.to_dtype(DType::F64)?.to_vec3::<f64>()?;
            let rows = x.iter().zip(texts).flat_map(|(x, tokens)| x.iter().take(tokens.len()).skip(1));
            Ok(outliers(&rows.map(Vec::as_slice).collect::<Vec<_>>()))
        };
        Ok(Self(stages.iter().map(of_stage).collect::<Result<_>>()?))
    }

    /// Returns the outlier dimension that a feature represents, if it does.
    pub fn dimension(&self, level: usize, stage: &Stage, feature: usize) -> Result<Option<usize>> {
        let direction: Vec<f64> = stage.sae.directions().get(feature)?.to_dtype(DType::F64)?.to_vec1()?;
        let all: f64 = direction.iter().map(|x| x * x).sum();
        let largest = direction.iter().position(|x| x * x > SHARE * all);
        let is_outlier = |dimension: &usize| self.0.get(level).and_then(|of| of.get(*dimension)) == Some(&true);
        Ok(largest.filter(is_outlier))
    }
}

/// Returns the outlier dimensions of some rows.
fn outliers(rows: &[&[f64]]) -> Vec<bool> {
    let width = rows.first().map_or(0, |row| row.len());
    let count = rows.len().max(1) as f64;
    let variance = |dimension: usize| {
        let column = || rows.iter().map(|row| row[dimension]);
        let mean = column().sum::<f64>() / count;
        column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count
    };
    let variances: Vec<f64> = (0..width).map(variance).collect();
    let mut sorted = variances.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(width / 2).copied().unwrap_or(0.0);
    variances.into_iter().map(|variance| variance > TIMES * median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_stands_out_by_its_variance_and_not_by_its_mean() {
        let rows: Vec<Vec<f64>> = (0..10)
            .map(|i| {
                let x = if i % 2 == 0 { 1.0 } else { -1.0 };
                vec![x, 100.0 + x, 6.0 * x, -x, 4.0 * x]
            })
            .collect();
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        assert_eq!(outliers(&rows), [false, false, true, false, false]);
        assert!(outliers(&[]).is_empty());
    }
}
