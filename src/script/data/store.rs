//! Stores of activations: opening them, and their methods.

use crate::data::store::{self, ModelMark};
use crate::script::model::prelude::*;

/// Activations on disk, and the folder as the script named it.
#[derive(Clone)]
pub struct Store {
    pub core: Arc<store::Store>,
    pub folder: PathBuf,
}

impl Store {
    /// Returns the fields of the store's card: how it was made, and where it is.
    fn fields(&self) -> [(&'static str, Cell); 11] {
        let made = self.core.made();
        let text = made.text.get("name").and_then(Value::as_str).unwrap_or_default();
        // Scripts write seeds of 2^63 and more as negative ones.
        let seed = made.text.get("seed").and_then(Value::as_u64).map(u64::cast_signed);
        [
            ("model", made.model.origin.to_string().into()),
            ("weights", made.model.weights.as_str().into()),
            ("sites", self.core.site_names().join(", ").into()),
            ("text", text.into()),
            ("seed", seed.into()),
            ("context", made.context.into()),
            ("rows", self.core.len().cast_signed().into()),
            ("dtype", made.dtype.as_str().into()),
            ("tokens", self.core.progress().tokens.as_str().into()),
            ("made by", made.by.as_str().into()),
            ("folder", self.folder.display().to_string().into()),
        ]
    }
}

impl Handle for Store {
    const NAME: &'static str = "Store";

    fn short(&self) -> String {
        let rows = usize::try_from(self.core.len()).unwrap_or(usize::MAX);
        format!("store of {} at {}", count(rows, "row"), self.core.site_names().join(", "))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        Card::new(self.short(), self.fields()).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({
            "folder": self.folder.display().to_string(), "rows": self.core.len(), "made": self.core.made(),
            "identity": self.core.identity(),
        }))
    }
}

impl GivenModel {
    pub fn model(&self) -> &Model {
        &self.0
    }
}

handle_setting!(GivenModel(Model), "a model", |model| model.core().name().to_string());

crate::options! {
    #[derive(Clone)]
    pub struct ExpectedModel {
        /// Model whose activations are expected; a store of another model is refused.
        model: Option<GivenModel> = None => usually("any");
    }
}

/// Reads a range of rows from two arguments; negative numbers count from the end.
fn range(s: &Store, from: &Int, to: &Int) -> Result<std::ops::Range<u64>> {
    let length = s.core.len().cast_signed();
    let at = |name: &str, value: &Int| -> Result<u64> {
        let given = given(name, value);
        let found = given.integer()?;
        let found = if found < 0 { found.saturating_add(length) } else { found };
        u64::try_from(found).map_err(|_| given.refuse("a row of the store"))
    };
    Ok(at("from", from)?..at("to", to)?)
}

#[export_module(manifest)]
pub mod functions {
    /// Opens a store of activations that `data::harvest` made. Shards whose length or shape has changed are refused;
    /// `verify` compares their hashes. The folder may be in object storage, `s3://bucket/folder`, of which only the rows
    /// in use are asked for.
    ///
    /// # Options
    /// - [store]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// data::harvest(m, "z.0", data::texts(["to be or not to be"]), #{ dir: "activations" });
    /// data::store("activations")  //=> store of 16 rows at z.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn store(ctx: NativeCallContext, folder: &str, options: Options) -> Fallible<Store> {
        let env = env(&ctx)?;
        let options: ExpectedModel = taken(options)?;
        let core = store::Store::open(&env.files, Path::new(folder)).map_err(|e| e.about("folder"))?;
        if let Some(GivenModel(model)) = options.model {
            let mark = ModelMark::of(model.core(), &env.task)?;
            core.expect_model(&mark).map_err(|e| e.within(folder).about("model"))?;
        }
        Ok(Store { core, folder: folder.into() })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the sites that the store holds, in the order of the computation.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = data::harvest(m, ["resid_post.0", "z.0"], data::texts(["to be or not to be"]), #{ dir: "a" });
    /// s.sites  //=> ["z.0", "resid_post.0"]
    /// ```
    #[rhai_fn(global, get = "sites", pure)]
    pub fn sites(s: &mut Store) -> Array {
        s.core.site_names().into_iter().map(Dynamic::from).collect()
    }

    /// Returns the number of positions in the store.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// data::harvest(m, "z.0", data::texts(["to be or not to be"]), #{ dir: "a", without_first: 4 }).rows  //=> 12
    /// ```
    #[rhai_fn(global, get = "rows", pure)]
    pub fn rows(s: &mut Store) -> i64 {
        s.core.len().cast_signed()
    }

    /// Returns the dtype of the store's shards; they are read as "f32".
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// data::harvest(m, "z.0", data::texts(["to be or not to be"]), #{ dir: "a", dtype: "bf16" }).dtype  //=> "bf16"
    /// ```
    #[rhai_fn(global, get = "dtype", pure)]
    pub fn dtype(s: &mut Store) -> String {
        s.core.made().dtype.clone()
    }

    /// Returns statistics of the activations of each site, as the model computed them: width, root mean square norm,
    /// norm of the mean, variance (the mean of |x - mean|^2), and the largest |x_i|.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = data::harvest(m, "z.0", data::texts(["to be or not to be"]), #{ dir: "a" });
    /// s.statistics().columns  //=> ["site", "width", "norm", "norm of the mean", "variance", "largest"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn statistics(s: &mut Store) -> Fallible<Table> {
        let columns = ["site", "width", "norm", "norm of the mean", "variance", "largest"];
        let row = |site: String| -> Result<Vec<Cell>> {
            let found = s.core.statistics(&site)?;
            let mean = found.mean.iter().map(|x| x * x).sum::<f64>().sqrt();
            let norm = found.mean_square_norm.sqrt();
            Ok(vec![
                site.into(),
                found.mean.len().into(),
                norm.into(),
                mean.into(),
                found.variance().into(),
                found.max.into(),
            ])
        };
        let rows = s.core.site_names().into_iter().map(row).collect::<Result<Vec<_>>>()?;
        Ok(Table::new(s.short(), columns, rows))
    }

    /// Compares the hash of every shard with the manifest; an error names the one that has changed.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// data::harvest(m, "z.0", data::texts(["to be or not to be"]), #{ dir: "a" }).verify()  //=> ()
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn verify(ctx: NativeCallContext, s: &mut Store) -> Fallible<()> {
        Ok(s.core.verify(&env(&ctx)?.task)?)
    }

    /// Reads the activations of a site in the rows `from` to `to`, the last not included, in the order of the text:
    /// `[rows, d]`.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = data::harvest(m, "resid_post.0", data::texts(["to be or not to be"]), #{ dir: "a" });
    /// s.activations("resid_post.0", 2, 5).shape  //=> [3, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn activations(ctx: NativeCallContext, s: &mut Store, site: &str, from: Int, to: Int) -> Fallible<Tensor> {
        let range = range(s, &from, &to)?;
        let mut found = s.core.read(&[site], range, &env(&ctx)?.task)?;
        let x = found.activations.pop();
        Ok(x.ok_or_else(|| err!(Bug, "rows of no site"))?)
    }

    /// Returns the origin of the rows `from` to `to`, the last not included: the `tokens` there, their `rows` in the
    /// packed text, and their `positions` in those.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = data::harvest(m, "z.0", data::texts(["to be or not to be"]), #{ dir: "a" });
    /// s.origins(2, 5).positions  //=> tensor([2, 3, 4], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn origins(ctx: NativeCallContext, s: &mut Store, from: Int, to: Int) -> Fallible<Map> {
        let range = range(s, &from, &to)?;
        // Tokens are the same for all sites.
        let site = s.core.site_names();
        let first: Vec<&str> = site.iter().take(1).map(String::as_str).collect();
        let found = s.core.read(&first, range, &env(&ctx)?.task)?;
        let numbers = |list: &[u32]| -> Result<Dynamic> {
            let list: Vec<i64> = list.iter().map(|x| i64::from(*x)).collect();
            Ok(Dynamic::from(Tensor::new(list, &Device::Cpu)?))
        };
        let fields = [("tokens", &found.tokens), ("rows", &found.rows), ("positions", &found.positions)];
        Ok(fields.into_iter().map(|(name, list)| Ok((name.into(), numbers(list)?))).collect::<Result<_>>()?)
    }
}
