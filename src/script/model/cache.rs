//! Recorded activations as scripts hold them; or gradients, with the value of their metric.

use super::properties::places;
use super::{InputOptions, MeanOptions, RecordOptions};
use crate::model::cache::Cache as Core;
use crate::model::grads::MetricGradients;
use crate::model::run::Ask;
use crate::model::site::{NAME_ONE, Place, one_site};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::tensor::files::{FileContent, NamedTensors, save as write_file};

#[derive(Clone)]
pub struct Cache {
    activations: Arc<Core>,
    /// The value of the metric, where these are gradients.
    value: Option<f64>,
}

impl From<Core> for Cache {
    fn from(cache: Core) -> Self {
        Self { activations: Arc::new(cache), value: None }
    }
}

impl From<MetricGradients> for Cache {
    fn from(gradients: MetricGradients) -> Self {
        Self { activations: Arc::new(gradients.cache), value: Some(gradients.value) }
    }
}

impl Cache {
    pub fn activations(&self) -> &Arc<Core> {
        &self.activations
    }

    /// Returns the activation at a place, NaN after the end of each text; a gradient is 0 there.
    fn seen(&self, place: Place, recorded: &Tensor) -> Result<Tensor> {
        if self.value.is_some() { Ok(recorded.clone()) } else { self.activations.blanked(place, recorded) }
    }

    /// Iterates over all recorded activations, in the order of the computation.
    fn all(&self) -> impl Iterator<Item = Result<(Place, Tensor)>> + '_ {
        self.activations.iter().map(|(place, recorded)| Ok((*place, self.seen(*place, recorded)?)))
    }

    /// Returns the activation at the place with this name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        let place = self.activations.named(name)?;
        self.seen(place, &self.activations.at(place)?)
    }

    /// Returns the tensors under the names that TransformerLens gives their sites, which other tools read.
    pub fn named(&self) -> Result<NamedTensors> {
        let name = |place: Place| match place.head {
            Some(head) => format!("{}.{head}", place.site.lens_name()),
            None => place.site.lens_name(),
        };
        let lengths: Vec<String> = self.activations.lengths().iter().map(usize::to_string).collect();
        Ok(NamedTensors {
            tensors: self
                .all()
                .map(|entry| entry.map(|(place, tensor)| (name(place), tensor)))
                .collect::<Result<_>>()?,
            metadata: BTreeMap::from([("lengths".into(), lengths.join(","))]),
        })
    }

    /// Tabulates what was recorded, with its shapes. Layers that follow each other and are alike share a row.
    pub fn table(&self, title: String) -> Table {
        let mut alike: Vec<SiteRange> = Vec::new();
        for (place, tensor) in self.activations.iter() {
            match alike.iter_mut().find(|row| row.goes_on_with(place, tensor)) {
                Some(row) => row.last = place.site.layer,
                None => alike.push(SiteRange { first: place, last: place.site.layer, tensor }),
            }
        }
        let columns = ["site", "shape", "dtype"];
        Table::new(title, columns, alike.iter().map(SiteRange::cells))
    }

    /// Returns the tensors under the names of this program.
    pub fn map(&self) -> Result<Map> {
        let named = |(place, tensor): (Place, Tensor)| (place.to_string().into(), Dynamic::from(tensor));
        self.all().map(|entry| entry.map(named)).collect()
    }
}

/// One place in several layers that follow each other.
struct SiteRange<'a> {
    first: &'a Place,
    last: usize,
    tensor: &'a Tensor,
}

impl SiteRange<'_> {
    fn goes_on_with(&self, place: &Place, tensor: &Tensor) -> bool {
        let same = (self.first.site.kind, self.first.head) == (place.site.kind, place.head);
        let shaped = self.tensor.dims() == tensor.dims() && self.tensor.dtype() == tensor.dtype();
        same && shaped && self.last + 1 == place.site.layer
    }

    /// Returns the cells of a row, whose name is one that `m.sites` takes.
    fn cells(&self) -> Vec<Cell> {
        let place = self.first;
        let head = self.first.head.map(|head| format!(".{head}")).unwrap_or_default();
        let name = match place.site.layer {
            first if first == self.last => place.to_string(),
            first => format!("{}.{first}-{}{head}", place.site.kind.name(), self.last),
        };
        vec![name.into(), format!("{:?}", self.tensor.dims()).into(), self.tensor.dtype().as_str().into()]
    }
}

impl Handle for Cache {
    const NAME: &'static str = "Cache";

    fn short(&self) -> String {
        let what = if self.value.is_some() { "gradients at" } else { "cache of" };
        let sites = self.activations.len();
        let texts = self.activations.lengths().len();
        format!("{what} {}, {}", count(sites, "site"), count(texts, "text"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.table(self.short()).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let fields = self.all().map(|entry| entry.and_then(|(place, tensor)| Ok((place.to_string(), tensor.json()?))));
        fields.collect::<Result<serde_json::Map<_, _>>>().map(Value::Object)
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(self.table(self.short()))))
    }
}

pub fn save(env: &Env, path: &str, named: NamedTensors) -> Result<()> {
    write_file(&env.files, Path::new(path), &FileContent::Named(named), &env.task).map_err(|e| e.about("path"))
}

#[export_module(manifest)]
pub mod methods {
    /// Runs the model up to the last of some sites and records their activations.
    ///
    /// `cache["resid_post.3"]` is the activation of a site, mostly [batch, pos, d_model]; `m.site_table()` lists the
    /// sites. Nothing after the last site is computed. Where texts have different lengths, activations after the end of a
    /// shorter one are NaN; only attention patterns are 0 on keys there. `cache.mean` and hooks ignore these positions.
    ///
    /// # Options
    /// - [record]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let cache = m.cache([[1, 2, 3], [4, 5]], ["resid_post.*", "z.0.1"]);
    /// cache.names()  //=> ["z.0.1", "resid_post.0", "resid_post.1"]
    /// cache["resid_post.1"].shape  //=> [2, 3, 8]
    /// m.cache([1, 2, 3], "embed", #{ pos: -1 })["embed"].shape  //=> [1, 1, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn cache(ctx: NativeCallContext, m: &mut Model, x: Any, sites: Any, options: Options) -> Fallible<Cache> {
        let (asked, RecordOptions { pos: positions }) = taken_both::<InputOptions, _>(options)?;
        let places = super::places(m.config(), &sites)?;
        let input = asked.input(&ctx, m, &x)?;
        asked
            .run(&ctx, m, |hooks, task| m.decoder().cache(&input.batch, Ask { hooks, places, positions }, task))
            .map(Cache::from)
    }

    /// Returns the names of the recorded sites, in the order of the computation.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.cache([1, 2, 3], "mlp_out.*").names()  //=> ["mlp_out.0", "mlp_out.1"]
    /// ```
    #[rhai_fn(global, pure)]
    pub fn names(cache: &mut Cache) -> Array {
        cache.activations().iter().map(|(place, _)| Dynamic::from(place.to_string())).collect()
    }

    /// Returns the number of tokens of each text.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.cache([[1, 2, 3], [4, 5]], "embed").lengths  //=> [3, 2]
    /// ```
    #[rhai_fn(global, get = "lengths", pure)]
    pub fn lengths(cache: &mut Cache) -> Array {
        cache.activations().lengths().iter().map(|length| Dynamic::from(*length as i64)).collect()
    }

    /// Returns the value of the metric that `m.grads` differentiated.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.grads([1, 2], |logits| logits.sum() * 0, "embed").value  //=> 0.0
    /// ```
    #[rhai_fn(global, get = "value", pure, return_raw)]
    pub fn value(cache: &mut Cache) -> Fallible<Num> {
        let value = cache
            .value
            .ok_or_else(|| err!(Argument, "this cache has no value: it has activations, not gradients of a metric"));
        Ok(value?.into())
    }

    /// Returns the activation of a site; TransformerLens' names are accepted, too.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let cache = m.cache([1, 2, 3], "z.0");
    /// cache["z.0"].shape  //=> [1, 3, 2, 4]
    /// cache["z.0.1"].equal(cache["blocks.0.attn.hook_z"][[":", ":", 1]])  //=> true
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(cache: &mut Cache, site: &str) -> Fallible<Tensor> {
        // The engine asks for unknown properties as an index.
        let names = matches!(site, "names" | "sites").then(|| "the names of its sites are `.names()`".into());
        Ok(cache.get(site).map_err(|e| e.maybe_hint(names))?)
    }

    /// Returns the mean activation of a site over all texts and positions: [1, 1, ..].
    ///
    /// The padding of shorter texts is ignored.
    ///
    /// # Options
    /// - [cache_mean]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let cache = m.cache([[1, 2, 3], [4, 5]], "embed");
    /// cache.mean("embed").shape  //=> [1, 1, 8]
    /// cache.mean("embed", #{ by_position: true })[0][2].all_close(cache["embed"][0][2])  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn mean(cache: &mut Cache, site: &str, options: Options) -> Fallible<Tensor> {
        let MeanOptions { by_position } = taken(options)?;
        let place = one_site(cache.activations().config(), site, NAME_ONE)?;
        Ok(cache.activations().mean(place, by_position)?)
    }

    /// Saves the recorded tensors as .safetensors or .npz, under TransformerLens' names, which other tools read.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.cache([1, 2, 3], "resid_post.0").save("cache.safetensors");
    /// tensor::load("cache.safetensors").keys()  //=> ["blocks.0.hook_resid_post"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, cache: &mut Cache, path: &str) -> Fallible<()> {
        Ok(super::save(&*env(&ctx)?, path, cache.named()?)?)
    }

    /// Returns the recorded tensors, by the names of their sites.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.cache([1, 2, 3], "embed").to_map().embed.shape  //=> [1, 3, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(cache: &mut Cache) -> Fallible<Map> {
        Ok(cache.map()?)
    }
}
