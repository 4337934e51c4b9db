//! Dictionaries as scripts hold them: where they come from, what they compute, and where they go.

use super::model_and_text::ModelAndText;
use crate::sae;
use crate::sae::check::{CheckOptions, check_on};
use crate::sae::fit::FitHistory;
use crate::sae::from_tensors::{GivenOptions, of_tensors};
use crate::sae::load::{LoadOptions, SaveOptions};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::tensor::values;
use crate::tensor::dtype;

/// A dictionary, with the history of its fit where it was fitted in this run.
#[derive(Clone)]
pub struct Sae {
    pub core: sae::Sae,
    pub history: Option<Arc<FitHistory>>,
    /// Model and text whose activations the dictionary reads, where known, to look at its features.
    pub known: Option<Rc<ModelAndText>>,
}

impl From<sae::Sae> for Sae {
    fn from(core: sae::Sae) -> Self {
        Self { core, history: None, known: None }
    }
}

impl Sae {
    /// Places a dictionary on the device of the run, where it has the same bits whether it was made, or saved and
    /// loaded.
    pub fn placed(core: sae::Sae, env: &Env) -> Fallible<Self> {
        Ok(core.to_device(&env.device)?.into())
    }

    pub fn fitted(core: sae::Sae, history: FitHistory) -> Self {
        Self { core, history: Some(Arc::new(history)), known: None }
    }

    /// Reads activations or codes of an argument, in the dictionary's dtype.
    pub fn numbers(&self, name: &str, value: &Dynamic) -> Result<Tensor> {
        dtype::convert(&values(name, value)?, self.core.parts().encoder.dtype())
    }

    /// Computes what the dictionary makes of rows: in another thread where they are many, so that Ctrl-C is heard.
    fn on_rows(
        &self,
        ctx: &NativeCallContext,
        name: &str,
        value: &Dynamic,
        work: impl FnOnce(&sae::Sae, &Tensor) -> Result<Tensor> + Send + 'static,
    ) -> Fallible<Tensor> {
        let x = self.numbers(name, value)?;
        let core = self.core.clone();
        let rows = x.elem_count() / x.dims().last().map_or(1, |last| (*last).max(1));
        let cost = rows as f64 * core.directions().elem_count() as f64;
        Ok(env(ctx)?.task.heavy(cost, move || work(&core, &x)).map_err(|e| e.about(name))?)
    }

    fn fields(&self) -> [(&'static str, Cell); 9] {
        let parts = self.core.parts();
        let about = &self.core.parts().about;
        let text = |text: &str| Cell::from((!text.is_empty()).then_some(text));
        [
            ("kind", text(about.kind.as_str())),
            ("model", about.model().into()),
            ("sites", text(&about.site())),
            ("writes", about.writes.as_deref().into()),
            ("d_in", self.core.d_in().into()),
            ("d_out", self.core.d_out().into()),
            ("d_sae", self.core.d_sae().into()),
            ("activation", parts.activation.name().into()),
            ("dtype", parts.encoder.dtype().as_str().into()),
        ]
    }
}

impl Handle for Sae {
    const NAME: &'static str = "Sae";

    fn short(&self) -> String {
        let about = &self.core.parts().about;
        let place = if about.sites.is_empty() { String::new() } else { format!(" for {}", about.site()) };
        format!("{} dictionary of {}{place}", about.kind, count(self.core.d_sae(), "feature"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        Card::new(self.short(), self.fields()).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let parts = self.core.parts();
        let about = &self.core.parts().about;
        Ok(json!({
            "kind": about.kind, "model": about.model(), "sites": about.sites, "writes": about.writes,
            "prefixes": about.prefixes,
            "d_in": self.core.d_in(), "d_out": self.core.d_out(), "d_sae": self.core.d_sae(),
            "activation": parts.activation.name(), "more": about.metadata(),
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Loads a dictionary from a folder, a file, or the hub: `org/name`, `org/name/path/inside@revision`; or by its release
    /// and id in SAELens, as `gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium`.
    ///
    /// It reads our own format and what SAELens (of any version), dictionary_learning, sparsify, Gemma Scope (both editions)
    /// and circuit-tracer write, and the tied dictionaries of Cunningham et al. The format is auto-detected; what is not
    /// understood is refused by name. Where a folder or a repository has several dictionaries, the path inside selects
    /// one. Releases are those of both editions of Gemma Scope and the gpt2-small ones.
    ///
    /// With a model, a dictionary of other widths or of a site that the model has not is refused before its tensors are
    /// read, and before they are fetched; then one line says whether it fits, as `check_on` does.
    ///
    /// # Options
    /// - [load_dictionary]
    /// - `model` = none: the model that it is for, on which it is checked
    ///
    /// # Example
    /// ```
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// s  //=> topk dictionary of 96 features for resid_post.3
    /// s.encode(tensor::ones([32])).shape  //=> [96]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(ctx: NativeCallContext, source: &str, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let a_model = |given: &GivenValue| given.handle::<Model>().ok_or_else(|| given.refuse("a model"));
        let model = read.get("model", a_model)?;
        let options: LoadOptions = read.declared()?;
        read.finish()?;
        let Some(m) = model else {
            let loaded = sae::Sae::load(&env.files, source, &options, &env.task).map_err(|e| e.about("source"))?;
            return Sae::placed(loaded, &env);
        };
        let loaded = sae::Sae::load_for(&env.files, source, m.core(), &options, &env.task);
        let loaded = Sae::placed(loaded.map_err(|e| e.about("source"))?, &env)?;
        let checked = check_on(&loaded.core, m.core(), None, &CheckOptions::default(), &env.task)?;
        env.console.say(&checked.to_string());
        Ok(Sae { known: Some(ModelAndText::of(m, &env)?), ..loaded })
    }

    /// Builds a dictionary of your own tensors, whatever fitted them: nothing is trained.
    ///
    /// Encoder and decoder have one row a feature, so that the `W_enc` of SAELens and the `decoder.weight` of
    /// dictionary_learning are given as `w.transpose()`. The pre-activations of x are pre = x encoder^T + encoder_bias, or
    /// those of x - decoder_bias where it is `centred`, as most dictionaries of these two libraries are; the reconstruction is
    /// codes decoder + decoder_bias, and of a transcoder with `skip` x skip^T more. With `scaling` all of it is of x
    /// normalised, and the normalisation is undone in the end.
    ///
    /// Codes are made by the activation: "relu" keeps what is above 0, "topk" the `k` largest of that, "batch_topk" and
    /// "jumprelu" what is above a threshold. "gated" gives relu(exp(log_scale) pre + magnitude) where pre + gate > 0, and
    /// "linear" everything, or the `k` largest by absolute value. "soft_topk" keeps as many of the largest as an estimator says,
    /// "matching_pursuit" takes `k` steps on directions of norm 1,
    /// and "nonnegative" solves for the codes.
    ///
    /// With a model, the sites and their widths are checked, and features are looked at there. `save` writes it for other
    /// libraries, and `check_on` says whether it fits a model.
    ///
    /// # Options
    /// - [given_dictionary]
    /// - `model` = none: the model that it is for
    ///
    /// # Example
    /// ```
    /// let encoder = [[1, 0], [0, 1], [1, 1]];
    /// let decoder = [[1, 0], [0, 2], [0.5, 0.5]];
    /// let s = sae::of(#{ encoder: encoder, decoder: decoder, activation: "topk", k: 1 });
    /// s.encode([3, 1])  //=> tensor([0.0, 0.0, 4.0])
    /// s.decode([0, 0, 4])  //=> tensor([2.0, 2.0])
    /// let t = sae::of(#{
    ///     encoder: encoder, decoder: decoder, decoder_bias: [1, 1], activation: "jumprelu", threshold: 2,
    ///     site: "mlp_in.0", writes: "mlp_out.0",
    /// });
    /// t  //=> transcoder dictionary of 3 features for mlp_in.0
    /// t.encode([3, 1])  //=> tensor([3.0, 0.0, 4.0])
    /// t.reconstruct([3, 1])  //=> tensor([6.0, 3.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn of(ctx: NativeCallContext, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let a_model = |given: &GivenValue| given.handle::<Model>().ok_or_else(|| given.refuse("a model"));
        let model = read.get("model", a_model)?;
        let given: GivenOptions = read.declared()?;
        read.finish()?;
        let core = model.as_ref().map(|m| m.core().clone());
        let made = env.task.heavy(given.numbers() as f64, move || of_tensors(&given, core.as_ref()))?;
        let known = model.map(|m| ModelAndText::of(m, &env)).transpose()?;
        Ok(Sae { known, ..Sae::placed(made, &env)? })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Encodes activations into codes: `[.., d_in]` to `[.., d_sae]`.
    ///
    /// # Example
    /// ```
    /// let s = sae::identity(3);
    /// s.encode([1, -2, 3])  //=> tensor([1.0, -2.0, 3.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn encode(ctx: NativeCallContext, s: &mut Sae, x: Any) -> Fallible<Tensor> {
        s.on_rows(&ctx, "x", &x, sae::Sae::encode)
    }

    /// Estimates how many features activations need, `[.., d_in]` to `[..]`, by a dictionary of kind "soft_topk": as many of
    /// the largest codes are kept, rounded down.
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([64, 4], #{ seed: 1 });
    /// let s = sae::fit(x, #{ kind: "soft_topk", k: 2, d_sae: 8, steps: 20, seed: 1 });
    /// let active = (s.encode(x) > 0).to("f32").sum(1);
    /// (active <= s.ks(x)).all()  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ks(ctx: NativeCallContext, s: &mut Sae, x: Any) -> Fallible<Tensor> {
        s.on_rows(&ctx, "x", &x, sae::Sae::ks)
    }

    /// Decodes codes: `[.., d_sae]` to `[.., d_out]`.
    ///
    /// # Example
    /// ```
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// let x = tensor::ones([2, 32]);
    /// s.decode(s.encode(x)).all_close(s.reconstruct(x))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn decode(ctx: NativeCallContext, s: &mut Sae, codes: Any) -> Fallible<Tensor> {
        s.on_rows(&ctx, "codes", &codes, sae::Sae::decode)
    }

    /// Encodes and decodes activations: `[.., d_in]` to `[.., d_out]`.
    ///
    /// # Example
    /// ```
    /// sae::identity(2).reconstruct([0.5, -1])  //=> tensor([0.5, -1.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn reconstruct(ctx: NativeCallContext, s: &mut Sae, x: Any) -> Fallible<Tensor> {
        s.on_rows(&ctx, "x", &x, sae::Sae::reconstruct)
    }

    /// Returns the decoder direction of each feature: `[d_sae, d_out]`.
    ///
    /// # Example
    /// ```
    /// sae::identity(2).directions  //=> tensor([[1.0, 0.0], [0.0, 1.0]])
    /// ```
    #[rhai_fn(global, get = "directions", pure)]
    pub fn directions(s: &mut Sae) -> Tensor {
        s.core.directions().clone()
    }

    /// Returns the width of the activations that the dictionary reads.
    ///
    /// # Example
    /// ```
    /// sae::identity(2).d_in  //=> 2
    /// ```
    #[rhai_fn(global, get = "d_in", pure)]
    pub fn d_in(s: &mut Sae) -> i64 {
        s.core.d_in() as i64
    }

    /// Returns the width of the activations that the dictionary writes.
    ///
    /// # Example
    /// ```
    /// sae::identity(2).d_out  //=> 2
    /// ```
    #[rhai_fn(global, get = "d_out", pure)]
    pub fn d_out(s: &mut Sae) -> i64 {
        s.core.d_out() as i64
    }

    /// Returns the number of features.
    ///
    /// # Example
    /// ```
    /// sae::random(4, 10).d_sae  //=> 10
    /// ```
    #[rhai_fn(global, get = "d_sae", pure)]
    pub fn d_sae(s: &mut Sae) -> i64 {
        s.core.d_sae() as i64
    }

    /// Returns the kind of dictionary, such as "topk" or "pca".
    ///
    /// # Example
    /// ```
    /// sae::identity(2).kind  //=> "identity"
    /// ```
    #[rhai_fn(global, get = "kind", pure)]
    pub fn kind(s: &mut Sae) -> String {
        s.core.parts().about.kind.to_string()
    }

    /// Returns the sites whose activations the dictionary reads, concatenated in this order; empty where unknown.
    ///
    /// # Example
    /// ```
    /// sae::load("tests/fixtures/saes/saelens-topk").sites  //=> ["resid_post.3"]
    /// ```
    #[rhai_fn(global, get = "sites", pure)]
    pub fn sites(s: &mut Sae) -> Array {
        s.core.parts().about.site_names().into_iter().map(Dynamic::from).collect()
    }

    /// Returns other metadata, such as how the dictionary was fitted, as a map.
    ///
    /// # Example
    /// ```
    /// sae::load("tests/fixtures/saes/saelens-topk").more.sae_lens_version  //=> "6.54.12"
    /// ```
    #[rhai_fn(global, get = "more", pure)]
    pub fn more(s: &mut Sae) -> Dynamic {
        from_json(Value::Object(s.core.parts().about.metadata()))
    }

    /// Saves the dictionary into a folder, in our own format or that of another library; returns the paths of the
    /// files.
    ///
    /// Our own format holds every dictionary, bit for bit. A kind that another format has no architecture for is
    /// refused by name; what only microtome needs goes into keys that other libraries ignore, so that a dictionary that
    /// is loaded again is equal.
    ///
    /// # Options
    /// - [save_dictionary]
    ///
    /// # Example
    /// ```
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// s.save("copy");
    /// let x = tensor::randn([4, 32], #{ seed: 1 });
    /// (sae::load("copy").encode(x) - s.encode(x)).abs().max()  //=> 0.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, s: &mut Sae, folder: &str, options: Options) -> Fallible<Array> {
        let SaveOptions { format } = taken(options)?;
        let places = s.core.save(&env(&ctx)?.files, Path::new(folder), format)?;
        Ok(places.into_iter().map(|place| Dynamic::from(place.display().to_string())).collect())
    }
}
