//! A model's config, sites and weights.

use crate::checkpoint::formats::lens;
use crate::model::config::Config;
use crate::model::site::{self, Place, Site, SiteKind};
use crate::script::model::Model;
use crate::script::prelude::*;

/// Lists the places that one name or several stand for.
pub fn places(config: &Config, sites: &Dynamic) -> Result<Vec<Place>> {
    site::places(config, &given("sites", sites).texts()?)
}

/// Reads the indices of a layer and of a head in it.
fn head(config: &Config, layer: &Dynamic, head: &Dynamic) -> Result<(usize, usize)> {
    let layer = given("layer", layer).index(config.layers, "a model", "layer")?;
    Ok((layer, given("head", head).index(config.heads, "a layer", "head")?))
}

fn named(places: impl IntoIterator<Item = impl ToString>) -> Array {
    places.into_iter().map(|place| Dynamic::from(place.to_string())).collect()
}

/// Tabulates every kind of site that models of this config have, with its activation.
fn meanings(config: &Config) -> Table {
    let row = |kind: SiteKind| -> Vec<Cell> {
        let layer = if kind.in_blocks() { ".N" } else { "" };
        let lens = kind.lens_name().replace("{}", "N");
        vec![format!("{}{layer}", kind.name()).into(), kind.meaning().into(), lens.into()]
    };
    Table::new(
        "",
        ["site", "what flows there", "in TransformerLens"],
        SiteKind::all().filter(|kind| kind.exists(config)).map(row),
    )
}

fn parameters(config: &Config) -> Result<Table> {
    let row = |(name, shape): (String, Vec<usize>)| -> Vec<Cell> {
        let count: usize = shape.iter().product();
        vec![name.into(), format!("{shape:?}").into(), count.into()]
    };
    Ok(Table::new("", ["name", "shape", "count"], config.parameters()?.into_iter().map(row)))
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the model's config as a map: its family, its sizes, and all that the computation depends on.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// [m.config.family, m.config.layers, m.config.d_head]  //=> ["microtome", 2, 4]
    /// ```
    #[rhai_fn(global, get = "config", pure, return_raw)]
    pub fn config(m: &mut Model) -> Fallible<Dynamic> {
        Ok(m.config_data()?)
    }

    /// Lists the names of all sites of the model, in the order of the computation, or of those that a pattern names.
    ///
    /// `resid_post.3` is one site, `resid_post.*` that of every layer, `mlp_out.2-4` those of some, `z.3.5` one head,
    /// `resid_post.-1` that of the last layer. TransformerLens' names, `blocks.3.hook_resid_post`, are accepted, too.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.sites("resid_post.*")  //=> ["resid_post.0", "resid_post.1"]
    /// m.sites(["blocks.1.attn.hook_z", "z.0.*"])  //=> ["z.1", "z.0.0", "z.0.1"]
    /// m.sites()[0]  //=> "embed"
    /// ```
    #[rhai_fn(global, pure)]
    pub fn sites(m: &mut Model) -> Array {
        super::named(Site::all(m.config()))
    }

    #[rhai_fn(global, name = "sites", pure, return_raw)]
    pub fn sites_of(m: &mut Model, sites: Any) -> Fallible<Array> {
        Ok(super::named(super::places(m.config(), &sites)?))
    }

    /// Returns a table of the kinds of sites that the model has: the activation at each, and its name in
    /// TransformerLens.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.site_table().columns  //=> ["site", "what flows there", "in TransformerLens"]
    /// ```
    #[rhai_fn(global, pure)]
    pub fn site_table(m: &mut Model) -> Table {
        super::meanings(m.config())
    }

    /// Returns a table of the names, shapes and sizes of the model's weights.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.parameters.to_map().rows[0]  //=> ["embed", "[10, 8]", 80]
    /// ```
    #[rhai_fn(global, get = "parameters", pure, return_raw)]
    pub fn parameters(m: &mut Model) -> Fallible<Table> {
        Ok(super::parameters(m.config())?)
    }

    /// Returns a weight by its name, as `m.parameters` lists them; matrices are [out, in].
    ///
    /// TransformerLens' names are accepted, too, and give the same as there without folding: `W_E`, `W_pos` and `W_U`,
    /// `blocks.0.attn.W_Q` as [heads, d_model, d_head], `blocks.0.mlp.W_in` as [d_model, d_mlp]; `W_Q` alone has all
    /// layers. With grouped-query attention, `W_K` repeats the keys for each query head, and `_W_K` does not.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.weight("blocks.0.attn.q.weight").shape  //=> [8, 8]
    /// m.weight("blocks.0.attn.W_Q").shape  //=> [2, 8, 4]
    /// m.weight("W_U").shape  //=> [8, 10]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn weight(m: &mut Model, name: &str) -> Fallible<Tensor> {
        let weights = m.decoder().weights();
        match lens::weight(weights, m.config(), name)? {
            Some(weight) => Ok(weight),
            None => {
                let found = weights.get_beside(m.config(), name, || lens::names(m.config()));
                Ok(found.map_err(|e| e.about("name"))?)
            }
        }
    }

    /// Computes the QK circuit of a head, W_Q W_K^T: [d_model, d_model] (Elhage et al. 2021).
    ///
    /// With normed residual streams as rows, the score of key x for query y is `y @ m.qk(layer, head) @ x`, before scaling
    /// and without biases, norms of queries and keys, and rotary positions. With grouped-query attention the keys are those
    /// of this head's group. Negative numbers count from the end.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.qk(0, 1).all_close(m.weight("blocks.0.attn.W_Q")[1] @ m.weight("blocks.0.attn.W_K")[1].transpose())  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn qk(m: &mut Model, layer: Int, head: Int) -> Fallible<Tensor> {
        let (layer, head) = super::head(m.config(), &layer, &head)?;
        Ok(m.decoder().weights().qk(m.config(), layer, head)?)
    }

    /// Computes the OV circuit of a head, W_V W_O: [d_model, d_model] (Elhage et al. 2021).
    ///
    /// A normed residual stream x as a row, attended to with weight 1, adds `x @ m.ov(layer, head)`, without biases and norms
    /// of values. With grouped-query attention the values are those of this head's group. Negative numbers count from the end.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.ov(0, 1).all_close(m.weight("blocks.0.attn.W_V")[1] @ m.weight("blocks.0.attn.W_O")[1])  //=> true
    /// let copies = m.weight("W_E") @ m.ov(0, 1) @ m.weight("W_U");
    /// copies.shape  //=> [10, 10]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ov(m: &mut Model, layer: Int, head: Int) -> Fallible<Tensor> {
        let (layer, head) = super::head(m.config(), &layer, &head)?;
        Ok(m.decoder().weights().ov(m.config(), layer, head)?)
    }

    /// Returns the origin of the model and its config, as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.to_map().config.vocab  //=> 10
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(m: &mut Model) -> Fallible<Dynamic> {
        Ok(mapped(m)?)
    }
}
