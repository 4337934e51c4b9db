//! The batch files of SAEDashboard, which Neuronpedia reads: features with their contexts, histograms, logits and
//! correlations. Keys and order are those of `sae_dashboard.neuronpedia.neuronpedia_dashboard`.

pub mod export;
mod make;
mod read;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize, Serializer};

pub use make::{BatchOptions, batches};
pub use read::{cards, parse};

crate::choices! {
    /// Forms of files of features.
    pub enum BatchForm {
        /// The batch files of SAEDashboard.
        Json = "json",
        /// The exports of Neuronpedia.
        JsonlGz = "jsonl.gz",
    }
}

/// A file of features of one dictionary.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Batch {
    pub model_id: String,
    pub layer: i64,
    pub sae_set: String,
    #[serde(default)]
    pub sae_id_suffix: Option<String>,
    pub features: Vec<BatchFeature>,
}

/// A feature in a batch file. Older files lack the fields that have a default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BatchFeature {
    pub feature_index: usize,
    /// The largest entries of the decoder direction, and their shares of the sum of sizes.
    pub neuron_alignment_indices: Vec<usize>,
    pub neuron_alignment_values: Vec<f64>,
    pub neuron_alignment_l1: Vec<f64>,
    /// The entries of the dictionary's input that the feature's activation correlates with most; `l1` is the cosine.
    pub correlated_neurons_indices: Vec<usize>,
    pub correlated_neurons_l1: Vec<f64>,
    pub correlated_neurons_pearson: Vec<f64>,
    /// The features of the file that the feature correlates with most; its own correlation counts as 0.
    pub correlated_features_indices: Vec<usize>,
    pub correlated_features_l1: Vec<f64>,
    pub correlated_features_pearson: Vec<f64>,
    pub neg_str: Vec<String>,
    pub neg_values: Vec<f64>,
    pub pos_str: Vec<String>,
    pub pos_values: Vec<f64>,
    pub frac_nonzero: f64,
    pub freq_hist_data_bar_values: Vec<f64>,
    #[serde(serialize_with = "counts")]
    pub freq_hist_data_bar_heights: Vec<f64>,
    #[serde(serialize_with = "counts")]
    pub logits_hist_data_bar_heights: Vec<f64>,
    pub logits_hist_data_bar_values: Vec<f64>,
    pub n_prompts_total: usize,
    pub n_tokens_in_prompt: usize,
    #[serde(default)]
    pub dataset: String,
    #[serde(default)]
    pub decoder_weights_dist: Vec<f64>,
    pub activations: Vec<BatchActivation>,
    #[serde(default)]
    pub vector: Vec<f64>,
}

/// A context. `bin_min` of a max-activating example is -1.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BatchActivation {
    pub bin_min: f64,
    pub bin_max: f64,
    pub bin_contains: f64,
    pub tokens: Vec<String>,
    pub values: Vec<f64>,
    /// The token that the context was chosen for; -1 where it is the first one, which is left out.
    #[serde(default = "nowhere")]
    pub qualifying_token_index: i64,
    #[serde(default)]
    pub dfa_values: Vec<f64>,
    #[serde(default, rename = "dfa_maxValue")]
    pub dfa_max_value: f64,
    #[serde(default = "nowhere", rename = "dfa_targetIndex")]
    pub dfa_target_index: i64,
}

fn nowhere() -> i64 {
    -1
}

/// Writes counts as whole numbers.
fn counts<S: Serializer>(heights: &[f64], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(heights.iter().map(|height| *height as u64))
}
