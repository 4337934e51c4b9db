//! A hook as a value of scripts: what it does, where, and how it is bound to a model.

use super::edits::{FunctionEdit, ScriptFunction};
use crate::intervene::features::FeatureChoice;
use crate::intervene::{Eraser, FeatureHook};
use crate::model::Model;
use crate::model::cache::Cache;
use crate::model::hooks::{Action, BoundHook, Edit, HookOptions, KeptHook, PatchSource};
use crate::sae::splice::{ErrorTreatment, Splice};
use crate::script::engine::options::OptionReader;
use crate::script::engine::value::number_text;
use crate::script::prelude::*;
use crate::tensor::DType;

/// The action of a hook.
#[derive(Clone)]
pub enum HookAction {
    Act(Action),
    Edit(ScriptFunction),
    /// Replaces the activations by a dictionary's reconstruction.
    Splice(Splice),
    /// Takes out of the activations what probes read.
    Erase(Arc<Eraser>),
}

#[derive(Clone)]
pub struct Hook {
    what: HookAction,
    site: String,
    /// The features that it acts on, where it does not act on the activations themselves.
    features: Option<FeatureHook>,
    /// Site that a spliced dictionary reads, if it is another one.
    reads: Option<String>,
    heads: Option<Vec<usize>>,
    positions: Option<Vec<i64>>,
}

impl Hook {
    /// Reads the options that every hook has.
    pub fn new(what: HookAction, site: &str, options: &mut OptionReader) -> Result<Self> {
        let HookOptions { pos: positions, heads } = options.declared()?;
        Ok(Self { heads, positions, ..Self::everywhere(what, site) })
    }

    /// Makes a hook of all heads and positions of a site.
    pub fn everywhere(what: HookAction, site: &str) -> Self {
        Self { what, site: site.into(), features: None, reads: None, heads: None, positions: None }
    }

    /// Moves the hook to this site.
    pub fn at(self, site: String) -> Self {
        Self { site, ..self }
    }

    /// Restricts the hook to features.
    pub fn on_features(self, features: FeatureHook, task: &Task) -> Result<Self> {
        if self.heads.is_some() {
            return Err(err!(Argument, "expected no `heads` where a hook acts on features")
                .hint("a dictionary reads all heads of its site; one of a single head has a site such as `z.3.5`")
                .about("heads"));
        }
        let what = match self.what {
            HookAction::Act(action) => HookAction::Act(features.action(&action, task)?),
            other => other,
        };
        Ok(Self { what, site: features.site().into(), features: Some(features), ..self })
    }

    /// Sets the site that a dictionary reads, if it is another one.
    pub fn reading(self, site: Option<String>) -> Self {
        Self { reads: site, ..self }
    }

    pub fn site(&self) -> &str {
        &self.site
    }

    /// Reads a hook or an array of hooks.
    pub fn list(value: &Dynamic) -> Result<Vec<Hook>> {
        let one = |value: &Dynamic| value.read_lock::<Hook>().map(|hook| hook.clone());
        let refusal = || given("hooks", value).refuse("a hook or an array of hooks");
        match value.read_lock::<Array>() {
            Some(array) => array.iter().map(|value| one(value).ok_or_else(refusal)).collect(),
            None => Ok(vec![one(value).ok_or_else(refusal)?]),
        }
    }

    /// Returns the hook as one that a model keeps. A hook with a function of the script is refused where it would act.
    pub fn kept(&self, model: &Arc<Model>) -> Result<KeptHook> {
        let told = self.short();
        let config = model.decoder.config().clone();
        let site = self.site.clone();
        let heads = self.heads.clone();
        let positions = self.positions.clone();
        let numbers = self.numbers();
        let features = self.features.clone();
        let hook = match self.what.clone() {
            HookAction::Edit(_) => {
                // Whatever is wrong with its place is said now.
                match &features {
                    Some(features) => drop(features.bound(model, Box::new(Action::Zero.begin()), positions)?),
                    None => drop(BoundHook::new(
                        &config,
                        &site,
                        heads.as_deref(),
                        positions,
                        Box::new(Action::Zero.begin()),
                    )?),
                }
                return Ok(KeptHook::new(told.clone(), numbers, move || {
                    Err(err!(Argument, "the model keeps a hook with a function of the script, which this call cannot use: {told}")
                        .hint("calls that take `hooks` can, such as m.logits and m.run; others need hooks::add, patch, zero and the like")
                        .about("m"))
                }));
            }
            HookAction::Act(action) => {
                let model = model.clone();
                KeptHook::new(told, numbers, move || {
                    let edit = Box::new(action.clone().begin());
                    Ok(vec![match &features {
                        Some(features) => features.bound(&model, edit, positions.clone())?,
                        None => BoundHook::new(&config, &site, heads.as_deref(), positions.clone(), edit)?,
                    }])
                })
            }
            HookAction::Erase(eraser) => KeptHook::new(told, numbers, move || {
                let edit = Box::new(Eraser::clone(&eraser));
                Ok(vec![BoundHook::new(&config, &site, heads.as_deref(), positions.clone(), edit)?])
            }),
            HookAction::Splice(splice) => {
                let reads = self.reads.clone();
                KeptHook::new(told, numbers, move || match &reads {
                    Some(reads) => splice.clone().between(&config, reads, &site, positions.clone()),
                    None => {
                        let edit = Box::new(splice.clone());
                        Ok(vec![BoundHook::new(&config, &site, heads.as_deref(), positions.clone(), edit)?])
                    }
                })
            }
        };
        hook.bound()?;
        Ok(hook)
    }

    /// Lists the numbers that the hook acts with.
    fn numbers(&self) -> Vec<Tensor> {
        let recorded = |cache: &Cache| cache.iter().map(|(_, tensor)| tensor.clone()).collect::<Vec<_>>();
        let own = match &self.what {
            HookAction::Act(Action::Mean { cache, .. } | Action::Patch(PatchSource::Cache(cache))) => recorded(cache),
            HookAction::Act(Action::Patch(PatchSource::Tensor(tensor)) | Action::Add { vector: tensor, .. }) => {
                vec![tensor.clone()]
            }
            HookAction::Act(Action::Project(projection)) => projection.numbers(),
            HookAction::Act(Action::Zero | Action::Scale(_)) | HookAction::Edit(_) => Vec::new(),
            HookAction::Erase(eraser) => eraser.numbers(),
            HookAction::Splice(splice) => splice.numbers(),
        };
        let of_features = self.features.iter().flat_map(|hook| {
            let (FeatureChoice::Only(named) | FeatureChoice::AllBut(named)) = hook.which();
            let named: Vec<u32> = named.iter().map(|feature| *feature as u32).collect();
            hook.sae().numbers(&named)
        });
        own.into_iter().chain(of_features).collect()
    }

    /// Binds the hook to one model; its function is called through `calls`.
    pub fn bound<'a>(&self, model: &Model, calls: &'a Callbacks<'a>) -> Result<Vec<BoundHook<'a>>> {
        let config = model.decoder.config();
        if let (HookAction::Splice(splice), Some(reads)) = (&self.what, &self.reads) {
            if self.heads.is_some() {
                return Err(err!(
                    Argument,
                    "expected no `heads` for a dictionary that reads at {reads} and writes at {}",
                    self.site
                )
                .hint("a head is named in the site, as in `z.3.5`"));
            }
            return splice.clone().between(config, reads, &self.site, self.positions.clone());
        }
        let edit: Box<dyn Edit + 'a> = match &self.what {
            HookAction::Act(action) => Box::new(action.clone().begin()),
            HookAction::Edit(function) => Box::new(FunctionEdit::new(calls, function.clone())),
            HookAction::Splice(splice) => Box::new(splice.clone()),
            HookAction::Erase(eraser) => Box::new(Eraser::clone(eraser)),
        };
        Ok(vec![match &self.features {
            Some(features) => features.bound(model, edit, self.positions.clone())?,
            None => BoundHook::new(config, &self.site, self.heads.as_deref(), self.positions.clone(), edit)?,
        }])
    }

    fn does(&self) -> String {
        match &self.what {
            HookAction::Act(Action::Zero) => "zero".into(),
            HookAction::Act(Action::Mean { by_position: false, .. }) => "mean".into(),
            HookAction::Act(Action::Mean { by_position: true, .. }) => "mean by position".into(),
            HookAction::Act(Action::Patch(PatchSource::Cache(_))) => "patch from a run".into(),
            HookAction::Act(Action::Patch(PatchSource::Tensor(values))) => {
                format!("patch with {}", values_text(values, 1.0))
            }
            HookAction::Act(Action::Add { vector, scale }) => format!("add {}", values_text(vector, *scale)),
            HookAction::Act(Action::Scale(factor)) => format!("scale by {}", number_text(*factor)),
            HookAction::Act(Action::Project(projection)) => {
                format!("project out {}", count(projection.rank(), "direction"))
            }
            HookAction::Edit(_) => "edit".into(),
            HookAction::Splice(splice) if splice.is_beside() => "add a dictionary".into(),
            HookAction::Splice(_) => "splice a dictionary in".into(),
            HookAction::Erase(eraser) => format!("erase by {}", eraser.kind.word().replace('_', " ")),
        }
    }

    /// Says what the hook does to the features that it acts on.
    fn does_to(&self, whom: &str) -> String {
        match &self.what {
            HookAction::Act(Action::Mean { by_position: false, .. }) => format!("mean of {whom}"),
            HookAction::Act(Action::Mean { by_position: true, .. }) => format!("mean by position of {whom}"),
            HookAction::Act(Action::Patch(PatchSource::Cache(_))) => format!("patch {whom} from a run"),
            HookAction::Act(Action::Patch(PatchSource::Tensor(values))) => {
                format!("patch {whom} with {}", values_text(values, 1.0))
            }
            HookAction::Act(Action::Scale(factor)) => format!("scale {whom} by {}", number_text(*factor)),
            HookAction::Act(Action::Add { .. }) => format!("{} to {whom}", self.does()),
            HookAction::Act(Action::Project(_)) => format!("{} of the codes of {whom}", self.does()),
            HookAction::Act(Action::Zero) | HookAction::Edit(_) | HookAction::Splice(_) | HookAction::Erase(_) => {
                format!("{} {whom}", self.does())
            }
        }
    }
}

/// Hooks list up to this many features, and count more.
const LISTED: usize = 8;

/// Names the features of a hook: `features 3, 5 of resid_post.3`.
fn features_text(hook: &FeatureHook) -> String {
    let (FeatureChoice::Only(named) | FeatureChoice::AllBut(named)) = hook.which();
    let all_but = if matches!(hook.which(), FeatureChoice::AllBut(_)) { "all but " } else { "" };
    let list = match named.as_slice() {
        [one] => format!("feature {one}"),
        many if many.len() > LISTED => count(many.len(), "feature"),
        _ => format!("features {}", named.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    format!("{all_but}{list} of {}", hook.site())
}

/// Writes values times a scale in a word: a number, or their shape.
fn values_text(values: &Tensor, scale: f64) -> String {
    let number = values.to_dtype(DType::F64).and_then(|values| values.to_scalar::<f64>());
    match number {
        Ok(number) => number_text(number * scale),
        Err(_) if scale == 1.0 => format!("{:?}", values.dims()),
        Err(_) => format!("{} times {:?}", number_text(scale), values.dims()),
    }
}

impl Handle for Hook {
    const NAME: &'static str = "Hook";

    fn short(&self) -> String {
        let part = |one: &str, several: &str, numbers: Vec<String>| match numbers.len() {
            0 => String::new(),
            1 => format!(", {one} {}", numbers[0]),
            _ => format!(", {several} {}", numbers.join(", ")),
        };
        let heads = self.heads.iter().flatten().map(usize::to_string).collect();
        let positions = self.positions.iter().flatten().map(i64::to_string).collect();
        let heads = part("head", "heads", heads);
        let positions = part("position", "positions", positions);
        if let Some(features) = &self.features {
            let error = if features.rest() == ErrorTreatment::Kept { "kept" } else { "dropped" };
            return format!("{}{positions}, error {error}", self.does_to(&features_text(features)));
        }
        let reads = self.reads.as_ref().map(|reads| format!(" for {reads}")).unwrap_or_default();
        format!("{}{reads} at {}{heads}{positions}", self.does(), self.site)
    }

    fn json(&self) -> Result<Value> {
        let mut map = json!({ "does": self.does(), "site": self.site, "heads": self.heads, "pos": self.positions });
        if let Some(hook) = &self.features {
            let (FeatureChoice::Only(named) | FeatureChoice::AllBut(named)) = hook.which();
            map["features"] = json!(named);
            map["others"] = json!(matches!(hook.which(), FeatureChoice::AllBut(_)));
            map["error"] = json!(if hook.rest() == ErrorTreatment::Kept { "keep" } else { "drop" });
        }
        Ok(map)
    }
}
