//! State of the server: a model with the names that requests may give it, and sources: dictionaries by the names that
//! Neuronpedia gives them.

use crate::base::names;
use crate::checkpoint::load::LoadSettings;
use crate::common::*;
use crate::data::harvest::width;
use crate::features::feature::{check_feature, placed};
use crate::features::logits::{writes_elsewhere, written};
use crate::model::Model;
use crate::model::site::{NAME_ONE, Place, one_site, select};
use crate::sae::baselines::identity;
use crate::sae::load::LoadOptions;
use crate::sae::{About, Activation, Parts, ReadSite, Sae};
use crate::tensor::{DType, Device, Tensor};

/// Text in the name of a source behind which is what tells it from others of its set.
const SUFFIX: &str = "__";

/// Model and sources, by the words of the command line.
#[derive(Debug, Clone)]
pub struct ServeInputs {
    pub model: String,
    /// More names of the model in requests.
    pub names: Vec<String>,
    /// The sources, each as `ID=DICTIONARY` or `ID=SITE`.
    pub sources: Vec<String>,
    /// Maximum number of tokens of a prompt.
    pub token_limit: Option<usize>,
}

/// A dictionary with the name that requests give it.
pub struct Source {
    /// The name, such as `3-res-jb`.
    pub id: String,
    /// The name of the set that it is of, such as `res-jb`.
    pub set: String,
    /// The dictionary with directions of norm 1, where that changes none of its choices.
    pub sae: Sae,
    pub place: Place,
}

/// The model and the sources that are served.
pub struct Served {
    pub model: Model,
    pub sources: Vec<Source>,
    /// Maximum number of tokens of a prompt.
    pub limit: usize,
    names: Vec<String>,
}

impl Served {
    /// Loads what the command line names. Refuses a dictionary that does not fit.
    pub fn load(inputs: &ServeInputs, files: &Files, device: &Device, task: &Task) -> Result<Self> {
        let loading = LoadSettings { device: device.clone(), ..LoadSettings::default() };
        let model = Model::load(files, &inputs.model, &loading, task).map_err(|e| e.about("model"))?;
        let load = |words: &String| -> Result<(String, Sae)> {
            let (id, source) = words.split_once('=').ok_or_else(|| {
                err!(Argument, "expected a source as ID=DICTIONARY, found {words:?}")
                    .hint("such as --source 3-res-jb=out/dictionary, or --source 3-stream=resid_post.3 for the stream")
            })?;
            let sae = match select(model.decoder.config(), source).as_deref() {
                Ok([place]) => stream(&model, *place)?,
                _ => Sae::load_for(files, source, &model, &LoadOptions::default(), task).map_err(|e| e.within(id))?,
            };
            Ok((id.to_string(), sae.to_device(device)?))
        };
        let sources = inputs.sources.iter().map(load).collect::<Result<Vec<_>>>()?;
        let short = inputs.model.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_string();
        let names = [vec![inputs.model.clone(), short], inputs.names.clone()].concat();
        Self::of(model, names, sources, inputs.token_limit)
    }

    /// Serves what is loaded already. Refuses a dictionary that does not fit.
    pub fn of(
        model: Model,
        names: Vec<String>,
        sources: Vec<(String, Sae)>,
        token_limit: Option<usize>,
    ) -> Result<Self> {
        model.decoder.config().expect_next_token("this server")?;
        model.text_tokenizer()?;
        let mut known = BTreeSet::new();
        let mut all = Vec::new();
        for (id, sae) in sources {
            if !known.insert(id.clone()) {
                return Err(err!(Argument, "expected sources with names that differ, found {id:?} twice"));
            }
            all.push(Source::new(&model, id.clone(), &sae).map_err(|e| e.within(id))?);
        }
        let context = model.decoder.config().context;
        let limit = token_limit.unwrap_or(context).min(context);
        Ok(Self { model, sources: all, limit, names })
    }

    /// Refuses a request that names another model.
    pub fn check_model(&self, name: &str) -> Result<()> {
        if self.names.iter().any(|known| known == name) {
            return Ok(());
        }
        let known = self.names.first().map(String::as_str).unwrap_or_default();
        Err(err!(Name, "expected the model {known:?}, found {name:?}")
            .hint(format!("if it is the same model, start the server with --name {name}")))
    }

    /// Finds a source by its name.
    pub fn source(&self, id: &str) -> Result<&Source> {
        let known = || self.sources.iter().map(|source| source.id.as_str());
        self.sources.iter().find(|source| source.id == id).ok_or_else(|| unknown("source", id, known().collect()))
    }

    /// Finds a source that has a feature.
    pub fn with_feature(&self, id: &str, index: i64) -> Result<(&Source, usize)> {
        let source = self.source(id)?;
        let index = usize::try_from(index)
            .map_err(|_| err!(Argument, "expected a feature from 0 on, found {index}"))
            .and_then(|index| check_feature(&source.sae, index).map(|()| index));
        Ok((source, index.map_err(|e| e.within(id))?))
    }

    /// Finds the sources of a set: those that are named, or all.
    pub fn of_set(&self, set: &str, selected: &[String]) -> Result<Vec<&Source>> {
        let all: Vec<&Source> = self.sources.iter().filter(|source| source.set == set).collect();
        if all.is_empty() {
            let known: BTreeSet<&str> = self.sources.iter().map(|source| source.set.as_str()).collect();
            return Err(unknown("source set", set, known.into_iter().collect()));
        }
        if selected.is_empty() {
            return Ok(all);
        }
        let known: Vec<&str> = all.iter().map(|source| source.id.as_str()).collect();
        let find = |id: &String| all.iter().find(|source| source.id == *id).copied();
        let mut seen = BTreeSet::new();
        selected
            .iter()
            .filter(|id| seen.insert(id.as_str()))
            .map(|id| find(id).ok_or_else(|| unknown("source", id, known.clone())))
            .collect()
    }

    /// Returns the place of a hook, by its name here or in TransformerLens, for a vector of some numbers.
    pub fn hook(&self, name: &str, numbers: usize) -> Result<Place> {
        let config = self.model.decoder.config();
        let place = one_site(config, name, NAME_ONE)?;
        match width(config, place)? {
            wide if wide == numbers => Ok(place),
            wide => Err(err!(Shape, "expected a vector of {wide} numbers for {name}, found one of {numbers}")),
        }
    }
}

/// Builds the error of a name that the server does not know.
fn unknown(what: &str, name: &str, known: Vec<&str>) -> Error {
    let listed = if known.is_empty() { "none".to_string() } else { known.join(", ") };
    err!(Name, "expected a {what} that is served ({listed}), found {name:?}").maybe_hint(names::suggestion(name, known))
}

/// Makes the dictionary whose features are the coordinates of a site.
fn stream(model: &Model, place: Place) -> Result<Sae> {
    let parts = identity(width(model.decoder.config(), place)?)?.parts().clone();
    let about = About { sites: vec![ReadSite::new(place.to_string())], ..parts.about.clone() };
    Sae::new(Parts { about, ..parts })
}

impl Source {
    fn new(model: &Model, id: String, sae: &Sae) -> Result<Self> {
        let place = placed(model, sae)?;
        let set = id.split_once('-').map(|(_, rest)| rest.split(SUFFIX).next().unwrap_or_default().to_string());
        let set = set.filter(|set| !set.is_empty()).ok_or_else(|| {
            err!(Argument, "expected the name of a source as LAYER-SET, such as 3-res-jb, found {id:?}")
        })?;
        Ok(Self { id, set, sae: with_unit_directions(sae)?, place })
    }

    /// Returns the name of the site in TransformerLens.
    pub fn hook_name(&self) -> String {
        self.place.site.lens_name()
    }

    /// Returns the direction that a feature writes, of norm 1 where the dictionary has such: `[d_out]`.
    pub fn direction(&self, index: usize) -> Result<Tensor> {
        Ok(written(&self.sae, index, 1)?.squeeze(0)?.to_device(&Device::Cpu)?)
    }

    /// Returns the weights by which a feature reads, in units of what it writes: `[d_in]`.
    pub fn reading(&self, index: usize) -> Result<Tensor> {
        let row = |matrix: &Tensor| -> Result<Tensor> {
            Ok(matrix.get(index)?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)
        };
        let weights = row(&self.sae.parts().encoder)?;
        if !self.sae.parts().rescaled {
            return Ok(weights);
        }
        let length = row(self.sae.directions())?.sqr()?.sum_all()?.sqrt()?;
        Ok(weights.broadcast_mul(&length)?)
    }

    /// Refuses to steer along directions that are not of the site that the source reads.
    pub fn check_steers(&self) -> Result<()> {
        if !writes_elsewhere(&self.sae) {
            return Ok(());
        }
        let id = &self.id;
        Err(err!(Argument, "expected a source that writes where it reads to steer with, found {id}, a transcoder")
            .hint("give its direction as a vector, with the hook where it is to be added"))
    }
}

/// Folds the norms of directions into the codes, as Neuronpedia's server has SAELens do. Where codes are chosen by
/// comparing features, that would choose others, and the dictionary is left as it is.
fn with_unit_directions(sae: &Sae) -> Result<Sae> {
    let parts = sae.parts();
    let is_alone = matches!(
        parts.activation,
        Activation::Relu | Activation::Threshold(_) | Activation::Gated { .. } | Activation::Linear(None)
    );
    if !is_alone || parts.rescaled { Ok(sae.clone()) } else { Sae::new(parts.clone().with_unit_directions()?) }
}
