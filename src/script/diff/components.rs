//! `diff::differences` and `diff::components`: differences at every token, and their principal components.

use super::{names, rows};
use crate::diff::{DiffText, DifferenceComponents as Core, ModelPair, components as principal, differences as of_rows};
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

crate::options! {
    /// A call of principal components of differences.
    pub struct ComponentsCall {
        /// Number of components, those of the largest variance; by default at most 10.
        components: Option<usize> = None => usually("10").at_least(1.0);
        with extent: DiffText;
    }
}

/// The default number of components.
const USUAL: usize = 10;

/// Principal components of the differences of two models.
#[derive(Clone)]
pub struct DifferenceComponents {
    core: Rc<Core>,
    tuned: Model,
}

impl Handle for DifferenceComponents {
    const NAME: &'static str = "DifferenceComponents";

    fn short(&self) -> String {
        format!("{} of differences at {}", count(self.core.shares.len(), "component"), self.core.place)
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.core.table().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({
            "site": self.core.place.to_string(),
            "share of the mean": number(self.core.share_of_mean),
            "components": self.core.table().data()?,
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Returns the difference of the activations of two models, tuned less base, at every token of a text, row after row:
    /// [positions, width].
    ///
    /// A dictionary of differences is fitted to it as to any activations: `sae::fit(x, #{ k: 8 })`.
    ///
    /// # Options
    /// - [diff_text]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let x = diff::differences(m, tuned, [[5, 6, 7], [8, 9]], "resid_post.0");
    /// x.shape  //=> [5, 8]
    /// sae::fit(x, #{ kind: "topk", k: 2, d_sae: 12, steps: 10, seed: 1 }).d_sae  //=> 12
    /// ```
    #[rhai_fn(return_raw)]
    pub fn differences(
        ctx: NativeCallContext,
        base: Model,
        tuned: Model,
        text: Any,
        site: &str,
        options: Options,
    ) -> Fallible<Tensor> {
        let options: DiffText = taken(options)?;
        let rows = rows(&ctx, &base, &tuned, &text, &options)?;
        Ok(of_rows(ModelPair::new(base.core(), tuned.core())?, &rows, site, &env(&ctx)?.task)?.x)
    }

    /// Computes the principal components of the differences of the activations of two models at every token of a text.
    ///
    /// `c.table` has the share of each component in the variance, `c.contexts(0, 5)` the positions at its two ends, and
    /// `c.tokens(0, 5)` the tokens that it raises and lowers. What all positions have in common is the mean, and in no
    /// component: `c.share_of_mean` is its share of the mean square, `diff::activations` looks at it.
    ///
    /// # Options
    /// - [diff_components]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 1, modules: "mlp.down" } });
    /// let c = diff::components(m, tuned, [[5, 6, 7], [8, 9]], "mlp_out.0", #{ components: 2 });
    /// c  //=> 2 components of differences at mlp_out.0
    /// c.table["share"][0] > 0.999  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn components(
        ctx: NativeCallContext,
        base: Model,
        tuned: Model,
        text: Any,
        site: &str,
        options: Options,
    ) -> Fallible<DifferenceComponents> {
        let ComponentsCall { components, extent } = taken(options)?;
        let rows = rows(&ctx, &base, &tuned, &text, &extent)?;
        let task = &env(&ctx)?.task;
        let found = of_rows(ModelPair::new(base.core(), tuned.core())?, &rows, site, task)?;
        let most = found.x.dims().last().copied().unwrap_or_default();
        let found = principal(found, Some(components.unwrap_or(USUAL.min(most))), task)?;
        Ok(DifferenceComponents { core: Rc::new(found), tuned })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the components as a dictionary, the largest variance first; its bias is the mean difference.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::components(m, m, [[5, 6, 7]], "resid_post.0", #{ components: 2 }).dictionary.d_sae  //=> 2
    /// ```
    #[rhai_fn(global, get = "dictionary", pure)]
    pub fn component_dictionary(found: &mut DifferenceComponents) -> Sae {
        found.core.dictionary.clone().into()
    }

    /// Returns the share of the mean difference in the mean square of all differences, which no component has.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::components(m, m, [[5, 6, 7]], "resid_post.0").share_of_mean  //=> 0.0
    /// ```
    #[rhai_fn(global, get = "share_of_mean", pure)]
    pub fn component_mean(found: &mut DifferenceComponents) -> f64 {
        found.core.share_of_mean
    }

    /// Tabulates components: the share of each in the variance, and the range of its codes.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::components(m, m, [[5, 6, 7]], "resid_post.0").table.columns  //=> ["component", "share", "lowest", "highest"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn component_table(found: &mut DifferenceComponents) -> Table {
        found.core.table()
    }

    /// Tabulates the `n` positions with the largest codes of a component, and then the `n` with the smallest.
    ///
    /// The sign of a component says nothing: either end may be what was learnt.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::components(m, m, [[5, 6, 7]], "resid_post.0").contexts(0, 1)["position"]  //=> [0, 2]
    /// ```
    #[rhai_fn(global, name = "contexts", pure, return_raw)]
    pub fn component_contexts(found: &mut DifferenceComponents, component: Int, n: Int) -> Fallible<Table> {
        let component = given("component", &component).size()?;
        Ok(found.core.contexts(component, given("n", &n).size()?, &names(&found.tuned))?)
    }

    /// Tabulates the `n` tokens that a component raises most and those that it lowers most, through the weights of the
    /// final norm and the unembedding of the tuned model.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::components(m, m, [[5, 6, 7]], "resid_post.0").tokens(0, 3).len  //=> 3
    /// ```
    #[rhai_fn(global, name = "tokens", pure, return_raw)]
    pub fn component_tokens(found: &mut DifferenceComponents, component: Int, n: Int) -> Fallible<Table> {
        let component = given("component", &component).size()?;
        let n = given("n", &n).size()?;
        Ok(found.core.tokens(found.tuned.core(), component, n, &names(&found.tuned))?)
    }

    /// Returns components as a map: the site, the share of the mean, and the numbers of each component.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::components(m, m, [[5, 6, 7]], "resid_post.0").to_map().site  //=> "resid_post.0"
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn component_map(found: &mut DifferenceComponents) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
