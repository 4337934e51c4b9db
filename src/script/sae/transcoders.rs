//! `sae::transcoders`: transcoders of all layers of a model.

use crate::sae;
use crate::sae::fit::FitHistory;
use crate::sae::transcoders::TranscodersOptions;
use crate::script::prelude::*;
use crate::script::sae::Sae;

/// Transcoders of all layers, with the dictionaries that they were made of, where they were made of some.
#[derive(Clone)]
pub struct Transcoders {
    pub core: sae::Transcoders,
    pub saes: Vec<Sae>,
    /// History of the transcoders' fit, where they were fitted together in this run.
    pub history: Option<Arc<FitHistory>>,
}

impl From<sae::Transcoders> for Transcoders {
    fn from(core: sae::Transcoders) -> Self {
        Self { core, saes: Vec::new(), history: None }
    }
}

impl Transcoders {
    pub fn fitted(core: sae::Transcoders, history: FitHistory) -> Self {
        Self { history: Some(Arc::new(history)), ..core.into() }
    }

    /// Reads the transcoders of an argument: a handle, or an array of dictionaries.
    pub fn given(value: &Dynamic) -> Result<Self> {
        let given = given("transcoders", value);
        if let Some(all) = given.handle::<Self>() {
            return Ok(all);
        }
        let one = |one: &crate::script::engine::value::GivenValue| one.handle::<Sae>();
        let saes: Option<Vec<Sae>> = given.elements().iter().map(one).collect();
        let Some(saes) = saes else { return Err(given.refuse("transcoders, or an array of one for each layer")) };
        let cores: Vec<sae::Sae> = saes.iter().map(|sae| sae.core.clone()).collect();
        let core = sae::Transcoders::of(&cores).map_err(|e| e.about("transcoders"))?;
        Ok(Self { core, saes, history: None })
    }

    fn features(&self) -> Vec<usize> {
        self.core.layers().iter().map(|layer| layer.features()).collect()
    }
}

impl Handle for Transcoders {
    const NAME: &'static str = "Transcoders";

    fn short(&self) -> String {
        let features = self.features().iter().sum::<usize>();
        let layers = count(self.core.layers().len(), "layer");
        format!("{} of {layers}, {}", self.core.kind(), count(features, "feature"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let fields = [
            ("model", self.core.model.as_ref().map(ToString::to_string).into()),
            ("reads", format!("{:?}", self.core.reads).into()),
            ("writes", format!("{:?}", self.core.writes).into()),
            ("width", self.core.width().into()),
        ];
        Card::new(self.short(), fields).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({
            "kind": self.core.kind(), "model": self.core.model, "scan": self.core.scan,
            "layers": self.core.layers().len(), "features": self.features(), "width": self.core.width(),
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Loads transcoders of all layers of a model, which `circuit::attribution_graph` takes: those of a folder or a
    /// repository of the hub in circuit-tracer's layout (per-layer or cross-layer; relu, JumpReLU, skip), the
    /// cross-layer ones of Gemma Scope 2, or an array of one dictionary for each layer, of `sae::transcoder` or
    /// `sae::load`.
    ///
    /// In circuit-tracer's layout the folder has a config.yaml and a file for each layer; for top-k transcoders, which that
    /// format has no field for, `topk: 32` in it. In Gemma Scope 2's it has a config.json and params_layer_N.safetensors, as in
    /// `google/gemma-scope-2-270m-pt/clt/width_262k_l0_big_affine`, or `gemma-scope-2-270m-pt-clt/width_262k_l0_big_affine`
    /// for short. Decoders stay in their files: only rows of active features are read. An unknown key and a missing layer are
    /// refused by name.
    ///
    /// # Options
    /// - [transcoders]
    ///
    /// # Example
    /// ```
    /// sae::transcoders("tests/fixtures/graphs/gpt2-clt-relu/transcoder")  //=> cross-layer transcoder of 3 layers, 120 features
    /// ```
    #[rhai_fn(return_raw)]
    pub fn transcoders(ctx: NativeCallContext, path: &str, options: Options) -> Fallible<Transcoders> {
        let env = env(&ctx)?;
        let options: TranscodersOptions = taken(options)?;
        let found = sae::Transcoders::load(&env.files, path, &options, &env.task).map_err(|e| e.about("path"))?;
        Ok(found.to_device(&env.device)?.into())
    }

    #[rhai_fn(name = "transcoders", return_raw)]
    pub fn transcoders_of(transcoders: Array) -> Fallible<Transcoders> {
        Ok(Transcoders::given(&transcoders.into())?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Saves transcoders into a folder in circuit-tracer's layout, which `sae::transcoders` reads. Returns the paths of the
    /// files.
    ///
    /// # Example
    /// ```
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-clt-relu/transcoder");
    /// let folder = t.save("doc/clt")[0].split("/W_enc_0")[0];
    /// sae::transcoders(folder)  //=> cross-layer transcoder of 3 layers, 120 features
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_transcoders(ctx: NativeCallContext, transcoders: &mut Transcoders, folder: &str) -> Fallible<Array> {
        let written = transcoders.core.save(&env(&ctx)?.files, Path::new(folder)).map_err(|e| e.about("folder"))?;
        Ok(written.into_iter().map(|path| path.display().to_string().into()).collect())
    }

    /// Returns the number of features of each layer.
    ///
    /// # Example
    /// ```
    /// sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder").features  //=> [40, 40, 40]
    /// ```
    #[rhai_fn(global, get = "features", pure)]
    pub fn transcoder_features(transcoders: &mut Transcoders) -> Array {
        transcoders.features().into_iter().map(|features| Dynamic::from(features as i64)).collect()
    }
}
