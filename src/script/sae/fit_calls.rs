//! Calls that fit: options are read before anything is begun, and results are handles of scripts.

use super::rows::{no_text_options, of_text_only};
use super::transcoders::Transcoders;
use crate::options::OptionGroup;
use crate::sae::fit::{
    AXES_OF_KINDS, CrossLayerOptions, CrosscoderOptions, FitGridOptions, FitOptions, FitPlan, FitProduct, FitResult,
    FitStorage, Job, KindNames, Source, StoreSiteOptions, Target, TargetName, TargetOptions, TranscoderOptions, grid,
    kinds,
};
use crate::script::data::Store;
use crate::script::engine::options::OptionReader;
use crate::script::engine::value::plain;
use crate::script::prelude::*;
use crate::script::sae::Sae;
use crate::script::tensor::values;
use crate::training::CheckpointOptions;

/// Returns where the fits of a call keep checkpoints and what is cached.
pub fn storage(env: &Env, checkpoints: CheckpointOptions) -> FitStorage<'_> {
    FitStorage {
        files: &env.files,
        device: env.device.clone(),
        checkpoints,
        cache: env.settings.cache.clone(),
        fresh: env.settings.fresh,
    }
}

/// A call of a function that fits.
pub(super) struct FitCall<'a> {
    ctx: &'a NativeCallContext<'a>,
    function: &'static str,
    pub env: Rc<Env>,
    /// Reader of the options that not all fits have.
    pub read: OptionReader,
    options: FitOptions,
    /// Options that the kinds have of their own.
    own: Vec<(&'static str, Plain)>,
    /// Axes of a sweep.
    axes: Option<FitGridOptions>,
    what: TargetOptions,
    checkpoints: CheckpointOptions,
}

impl<'a> FitCall<'a> {
    /// Reads the options of a function that fits once, with the defaults of its target.
    pub fn once(ctx: &'a NativeCallContext, function: &'static str, of: TargetName, map: Options) -> Result<Self> {
        let env = env(ctx)?;
        let mut read = options(map);
        let options: FitOptions = read.declared()?;
        let options = match of {
            TargetName::Dictionary | TargetName::Transcoder => options,
            TargetName::Crosscoder => {
                let CrosscoderOptions { kind, ratio } = read.declared()?;
                FitOptions { kind, ratio, ..options }
            }
            TargetName::CrossLayer => FitOptions { kind: read.declared::<CrossLayerOptions>()?.kind, ..options },
        };
        let own = own_options(&mut read, &[options.kind.0])?;
        let checkpoints = read.declared()?;
        let what = TargetOptions { of, sites: None };
        Ok(Self { ctx, function, env, read, options, own, axes: None, what, checkpoints })
    }

    /// Reads the options of a function that fits over a grid.
    pub fn sweep(ctx: &'a NativeCallContext, function: &'static str, map: Options) -> Result<Self> {
        let env = env(ctx)?;
        let mut read = options(map);
        let what: TargetOptions = read.declared()?;
        let mut axes: FitGridOptions = read.declared()?;
        if read.value("kind").is_none() {
            axes.kind = KindNames(vec![what.of.usual_kind().0.into()]);
        }
        let kinds: Vec<&str> = axes.kind.0.iter().map(String::as_str).collect();
        kinds.iter().try_for_each(|kind| kinds::called(kind).map(|_| ())).map_err(|e| e.about("kind"))?;
        let is_axis = |name: &str| FitGridOptions::fields().iter().any(|field| field.name == name);
        let options = FitOptions::given(|name| read.value(name).filter(|_| !is_axis(name)).map(|value| plain(&value)))?;
        let mut own = own_options(&mut read, &kinds)?;
        for name in AXES_OF_KINDS {
            // One that no kind here has is refused with the names of the kinds.
            if let Some(value) = read.value(name).filter(|_| !own.iter().any(|(known, _)| *known == name)) {
                own.push((name, plain(&value)));
            }
        }
        let checkpoints = read.declared()?;
        Ok(Self { ctx, function, env, read, options, own, axes: Some(axes), what, checkpoints })
    }

    /// Returns the target of a sweep at these sites.
    pub fn target<'s>(&mut self, sites: &'s [&'s str]) -> Result<Target<'s>> {
        // A call that is no sweep has read its own.
        let skip = self.axes.is_some() && self.read.declared::<TranscoderOptions>()?.skip;
        if skip && self.what.of != TargetName::Transcoder {
            return Err(err!(Argument, "expected `skip` with transcoders, found it with another target").about("skip"));
        }
        self.what.of.of_sites(sites, skip)
    }

    /// Refuses unknown options, and fits.
    pub fn run(self, source: Source, target: Target) -> Result<Vec<FitResult>> {
        let Self { ctx, function, env, read, options, own, axes, what, checkpoints } = self;
        read.finish()?;
        let seed: Seed = match &axes {
            // The first of the seeds, if any are stated.
            Some(axes) => axes.seed.as_ref().and_then(|seeds| seeds.first().copied()).into(),
            None => options.seed,
        };
        env.drawing(ctx, function, seed, |seed| {
            let options = FitOptions { seed, ..options };
            let plans = match &axes {
                Some(axes) => grid(what.of, axes, &options, &own)?,
                None => vec![FitPlan::named(what.of, options, &own)?],
            };
            let storage = storage(&env, checkpoints);
            Job { source, target, plans: &plans, is_sweep: axes.is_some(), storage: &storage }.run(&env.task)
        })
    }

    /// Refuses unknown options, and fits to given activations: a tensor, or a store.
    pub fn run_on(mut self, x: &Dynamic) -> Result<Vec<FitResult>> {
        let of_text = of_text_only(&mut self.read)?;
        let StoreSiteOptions { site } = self.read.declared()?;
        no_text_options(of_text)?;
        let named = self.what.sites.take();
        if let Some(store) = x.read_lock::<Store>().map(|store| store.core.clone()) {
            let sites = match (named, site) {
                (Some(several), _) => several,
                (None, Some(site)) => vec![site],
                (None, None) if self.what.of == TargetName::CrossLayer => Vec::new(),
                (None, None) => vec![store.only_site()?],
            };
            let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
            let target = self.target(&sites)?;
            return self.run(Source::Store(&store), target);
        }
        if site.is_some() || named.is_some() || self.options.buffer.is_some() {
            return Err(
                err!(Argument, "expected `site` and `buffer` with a store, found them with a tensor").about("options")
            );
        }
        let target = self.target(&[])?;
        self.run(Source::Tensor(&values("x", x)?), target)
    }
}

/// Reads the options that these kinds have of their own. Options of other kinds are noted for the hint of the error.
fn own_options(read: &mut OptionReader, named: &[&str]) -> Result<Vec<(&'static str, Plain)>> {
    let mut own: Vec<(&'static str, Plain)> = Vec::new();
    for kind in kinds::NAMES {
        for field in kinds::options_of(kind)? {
            if !named.contains(&kind) {
                read.of_other(field.name, format!("the kind \"{kind}\""));
            } else if !own.iter().any(|(name, _)| *name == field.name)
                && let Some(value) = read.value(field.name)
            {
                own.push((field.name, plain(&value)));
            }
        }
    }
    Ok(own)
}

/// Returns the dictionary of a fit as a handle.
pub(super) fn dictionary(fitted: FitResult) -> Result<Sae> {
    Ok(Sae::fitted(fitted.made.dictionary()?, fitted.history))
}

/// Returns the only dictionary.
pub(super) fn one(found: Vec<FitResult>) -> Result<Sae> {
    dictionary(found.into_iter().next().ok_or_else(|| err!(Bug, "a fit without a dictionary"))?)
}

/// Returns the product of a fit as a handle.
fn handle(FitResult { made, history, .. }: FitResult) -> Dynamic {
    match made {
        FitProduct::Dictionary(sae) => Dynamic::from(Sae::fitted(sae, history)),
        FitProduct::CrossLayer(made) => Dynamic::from(Transcoders::fitted(made, history)),
    }
}

/// Returns the products of fits as an array of handles.
pub(super) fn array(found: Vec<FitResult>) -> Array {
    found.into_iter().map(handle).collect()
}
