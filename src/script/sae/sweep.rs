//! Sweeps: dictionaries, transcoders or crosscoders over a grid of settings; the data is read once for all of them.

use super::fit_calls::{FitCall, array};
use super::rows::choosing;
use super::transcode::models;
use crate::data::harvest::TextReading;
use crate::sae::fit::{SETTINGS, Source};
use crate::script::prelude::*;
use crate::script::sae::Sae;

/// Returns the settings of a fit, with the options of its kind among the others.
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
    /// With `of` it fits transcoders, crosscoders or cross-layer transcoders: `sites` are what these read and write, and
    /// the first argument of a crosscoder may be an array of models. Several sites of dictionaries are swept one after
    /// the other.
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
    /// - [sweep_target]
    /// - [transcoder]
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
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let options = #{ of: "transcoder", k: [1, 2], ratio: 2, steps: 3, seed: 1 };
    /// sae::sweep(m, ["mlp_in.0", "mlp_out.0"], text, options).map(|s| [s.kind, s.settings.k])
    /// //=> [["transcoder", 1], ["transcoder", 2]]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sweep(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Array> {
        Ok(array(FitCall::sweep(&ctx, "sae::sweep", options)?.run_on(&x)?))
    }

    #[rhai_fn(name = "sweep", return_raw)]
    pub fn sweep_sites(ctx: NativeCallContext, m: Any, sites: Any, text: Text, options: Options) -> Fallible<Array> {
        let mut call = FitCall::sweep(&ctx, "sae::sweep", options)?;
        let models = models(&m)?;
        let names = given("sites", &sites).texts()?;
        let sites: Vec<&str> = names.iter().map(String::as_str).collect();
        let target = call.target(&sites)?;
        let task = call.env.task.clone();
        let reading = choosing(&mut call.read, models[0].core(), &text, &task)?;
        let readings: Vec<_> = models.iter().map(|model| TextReading::new(model.core(), &text, &reading)).collect();
        Ok(array(call.run(Source::Text(&readings), target)?))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the settings of the fit: kind and options, `d_sae`, learning rate, seed and so on, the number of steps
    /// made, and the `scale` of the activations that penalties refer to; () where unknown.
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

    /// Returns the dictionary with fewer codes: in each row the `k` of the largest absolute value, to compare baselines
    /// with others at the same L0. Random directions get the gain for `k`. Dictionaries that select codes by thresholds,
    /// gates or an estimate of their number are refused.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).keeping(1).encode([1, -2, 0.5])  //=> tensor([0.0, -2.0, 0.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn keeping(ctx: NativeCallContext, s: &mut Sae, k: Int) -> Fallible<Sae> {
        let k = given("k", &k).size()?;
        let core = s.core.clone();
        let cost = super::super::baselines::cost(core.d_in(), core.d_sae());
        let core = env(&ctx)?.task.heavy(cost, move || core.keeping(k)).map_err(|e| e.about("k"))?;
        Ok(Sae { core, ..s.clone() })
    }
}
