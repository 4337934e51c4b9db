//! Transcoders and crosscoders: dictionaries that write to another site, and those of several sites or models.

use super::fit_calls::{FitCall, one};
use super::rows::keeping;
use crate::data::harvest::TextReading;
use crate::sae::SitePair;
use crate::sae::fit::{Source, Target, TargetName, TranscoderOptions};
use crate::script::data::Store;
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;

/// Reads models that read the same tokens, as one argument.
pub(super) fn models(value: &Dynamic) -> Result<Vec<Model>> {
    let one = |given: &GivenValue| given.handle::<Model>().ok_or_else(|| given.refuse("a model or an array of models"));
    let models = given("m", value).elements().iter().map(one).collect::<Result<Vec<_>>>()?;
    if models.is_empty() { Err(given("m", value).refuse("at least one model")) } else { Ok(models) }
}

/// Finds the index of one of a dictionary's sites, by index or by name.
fn site_number(s: &Sae, site: &Dynamic) -> Result<usize> {
    let given = given("site", site);
    if !site.is_string() {
        return given.size();
    }
    let name = given.text()?;
    let sites = s.core.parts().about.site_names();
    sites.iter().position(|known| *known == name).ok_or_else(|| given.refuse(&format!("one of {}", sites.join(", "))))
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a transcoder: it reads a model's activations at one site and reconstructs those at a later one, such as what
    /// an MLP makes of its input (Dunefsky et al. 2024).
    ///
    /// With `skip` it has a linear skip connection, so that its features explain only the rest (Paulo et al. 2025).
    /// `sae::cross_layer_transcoder` fits one whose features write to all later layers, too.
    /// Spliced into the model, it replaces what lies between the two sites. Activations are read as in `sae::fit`: held
    /// in memory where they fit, else streamed; or from a store that has both sites, which is given instead of the
    /// model and needs no text.
    ///
    /// # Options
    /// - [transcoder]
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    /// - [positions]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let s = sae::transcoder(m, "mlp_in.0", "mlp_out.0", text, #{ k: 2, ratio: 2, steps: 5, skip: true, seed: 1 });
    /// s  //=> skip_transcoder dictionary of 16 features for mlp_in.0
    /// s.splice()  //=> splice a dictionary in for mlp_in.0 at mlp_out.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn transcoder(
        ctx: NativeCallContext,
        m: Model,
        reads: &str,
        writes: &str,
        text: Text,
        options: Options,
    ) -> Fallible<Sae> {
        let mut call = FitCall::once(&ctx, "sae::transcoder", TargetName::Transcoder, options)?;
        let TranscoderOptions { skip } = call.read.declared()?;
        let reading = keeping(&mut call.read)?;
        let readings = [TextReading::new(m.core(), &text, &reading)];
        Ok(one(call.run(Source::Text(&readings), Target::Transcoder { sites: SitePair { reads, writes }, skip })?)?)
    }

    #[rhai_fn(name = "transcoder", return_raw)]
    pub fn transcoder_of_store(
        ctx: NativeCallContext,
        store: Store,
        reads: &str,
        writes: &str,
        options: Options,
    ) -> Fallible<Sae> {
        let mut call = FitCall::once(&ctx, "sae::transcoder", TargetName::Transcoder, options)?;
        let TranscoderOptions { skip } = call.read.declared()?;
        let target = Target::Transcoder { sites: SitePair { reads, writes }, skip };
        Ok(one(call.run(Source::Store(&store.core), target)?)?)
    }

    /// Fits a crosscoder: one dictionary of several sites of a model, or of the same sites of several models that read the
    /// same tokens (Lindsey et al. 2024). A feature has one code, and a direction at each site.
    ///
    /// Each site is scaled during training, so that none counts more than another. `shares` tells which features the
    /// sites share. It reads rows in which the sites are concatenated.
    ///
    /// # Options
    /// - [crosscoder]
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    /// - [positions]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let s = sae::crosscoder(m, "resid_post.*", text, #{ l1: 0.01, ratio: 2, steps: 5, seed: 1 });
    /// s  //=> crosscoder dictionary of 16 features for resid_post.0, resid_post.1
    /// s.shares().shape  //=> [16, 2]
    /// s.directions_at("resid_post.1").shape  //=> [16, 8]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn crosscoder(ctx: NativeCallContext, m: Any, sites: Any, text: Text, options: Options) -> Fallible<Sae> {
        let mut call = FitCall::once(&ctx, "sae::crosscoder", TargetName::Crosscoder, options)?;
        let models = super::models(&m)?;
        let names = given("sites", &sites).texts()?;
        let reading = keeping(&mut call.read)?;
        let readings: Vec<_> = models.iter().map(|model| TextReading::new(model.core(), &text, &reading)).collect();
        let sites: Vec<&str> = names.iter().map(String::as_str).collect();
        Ok(one(call.run(Source::Text(&readings), Target::Crosscoder(&sites))?)?)
    }

    #[rhai_fn(name = "crosscoder", return_raw)]
    pub fn crosscoder_of_store(ctx: NativeCallContext, store: Store, sites: Any, options: Options) -> Fallible<Sae> {
        let call = FitCall::once(&ctx, "sae::crosscoder", TargetName::Crosscoder, options)?;
        let names = given("sites", &sites).texts()?;
        let sites: Vec<&str> = names.iter().map(String::as_str).collect();
        Ok(one(call.run(Source::Store(&store.core), Target::Crosscoder(&sites))?)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the directions of a crosscoder at one of its sites, by name or index: `[d_sae, width]`.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::crosscoder(m, "mlp_out.*", data::texts(["to be or not"]), #{ l1: 0.01, d_sae: 4, steps: 2, seed: 1 });
    /// s.directions_at(0).shape  //=> [4, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn directions_at(s: &mut Sae, site: Any) -> Fallible<Tensor> {
        let number = super::site_number(s, &site)?;
        Ok(s.core.directions_at(number).map_err(|e| e.about("site"))?)
    }

    /// Computes relative decoder norms of a crosscoder: the norm of each feature's direction at each site over the sum
    /// of these norms, with all sites equally scaled: `[d_sae, sites]`. 1 is a feature of one site alone; 1 over the
    /// number of sites is one that all share.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::crosscoder(m, "mlp_out.*", data::texts(["to be or not"]), #{ l1: 0.01, d_sae: 4, steps: 2, seed: 1 });
    /// (s.shares().sum(1) - 1).abs().max() < 1e-5  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn shares(s: &mut Sae) -> Fallible<Tensor> {
        Ok(s.core.shares()?)
    }

    /// Returns for each site of a crosscoder the mean relative norm of the features, and the number of features of that
    /// site alone.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::crosscoder(m, "mlp_out.*", data::texts(["to be or not"]), #{ l1: 0.01, d_sae: 4, steps: 2, seed: 1 });
    /// s.by_site().columns  //=> ["site", "mean share", "own features"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn by_site(s: &mut Sae) -> Fallible<Table> {
        Ok(s.core.sites_table()?)
    }

    /// Returns the site that a dictionary writes, where it is not the one that it reads; else ().
    ///
    /// # Example
    /// ```
    /// sae::identity(3).writes  //=> ()
    /// ```
    #[rhai_fn(global, get = "writes", pure)]
    pub fn writes(s: &mut Sae) -> Dynamic {
        s.core.parts().about.writes.clone().map_or(Dynamic::UNIT, Dynamic::from)
    }
}
