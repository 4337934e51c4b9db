//! Readings of a fitted lens and of the logit lens on the same texts.

use super::lens::Lens;
use crate::model::reading::fitted::LensKind;
use crate::model::reading::lens::LOGIT_LENS;
use crate::script::prelude::*;

/// A fitted lens beside the logit lens, on the same texts.
#[derive(Clone)]
pub struct BothLenses {
    pub kind: LensKind,
    pub fitted: Lens,
    pub logit: Lens,
}

impl Item for BothLenses {
    fn kind(&self) -> &'static str {
        "lenses"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok([self.fitted.terminal(screen)?, self.logit.terminal(screen)?].join("\n"))
    }

    fn html(&self) -> Result<String> {
        Ok([self.fitted.html()?, self.logit.html()?].concat())
    }

    fn data(&self) -> Result<Value> {
        Ok(json!({ "fitted": self.fitted.data()?, "logit": self.logit.data()? }))
    }
}

handle!(BothLenses, "BothLenses", |both| format!("{} and {LOGIT_LENS}: {}", both.kind.name(), both.fitted.short()));

#[export_module(manifest)]
pub mod parts {
    /// Returns the readings of the fitted lens.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.fitted.grid()  //=> grid of 2 by 2 "Jacobian lens"
    /// ```
    #[rhai_fn(global, get = "fitted", pure)]
    pub fn fitted(both: &mut BothLenses) -> Lens {
        both.fitted.clone()
    }

    /// Returns the readings of the logit lens in the same run.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.logit.grid()  //=> grid of 2 by 2 "logit lens"
    /// ```
    #[rhai_fn(global, get = "logit", pure)]
    pub fn logit(both: &mut BothLenses) -> Lens {
        both.logit.clone()
    }

    /// Saves both lenses as .json, .txt or .html, by the ending of the name. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.save("doc/lenses.html").ends_with("lenses.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_both(ctx: NativeCallContext, both: &mut BothLenses, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, both, path)?)
    }

    /// Returns the data of both lenses, as `to_map` of one lens gives it.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.to_map().fitted.sites  //=> ["resid_post.0", "resid_post.1"]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn both_map(both: &mut BothLenses) -> Fallible<Dynamic> {
        Ok(mapped(both)?)
    }
}
