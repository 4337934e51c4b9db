//! Sweeps: dictionaries over a grid of settings; the data is read once for all of them.

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Value, json};

use super::dictionary::Sae;
use super::fit::{ActivationOptions, Activations, array};
use super::plan::{own_options, storage};
use super::rows::choosing;
use crate::base::Result;
use crate::base::options::{Declared, Plain};
use crate::base::random::Seed;
use crate::data::Text;
use crate::sae::fit::{
    AXES_OF_KINDS, FitOptions, FitPlan, GridOptions, SETTINGS, grid, kinds, sweep_site, sweep_store, sweep_tensor,
};
use crate::script::engine::env::env;
use crate::script::engine::options::{OptionReader, options};
use crate::script::engine::value::{Any, Fallible, Int, Options, from_json, given, plain};
use crate::script::model::Model;
use crate::training::CheckpointOptions;

/// The options of a sweep. The plans are made after unknown options have been refused.
struct SweepWords {
    axes: GridOptions,
    options: FitOptions,
    own: Vec<(&'static str, Plain)>,
    checkpoints: CheckpointOptions,
}

impl SweepWords {
    fn read(read: &mut OptionReader) -> Result<Self> {
        let axes: GridOptions = read.declared()?;
        let kinds: Vec<&str> = axes.kind.0.iter().map(String::as_str).collect();
        kinds.iter().try_for_each(|kind| kinds::called(kind).map(|_| ())).map_err(|e| e.about("kind"))?;
        let is_axis = |name: &str| GridOptions::fields().iter().any(|field| field.name == name);
        let options = FitOptions::given(|name| read.value(name).filter(|_| !is_axis(name)).map(|value| plain(&value)))?;
        let mut own = own_options(read, &kinds)?;
        for name in AXES_OF_KINDS {
            // One that no kind here has is refused with the names of the kinds.
            if let Some(value) = read.value(name).filter(|_| !own.iter().any(|(known, _)| *known == name)) {
                own.push((name, plain(&value)));
            }
        }
        Ok(Self { axes, options, own, checkpoints: read.declared()? })
    }

    /// The first of the seeds, if any are stated.
    fn seed(&self) -> Seed {
        self.axes.seed.as_ref().and_then(|seeds| seeds.first().copied()).into()
    }

    fn plans(&self, seed: Seed) -> Result<Vec<FitPlan>> {
        grid(&self.axes, &FitOptions { seed, ..self.options.clone() }, &self.own)
    }
}

fn of_activations(ctx: &NativeCallContext, x: &Dynamic, map: Options) -> Result<Array> {
    let (env, mut read) = (env(ctx)?, options(map));
    let (words, given) = (SweepWords::read(&mut read)?, ActivationOptions::read(&mut read)?);
    read.finish()?;
    env.drawing(ctx, "sae::sweep", words.seed(), |seed| {
        let (plans, storage) = (words.plans(seed)?, storage(words.checkpoints, &env));
        let Some(first) = plans.first() else { return Ok(Array::new()) };
        Ok(array(match given.of(x, first)? {
            Activations::Tensor(x) => sweep_tensor(&x, &plans, &storage, &env.task)?,
            Activations::Store(store, site) => sweep_store((&store, &site), &plans, &storage, &env.task)?,
        }))
    })
}

fn of_site(ctx: &NativeCallContext, m: &Model, site: &str, text: &Text, map: Options) -> Result<Array> {
    let (env, mut read) = (env(ctx)?, options(map));
    let (words, reading) = (SweepWords::read(&mut read)?, choosing(&mut read, m.core(), text, &env.task)?);
    read.finish()?;
    env.drawing(ctx, "sae::sweep", words.seed(), |seed| {
        let (plans, storage) = (words.plans(seed)?, storage(words.checkpoints, &env));
        Ok(array(sweep_site((m.core(), site), text, &reading, &plans, &storage, &env.task)?))
    })
}

/// The settings of a fit, with the options of its kind among the others.
fn settings(sae: &Sae) -> Dynamic {
    let Some(Value::Object(said)) = sae.core.parts().about.more.get(SETTINGS) else { return Dynamic::UNIT };
    let mut said = said.clone();
    if let Some(Value::Object(own)) = said.remove("options") {
        said.extend(own);
    }
    said.insert("d_sae".into(), json!(sae.core.d_sae()));
    from_json(Value::Object(said))
}

#[export_module(manifest)]
pub mod functions {
    /// Fits dictionaries over a grid of settings to activations: a tensor `[.., d]`, those of a store, or those of a
    /// model at a site on a text. Each batch is read, centred and scaled once for all of them.
    ///
    /// Where `kind`, `l1`, `l0`, `target`, `k`, `d_sae`, `ratio` or `seed` is a list, there is a dictionary for each
    /// combination of the options that its kind has. They come in the order of the kinds, and the last of these options
    /// varies fastest. Each is bit for bit what `sae::fit` gives on rows in the order of the first seed; its `settings`
    /// say which one it is.
    ///
    /// Ctrl-C ends the sweep, not the script: the call returns the dictionaries as they are. One whose loss becomes NaN
    /// stops there, and the others continue. With a `dir`, each has its own folder there.
    ///
    /// # Options
    /// - [sweep]
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    /// - [store_site]
    /// - [skip]
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([64, 4], #{ seed: 1 });
    /// let all = sae::sweep(x, #{ kind: ["topk", "tied"], k: [1, 2], l1: 0.01, d_sae: [8, 12], steps: 2, seed: 1 });
    /// all.map(|s| [s.kind, s.d_sae])  //=> [["topk", 8], ["topk", 12], ["topk", 8], ["topk", 12], ["tied", 8], ["tied", 12]]
    /// all[2].settings.k  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sweep(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Array> {
        Ok(super::of_activations(&ctx, &x, options)?)
    }

    #[rhai_fn(name = "sweep", return_raw)]
    pub fn sweep_site(ctx: NativeCallContext, m: Model, site: &str, text: Text, options: Options) -> Fallible<Array> {
        Ok(super::of_site(&ctx, &m, site, &text, options)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The settings of the fit: kind and options, `d_sae`, learning rate, seed and so on, the number of steps made, and
    /// the `scale` of the activations that penalties refer to; () where unknown.
    ///
    /// # Example
    /// ```
    /// let s = sae::fit(tensor::randn([64, 4], #{ seed: 1 }), #{ k: 1, d_sae: 8, steps: 3, seed: 1 });
    /// [s.settings.kind, s.settings.k, s.settings.steps_made]  //=> ["topk", 1, 3]
    /// ```
    #[rhai_fn(global, get = "settings", pure)]
    pub fn settings(s: &mut Sae) -> Dynamic {
        super::settings(s)
    }

    /// The same dictionary with fewer codes: in each row the `k` of the largest absolute value, to compare baselines
    /// with others at the same L0. Random directions get the gain for `k`. Dictionaries that select codes by thresholds
    /// or gates are refused.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).keeping(1).encode([1, -2, 0.5])  //=> tensor([0.0, -2.0, 0.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn keeping(ctx: NativeCallContext, s: &mut Sae, k: Int) -> Fallible<Sae> {
        let (k, core) = (given("k", &k).size()?, s.core.clone());
        let cost = super::super::baselines::cost(core.d_in(), core.d_sae());
        let core = env(&ctx)?.task.heavy(cost, move || core.keeping(k)).map_err(|e| e.about("k"))?;
        Ok(Sae { core, ..s.clone() })
    }
}
