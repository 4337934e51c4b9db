//! A feature of a dictionary, lists of features, and the checks that every function on features begins with.

use crate::data::harvest::width;
use crate::model::site::select;
use crate::sae::prelude::*;

/// A feature and its dictionary.
#[derive(Debug, Clone)]
pub struct Feature {
    pub sae: Sae,
    pub index: usize,
    /// The tokens that the feature was selected for, if any.
    pub promotes: Option<Arc<[u32]>>,
}

impl Feature {
    pub fn new(sae: &Sae, index: usize) -> Self {
        Self { sae: sae.clone(), index, promotes: None }
    }

    /// Returns the feature's site and index, as in `resid_post.3/1044`.
    pub fn name(&self) -> String {
        let about = &self.sae.parts().about;
        let site = if about.sites.is_empty() { "?".into() } else { about.site() };
        format!("{site}/{}", self.index)
    }
}

/// Features of one dictionary or of several.
#[derive(Debug, Clone, Default)]
pub struct FeatureList {
    /// The dictionaries, each once.
    pub saes: Vec<Sae>,
    /// The features, each as the index of its dictionary and its index there.
    pub features: Vec<(usize, usize)>,
    /// The name of each feature in tables.
    pub names: Vec<String>,
}

impl FeatureList {
    pub fn of(features: &[Feature]) -> Self {
        let mut list = Self::default();
        for feature in features {
            let known = list.saes.iter().position(|sae| sae.is(&feature.sae));
            let sae = known.unwrap_or_else(|| {
                list.saes.push(feature.sae.clone());
                list.saes.len() - 1
            });
            list.features.push((sae, feature.index));
            list.names.push(feature.name());
        }
        list
    }
}

/// Refuses a feature that a dictionary does not have.
pub fn check_feature(sae: &Sae, feature: usize) -> Result<()> {
    let count = sae.d_sae();
    if feature < count {
        return Ok(());
    }
    let about = &sae.parts().about;
    let place = if about.sites.is_empty() { String::new() } else { format!(" of {}", about.site()) };
    Err(err!(Argument, "expected a feature below {count}{place}, found {feature}"))
}

/// Returns the one site that a dictionary reads.
pub fn site(sae: &Sae) -> Result<&str> {
    match sae.parts().about.sites.as_slice() {
        [site] => Ok(&site.name),
        sites => Err(err!(Argument, "expected a dictionary of one site, found one of {} sites", sites.len())
            .hint("a dictionary that was fitted on activations alone does not say where they are from")),
    }
}

/// Returns the site that a dictionary reads, as a place in a model.
pub fn place(model: &Model, sae: &Sae) -> Result<Place> {
    let site = site(sae)?;
    match select(model.decoder.config(), site)?[..] {
        [place] => Ok(place),
        ref places => Err(err!(Argument, "expected a dictionary of one site, and `{site}` names {}", places.len())),
    }
}

/// Returns the one site that a dictionary reads, as a place in a model. Refuses a dictionary of other activations, and
/// one that says that it is of another model.
pub fn placed(model: &Model, sae: &Sae) -> Result<Place> {
    let place = place(model, sae)?;
    let width = width(model.decoder.config(), place)?;
    sae.check_fits(width, &model.name(), &sae.parts().about.site())?;
    sae.check_model(&model.name())?;
    Ok(place)
}

/// Returns the tokenizer that a text is read with.
pub fn tokenizer(model: &Model) -> Result<&Tokenizer> {
    model.tokenizer.as_ref().ok_or_else(|| {
        err!(Argument, "expected a model with a tokenizer to read a text, found one that reads token ids")
    })
}
