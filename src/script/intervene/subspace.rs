//! `subspace::das`, and the subspace that it finds.

use super::pairs::{maps, text, token};
use crate::intervene::subspace::{self as core, DasOptions, Interchange};
use crate::script::model::prelude::*;

/// A subspace that was found.
#[derive(Clone)]
pub struct Subspace(Arc<core::Subspace>);

impl Handle for Subspace {
    const NAME: &'static str = "Subspace";

    fn short(&self) -> String {
        format!("subspace of {} of {} dimensions at {}", self.0.dimension(), self.0.width(), self.0.place)
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.0.table().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let losses: Value = self.0.losses.iter().map(|loss| number(*loss)).collect();
        Ok(json!({
            "site": self.0.place.to_string(),
            "pos": self.0.pos,
            "k": self.0.dimension(),
            "accuracies": self.0.table().data()?,
            "losses": losses,
        }))
    }
}

fn pairs(ctx: &NativeCallContext, m: &Model, pairs: &Dynamic) -> Result<Vec<Interchange>> {
    let pair = |(number, map): (usize, Map)| {
        Ok(Interchange {
            base: text(ctx, m, &map, "base", number)?,
            source: text(ctx, m, &map, "source", number)?,
            answer: token(ctx, m, &map, "answer", number)?,
        })
    };
    maps(pairs)?.into_iter().map(pair).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// Searches the subspace of a site that carries a variable: distributed alignment search (Geiger et al. 2023), or with
    /// `boundless` also its dimension (Wu et al. 2023).
    ///
    /// `pairs` is an array of maps: a `base`, a `source`, and the `answer`, the token that comes next if the base has the
    /// variable of the source. At one position the part of the base's activation b that lies in the subspace is replaced
    /// by that of the source s: b + (s - b) R R^T, with the orthonormal columns of R, which are fitted to the answers. The
    /// result shows the share of held-out pairs whose likeliest token is the answer, beside a random subspace of as many
    /// dimensions, the whole activation, and no interchange. Ctrl-C ends the search with the basis so far.
    ///
    /// A `basis` of your own, such as pyvene's, is where the search begins; with `steps: 0` it is judged as it is.
    ///
    /// # Options
    /// - [das]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let pairs = (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i });
    /// let found = subspace::das(m, pairs, #{ site: "resid_post.0", k: 2, steps: 5 });
    /// found  //=> subspace of 2 of 8 dimensions at resid_post.0
    /// (found.basis.transpose() @ found.basis).all_close(tensor::eye(2), #{ atol: 1e-5 })  //=> true
    /// let own = tensor::eye(8)[[":", 0..2]];
    /// subspace::das(m, pairs, #{ site: "resid_post.0", basis: own, steps: 0 }).table["pairs"]  //=> [8, 8, 8, 8]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn das(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Subspace> {
        let options: DasOptions = taken(options)?;
        let pairs = super::pairs(&ctx, &m, &pairs)?;
        let env = env(&ctx)?;
        let found = env.drawing(&ctx, "subspace::das", options.seed, |seed| {
            core::das(&m.core().decoder, &pairs, &DasOptions { seed, ..options }, &env.task)
        })?;
        Ok(Subspace(found.into()))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the orthonormal columns of the subspace: [d, k].
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let pairs = (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i });
    /// subspace::das(m, pairs, #{ site: "resid_post.0", steps: 2 }).basis.shape  //=> [8, 1]
    /// ```
    #[rhai_fn(global, get = "basis", pure)]
    pub fn basis(found: &mut Subspace) -> Tensor {
        found.0.basis.clone()
    }

    /// Tabulates the interchange accuracy on held-out pairs, with 95 % intervals, beside the controls.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let pairs = (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i });
    /// let found = subspace::das(m, pairs, #{ site: "resid_post.0", steps: 2 });
    /// found.table["interchanged"]  //=> ["subspace", "random subspace", "whole activation", "nothing"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(found: &mut Subspace) -> Table {
        found.0.table()
    }

    /// Returns the loss of each step: [steps].
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let pairs = (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i });
    /// subspace::das(m, pairs, #{ site: "resid_post.0", steps: 3 }).losses.shape  //=> [3]
    /// ```
    #[rhai_fn(global, get = "losses", pure, return_raw)]
    pub fn losses(found: &mut Subspace) -> Fallible<Tensor> {
        Ok(Tensor::new(found.0.losses.as_slice(), &Device::Cpu).map_err(crate::base::Error::from)?)
    }

    /// Computes the share of other pairs whose answer is the likeliest token after the interchange.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let pairs = (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i });
    /// let found = subspace::das(m, pairs, #{ site: "resid_post.0", steps: 2 });
    /// found.accuracy(m, pairs) >= 0  //=> true
    /// ```
    #[rhai_fn(global, name = "accuracy", pure, return_raw)]
    pub fn interchange_accuracy(ctx: NativeCallContext, found: &mut Subspace, m: Model, pairs: Any) -> Fallible<f64> {
        let pairs = super::pairs(&ctx, &m, &pairs)?;
        Ok(found.0.accuracy(&m.core().decoder, &pairs, &env(&ctx)?.task)?.share())
    }

    /// Returns the site, the position, the dimension, the accuracies and the losses, as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let pairs = (0..8).map(|i| #{ base: [1, i], source: [2, 9 - i], answer: 9 - i });
    /// subspace::das(m, pairs, #{ site: "resid_post.0", steps: 2 }).to_map().k  //=> 1
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn subspace_map(found: &mut Subspace) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
