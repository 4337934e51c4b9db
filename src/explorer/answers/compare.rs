//! Comparison of two texts by their features.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::state::Explorer;
use super::tokens::{CodeSummary, codes, strengths, tokens};
use crate::base::{Result, Task};

/// Maximum number of features that are compared.
const MOST: usize = 200;

/// Two texts, and the dictionary that reads them.
#[derive(Debug, Clone, Deserialize)]
pub struct CompareQuestion {
    pub texts: [String; 2],
    pub dictionary: usize,
    /// Whether position 0 of both texts counts for nothing.
    #[serde(default)]
    pub without_first: bool,
}

/// The features that differ most: feature, largest codes in both texts, means over the tokens of both.
#[derive(Debug, Serialize)]
pub struct CompareAnswer {
    pub features: Vec<(u32, f32, f32, f64, f64)>,
}

/// Compares two texts by the mean codes of features. A text without tokens that count has codes of 0.
pub fn compare(explorer: &Explorer, comparing: &CompareQuestion, task: &Task) -> Result<CompareAnswer> {
    let of = explorer.dictionary(comparing.dictionary)?;
    let without = usize::from(comparing.without_first);
    let mut all: BTreeMap<u32, [(f32, f64); 2]> = BTreeMap::new();
    for (side, text) in comparing.texts.iter().enumerate() {
        let (tokens, _) = tokens(explorer, text, task)?;
        if tokens.len() <= without {
            continue;
        }
        let codes = codes(explorer, of, &tokens.ids, task)?;
        for (feature, CodeSummary { largest, sum, .. }) in strengths(&codes, without) {
            if let Some(place) = all.entry(feature).or_default().get_mut(side) {
                *place = (largest, sum / (tokens.len() - without) as f64);
            }
        }
    }
    let row = |(feature, [a, b]): (u32, [(f32, f64); 2])| (feature, a.0, b.0, a.1, b.1);
    let mut features: Vec<_> = all.into_iter().map(row).collect();
    let apart = |row: &(u32, f32, f32, f64, f64)| (row.3 - row.4).abs();
    features.sort_by(|a, b| apart(b).total_cmp(&apart(a)).then(a.0.cmp(&b.0)));
    features.truncate(MOST);
    Ok(CompareAnswer { features })
}
