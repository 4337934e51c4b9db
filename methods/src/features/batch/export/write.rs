//! Writing of exports.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Map;
use sha2::{Digest, Sha256};

use super::{ACTIVATIONS, EXPLANATIONS, ExportNames, ExportedExplanation, FEATURES};
use crate::base::files::hex;
use crate::common::*;
use crate::features::batch::{Batch, BatchActivation, BatchFeature};

/// Number of lines in a file of explanations, as many as Neuronpedia's own have.
pub const MOST_LINES: usize = 1024;

/// Level of the compression, that of Neuronpedia's own files.
const LEVEL: u32 = 5;

/// Fields of a batch file that lines of features have not, or elsewhere.
const ELSEWHERE: [&str; 5] = ["feature_index", "n_prompts_total", "n_tokens_in_prompt", "dataset", "activations"];

/// The user whose pages are shown to everybody.
const PUBLIC: &str = "PUBLIC";

/// Facts about a model and a source for the lines that say what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportFacts {
    pub layers: usize,
    pub neurons_per_layer: usize,
    pub dimension: usize,
    /// Number of rows of the text, and of tokens in each.
    pub prompts: usize,
    pub tokens_in_prompt: usize,
    /// Name of the text.
    pub text: String,
}

/// A file of an export: its path below the folder of all exports, and its content.
type ExportFile = (PathBuf, Vec<u8>);

impl ExportNames {
    /// Returns the files with the features and activations of a batch. `hook` is the site in TransformerLens.
    pub fn files(&self, batch: &Batch, number: usize, hook: &str) -> Result<Vec<ExportFile>> {
        let features = batch.features.iter().map(|feature| self.feature(feature, hook)).collect::<Result<Vec<_>>>()?;
        let activations = batch.features.iter().flat_map(|feature| self.activations(feature)).collect::<Vec<_>>();
        Ok(vec![self.packed(FEATURES, number, &features)?, self.packed(ACTIVATIONS, number, &activations)?])
    }

    /// Returns a file of explanations of features.
    pub fn explained(&self, explanations: &[ExportedExplanation], number: usize) -> Result<ExportFile> {
        let line = |explanation: &ExportedExplanation| {
            let ExportedExplanation { feature, text, by, method } = explanation;
            // Several models may say the same.
            let which: Vec<&str> =
                [Some(text), by.as_ref(), method.as_ref()].into_iter().flatten().map(String::as_str).collect();
            json!({
                "id": self.id("explanation", *feature, &which.join("\n")),
                "modelId": self.model_id,
                "layer": self.source(),
                "index": feature.to_string(),
                "authorId": self.creator,
                "description": text,
                "typeName": method,
                "explanationModelName": by,
            })
        };
        self.packed(EXPLANATIONS, number, &explanations.iter().map(line).collect::<Vec<_>>())
    }

    /// Returns the files that say what the model, the set and the source are.
    pub fn about(&self, facts: &ExportFacts) -> Vec<ExportFile> {
        let model = json!({
            "id": self.model_id,
            "displayNameShort": self.model_id,
            "displayName": self.model_id,
            "creatorId": self.creator,
            "dimension": facts.dimension,
            "visibility": PUBLIC,
            "layers": facts.layers,
            "neuronsPerLayer": facts.neurons_per_layer,
            "owner": "",
        });
        let set = json!({
            "modelId": self.model_id,
            "name": self.set,
            "creatorId": self.creator,
            "creatorName": "",
            "description": self.set,
            "visibility": PUBLIC,
            "urls": [],
        });
        let source = json!({
            "id": self.source(),
            "modelId": self.model_id,
            "setName": self.set,
            "creatorId": self.creator,
            "visibility": PUBLIC,
            "num_prompts": facts.prompts,
            "num_tokens_in_prompt": facts.tokens_in_prompt,
            "dataset": facts.text,
        });
        let file = |(name, line): (&str, Value)| (self.folder().join(name), format!("{line}\n").into_bytes());
        [("model.jsonl", model), ("sourceset.jsonl", set), ("source.jsonl", source)].map(file).into()
    }

    fn feature(&self, feature: &BatchFeature, hook: &str) -> Result<Value> {
        let most = feature.activations.iter().flat_map(|context| &context.values).copied().fold(0.0, f64::max);
        let own = json!({
            "modelId": self.model_id,
            "layer": self.source(),
            "index": feature.feature_index.to_string(),
            "sourceSetName": self.set,
            "creatorId": self.creator,
            "maxActApprox": most,
            "hasVector": false,
            "vectorLabel": null,
            "vectorDefaultSteerStrength": most,
            "hookName": hook,
            "topkCosSimIndices": [],
            "topkCosSimValues": [],
        });
        let mut line = object(own);
        let numbers = serde_json::to_value(feature).map_err(|e| err!(Bug, "a feature as JSON: {e}"))?;
        line.extend(object(numbers).into_iter().filter(|(key, _)| !ELSEWHERE.contains(&key.as_str())));
        Ok(line.into())
    }

    fn activations(&self, feature: &BatchFeature) -> Vec<Value> {
        let line = |(number, context): (usize, &BatchActivation)| {
            let largest = |at: usize, other: usize| if context.values[other] > context.values[at] { other } else { at };
            let at = (0..context.values.len()).reduce(largest).unwrap_or_default();
            let least = context.values.iter().copied().reduce(f64::min).unwrap_or_default();
            json!({
                "id": self.id("activation", feature.feature_index, &number.to_string()),
                "modelId": self.model_id,
                "layer": self.source(),
                "index": feature.feature_index.to_string(),
                "creatorId": self.creator,
                "tokens": context.tokens,
                "maxValue": context.values.get(at).copied().unwrap_or_default(),
                "minValue": least,
                "values": context.values,
                "maxValueTokenIndex": at,
                "binContains": context.bin_contains,
                "binMin": context.bin_min,
                "binMax": context.bin_max,
                "qualifyingTokenIndex": context.qualifying_token_index,
            })
        };
        feature.activations.iter().enumerate().map(line).collect()
    }

    /// Returns a key for the database that is the same each time: a line that is taken twice is there once.
    fn id(&self, what: &str, feature: usize, which: &str) -> String {
        let named = format!("{what}\n{}\n{}\n{feature}\n{which}", self.model_id, self.source());
        format!("c{}", hex(&Sha256::digest(named)[..12]))
    }

    /// Compresses lines.
    fn packed(&self, part: &str, number: usize, lines: &[Value]) -> Result<ExportFile> {
        let failed = |e: std::io::Error| err!(Bug, "compressing in memory: {e}");
        let mut packed = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
        for line in lines {
            packed.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
        }
        let name = format!("batch-{number}.jsonl.gz");
        Ok((self.folder().join(part).join(name), packed.finish().map_err(failed)?))
    }
}

/// Returns the fields of a value that is an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
