//! Adapters as scripts hold them: how strong they are, what they change, and what becomes of them.

use crate::checkpoint::adapter::AdapterFile;
use crate::model::adapter;
use crate::script::model::Model;
use crate::script::prelude::*;

/// A LoRA adapter, with the model that it is on.
#[derive(Clone)]
pub struct Adapter {
    model: Model,
    core: Arc<adapter::Adapter>,
}

impl Adapter {
    /// Returns the adapter of a model, if it has one.
    fn of(model: &Model) -> Option<Self> {
        let core = model.core().adapter.clone()?;
        Some(Self { model: model.clone(), core })
    }

    /// Returns the same model with other weights, and with the hooks that it keeps.
    fn hooked(&self, core: crate::model::Model) -> Result<Model> {
        let made = Model::from(core);
        if self.model.kept().is_empty() { Ok(made) } else { made.with(self.model.kept().to_vec()) }
    }

    /// Tabulates what the adapter changes; weights that it has as wholes have no rank.
    fn table(&self) -> Result<Table> {
        let parts = &self.core.parts;
        let mut rows = Vec::new();
        for module in &parts.modules {
            let rank = module.rank()?;
            let numbers = module.down.elem_count() + module.up.elem_count();
            rows.push(vec![
                module.name.as_str().into(),
                rank.into(),
                module.alpha.into(),
                parts.settings.scaling(rank, module.alpha).into(),
                numbers.into(),
            ]);
        }
        for whole in &parts.wholes {
            let numbers = whole.tensor.elem_count().into();
            rows.push(vec![whole.name.as_str().into(), Cell::Missing, Cell::Missing, Cell::Missing, numbers]);
        }
        Ok(Table::new("", ["module", "rank", "alpha", "scaling", "numbers"], rows))
    }

    fn card(&self) -> Card {
        let Self { core, .. } = self;
        let settings = &core.parts.settings;
        let wholes = core.parts.wholes.len();
        let mut fields: Vec<(&str, Cell)> = vec![
            ("from", core.name.as_str().into()),
            ("base", core.base.origin.as_str().into()),
            ("rank", settings.rank.into()),
            ("alpha", settings.alpha.into()),
            ("scale", core.scale.into()),
            ("modules", core.parts.modules.len().into()),
        ];
        if wholes > 0 {
            fields.push(("whole weights", wholes.into()));
        }
        fields.push(("numbers", core.parts.parameters().into()));
        Card::new("adapter", fields)
    }
}

impl Handle for Adapter {
    const NAME: &'static str = "Adapter";

    fn short(&self) -> String {
        format!("adapter {}", self.core)
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.card().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let settings = &self.core.parts.settings;
        let modules: Vec<&str> = self.core.parts.modules.iter().map(|module| module.name.as_str()).collect();
        let wholes: Vec<&str> = self.core.parts.wholes.iter().map(|whole| whole.name.as_str()).collect();
        Ok(json!({
            "name": self.core.name,
            "base": self.core.base.name(),
            "rank": settings.rank,
            "alpha": settings.alpha,
            "rslora": settings.rslora,
            "scale": self.core.scale,
            "modules": modules,
            "wholes": wholes,
        }))
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(self.card())))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the model's LoRA adapter; () if it has none.
    ///
    /// `model::load(base, #{ adapter: "folder" })` and `m.with_adapter("folder")` put one beside the weights, and
    /// `model::train(m, text, #{ lora: #{ rank: 8 } })` makes one.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// m.adapter  //=> ()
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2, modules: ["attn.q", "mlp.up"] } });
    /// tuned.adapter  //=> adapter an adapter trained here, 5 steps: rank 2, 2 modules
    /// ```
    #[rhai_fn(global, get = "adapter", pure)]
    pub fn adapter(m: &mut Model) -> Dynamic {
        Adapter::of(m).map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns the model with a LoRA adapter of PEFT beside its weights: a folder, or `org/name` on the hub.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2 } });
    /// tuned.adapter.save("tuned");
    /// m.with_adapter("tuned").logits([1, 2]).equal(tuned.logits([1, 2]))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn with_adapter(ctx: NativeCallContext, m: &mut Model, adapter: &str) -> Fallible<Model> {
        let env = env(&ctx)?;
        let put = || -> Result<Model> {
            let file = AdapterFile::open(&env.files, adapter, &[], &env.task)?;
            let made = Model::from(file.applied(m.plain(), &env.task)?);
            if m.kept().is_empty() { Ok(made) } else { made.with(m.kept().to_vec()) }
        };
        let model = put().map_err(|e| e.about("adapter"))?;
        env.models.remember(model.shared());
        Ok(model)
    }

    /// Returns the rank of the adapter's matrices, as its config has it; `a.modules` has that of each module.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2 } });
    /// tuned.adapter.rank  //=> 2
    /// ```
    #[rhai_fn(global, get = "rank", pure)]
    pub fn rank(a: &mut Adapter) -> i64 {
        a.core.parts.settings.rank as i64
    }

    /// Returns the number over the rank by which products are multiplied, as the adapter's config has it.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2, alpha: 4 } });
    /// tuned.adapter.alpha  //=> 4.0
    /// ```
    #[rhai_fn(global, get = "alpha", pure)]
    pub fn alpha(a: &mut Adapter) -> f64 {
        a.core.parts.settings.alpha
    }

    /// Returns the factor of all that the adapter changes.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2 } });
    /// [tuned.adapter.scale, tuned.adapter.scale(0.5).adapter.scale]  //=> [1.0, 0.5]
    /// ```
    #[rhai_fn(global, get = "scale", pure)]
    pub fn scale(a: &mut Adapter) -> f64 {
        a.core.scale
    }

    /// Returns the model with the adapter at another scale: 0 is the base to the last bit, 1 the adapter as it was trained,
    /// 1.5 amplifies it, and a negative number turns it round.
    ///
    /// All weights are shared with the model that has the adapter. Weights that an adapter has as wholes are between the
    /// base's and its own, or beyond.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2 } });
    /// tuned.adapter.scale(0).logits([1, 2]).equal(m.logits([1, 2]))  //=> true
    /// tuned.adapter.scale(1.5).logits([1, 2]).equal(tuned.logits([1, 2]))  //=> false
    /// ```
    #[rhai_fn(global, name = "scale", pure, return_raw)]
    pub fn scaled(a: &mut Adapter, scale: Num) -> Fallible<Model> {
        let scale = given("scale", &scale).number()?;
        Ok(a.hooked(a.model.plain().with_adapter_scale(scale)?)?)
    }

    /// Returns a table of what the adapter changes: each module by its name in the published model, its rank, alpha and the
    /// factor that follows from both, and how many numbers it has.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2, modules: "attn.q" } });
    /// tuned.adapter.modules.to_map().rows[0]  //=> ["blocks.0.attn.q", 2, 2.0, 1.0, 32]
    /// ```
    #[rhai_fn(global, get = "modules", pure, return_raw)]
    pub fn modules(a: &mut Adapter) -> Fallible<Table> {
        Ok(a.table()?)
    }

    /// Returns the model without the adapter.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2 } });
    /// tuned.adapter.base.logits([1, 2]).equal(m.logits([1, 2]))  //=> true
    /// ```
    #[rhai_fn(global, get = "base", pure, return_raw)]
    pub fn base(a: &mut Adapter) -> Fallible<Model> {
        Ok(a.hooked(a.core.base.clone())?)
    }

    /// Returns a plain model with the adapter merged into its weights.
    ///
    /// Its outputs are those of the adapter beside the weights but for the last bits. `m.save` writes merged weights, too.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2 } });
    /// let merged = tuned.adapter.merge();
    /// [merged.adapter, merged.logits([1, 2]).all_close(tuned.logits([1, 2]), #{ atol: 1e-6 })]  //=> [(), true]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn merge(ctx: NativeCallContext, a: &mut Adapter) -> Fallible<Model> {
        let env = env(&ctx)?;
        let plain = a.model.plain().clone();
        let within = env.task.clone();
        let merged = env.task.apart(move || plain.merged(&within))?;
        Ok(a.hooked(merged)?)
    }

    /// Saves the adapter in a folder, as PEFT does: adapter_config.json and adapter_model.safetensors.
    ///
    /// Its scale becomes part of alpha there. `PeftModel.from_pretrained` reads the folder where the base is a published model.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// m.save("base");
    /// model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2 } }).adapter.save("tuned");
    /// model::load("base", #{ adapter: "tuned" }).adapter  //=> adapter tuned: rank 2, 6 modules
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, a: &mut Adapter, path: &str) -> Fallible<()> {
        let env = env(&ctx)?;
        a.core.save(&env.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(())
    }

    /// Returns what the adapter is, as a map: its name and that of its base, rank, alpha, scale, and the names of what it
    /// changes.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[1, 2, 3, 1]], #{ steps: 5, lora: #{ rank: 2, modules: ["mlp.up"] } });
    /// tuned.adapter.to_map().modules  //=> ["blocks.0.mlp.up"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(a: &mut Adapter) -> Fallible<Dynamic> {
        Ok(mapped(a)?)
    }
}
