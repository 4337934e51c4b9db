//! The description of a dictionary: its kind, and the models and sites that it is of.
//!
//! Files and scripts have each of these as one text, which is read where it comes in.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::model::ModelName;

/// The metadata key for the models of a crosscoder of several, in the order of its sites.
const MODELS: &str = "models";

/// Text between the site and the number of the model in the name of a site of one of several models.
const OF_MODEL: &str = " of model ";

/// The source of a dictionary.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// Kind of the dictionary: `topk`, `tied`, `pca`.
    pub kind: KindLabel,
    /// The model whose activations it reads, as its maker calls it; several for a crosscoder of them, in the order of
    /// its sites.
    pub models: Vec<ModelName>,
    /// The sites that it reads, concatenated.
    pub sites: Vec<ReadSite>,
    /// The site that it writes, where that is another than it reads, as for transcoders.
    pub writes: Option<String>,
    /// The span of each of several sites in a row, for crosscoders; empty for one site.
    pub spans: Vec<Span>,
    /// The ends of the nested prefixes (Matryoshka): each reconstructs by itself.
    pub prefixes: Vec<usize>,
    /// Other metadata.
    pub more: Map<String, Value>,
}

impl About {
    /// Returns the names of the models as one text, if they are known.
    pub fn model(&self) -> Option<String> {
        if self.models.is_empty() { None } else { Some(ModelName::joined(&self.models)) }
    }

    /// Returns the name of each site.
    pub fn site_names(&self) -> Vec<String> {
        self.sites.iter().map(ToString::to_string).collect()
    }

    /// Returns the names of all sites as one text, as graphs and tables name what the dictionary reads.
    pub fn site(&self) -> String {
        self.site_names().join(", ")
    }

    /// Returns the other metadata as files and scripts have it: a crosscoder's several models are among it.
    pub fn metadata(&self) -> Map<String, Value> {
        let mut all = Map::new();
        if self.models.len() > 1 {
            all.insert(MODELS.into(), self.models.iter().map(ToString::to_string).collect());
        }
        all.extend(self.more.clone());
        all
    }

    /// Takes over what a file has as the name of the model and as other metadata.
    pub fn with_metadata(self, model: Option<&str>, mut more: Map<String, Value>) -> Self {
        let several = several_models(model, &more);
        if several.is_some() {
            more.shift_remove(MODELS);
        }
        let models = several.unwrap_or_else(|| model.map(ModelName::from).into_iter().collect());
        Self { models, more, ..self }
    }
}

/// Returns the several models of a crosscoder that metadata names, where they are those of the model's name.
fn several_models(model: Option<&str>, more: &Map<String, Value>) -> Option<Vec<ModelName>> {
    let name = |value: &Value| value.as_str().map(ModelName::from);
    let models = more.get(MODELS)?.as_array()?.iter().map(name).collect::<Option<Vec<_>>>()?;
    let is_named = models.len() > 1 && model == Some(ModelName::joined(&models).as_str());
    is_named.then_some(models)
}

/// The kind of a dictionary in what is shown and recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindLabel(String);

impl KindLabel {
    /// Names the transcoders of one layer, which may have a skip connection.
    pub fn of_transcoders(has_skip: bool) -> Self {
        if has_skip { "skip_transcoder" } else { "transcoder" }.into()
    }

    /// Names the dictionary that has the directions of one of this kind by their signs.
    pub fn with_signs(&self) -> Self {
        format!("{}_signs", self.0).into()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether dictionaries of this kind write to another site than they read, whether or not they say which: the
    /// kinds that do have the word in their names.
    pub fn is_transcoder(&self) -> bool {
        self.0.contains("transcoder")
    }
}

impl From<&str> for KindLabel {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for KindLabel {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for KindLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KindLabel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A site that a dictionary reads: in its model, or in one of several models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSite {
    /// Name of the site here; where it has none, its name in the library that the dictionary is from.
    pub name: String,
    /// Number of the model, for crosscoders of several.
    pub model: Option<usize>,
}

impl ReadSite {
    /// Names a site of the dictionary's only model.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), model: None }
    }

    /// Names a site of one of several models.
    pub fn of_model(name: impl Into<String>, model: usize) -> Self {
        Self { name: name.into(), model: Some(model) }
    }
}

impl fmt::Display for ReadSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.model {
            Some(model) => write!(f, "{OF_MODEL}{model}"),
            None => Ok(()),
        }
    }
}

/// Reads the name of a site in a file or a script.
impl From<&str> for ReadSite {
    fn from(text: &str) -> Self {
        let of_model = || {
            let (name, number) = text.rsplit_once(OF_MODEL)?;
            let model = number.parse::<usize>().ok()?;
            (model.to_string() == number).then(|| Self::of_model(name, model))
        };
        of_model().unwrap_or_else(|| Self::new(text))
    }
}

impl From<String> for ReadSite {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl Serialize for ReadSite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A site of several concatenated ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub width: usize,
    /// The scale of its activations during training, so that no site counts more than another.
    pub scale: f64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_sites_come_back_from_their_texts() {
        for text in ["resid_post.0", "resid_post.0 of model 1", "x of model 01", "x of model ", "", "a of model b"] {
            assert_eq!(ReadSite::from(text).to_string(), text);
        }
        assert_eq!(ReadSite::from("z.0.1 of model 12"), ReadSite::of_model("z.0.1", 12));
        assert_eq!(ReadSite::from("x of model 01"), ReadSite::new("x of model 01"));
    }

    #[test]
    fn several_models_are_metadata_of_files() {
        let more = json!({ "models": ["a", "b, with zero at embed"], "lr": 0.1 }).as_object().unwrap().clone();
        let about = About::default().with_metadata(Some("a, b, with zero at embed"), more.clone());
        assert_eq!((about.models.len(), about.models[1].origin.as_str(), about.more.len()), (2, "b", 1));
        assert_eq!((about.model().as_deref(), about.metadata()), (Some("a, b, with zero at embed"), more.clone()));
        // Where the two do not agree, nothing is lost.
        let about = About::default().with_metadata(Some("c"), more.clone());
        assert_eq!((about.model().as_deref(), about.metadata()), (Some("c"), more));
    }

    #[test]
    fn kinds_of_transcoders_stay_such() {
        for kind in [KindLabel::of_transcoders(false), KindLabel::of_transcoders(true), "transcoder".into()] {
            assert!(kind.is_transcoder() && kind.with_signs().is_transcoder());
            assert_eq!(KindLabel::from(kind.as_str()), kind);
        }
        assert!(!KindLabel::from("topk").is_transcoder());
    }
}
