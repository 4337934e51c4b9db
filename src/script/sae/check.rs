//! Checks of whether a dictionary fits a model, in one line.

use crate::sae::check::{Checked, check_on};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;

impl Handle for Checked {
    const NAME: &'static str = "Checked";

    fn short(&self) -> String {
        self.to_string()
    }

    fn shown(&self, _screen: &Screen) -> Result<String> {
        Ok(self.to_string())
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({
            "fits": self.fits(), "site": self.place, "fve": number(self.explained.fve), "l0": number(self.explained.l0),
            "stated_l0": self.l0, "wrong": self.word(), "line": self.to_string(),
        }))
    }
}

fn checked(ctx: &NativeCallContext, s: &Sae, m: &Model, text: Option<&Text>, options: Options) -> Fallible<Checked> {
    Ok(check_on(&s.core, m.core(), text, &taken(options)?, &env(ctx)?.task)?)
}

#[export_module(manifest)]
pub mod methods {
    /// Says whether a dictionary fits a model, in one line: measured on a short text of ours, or on the first tokens of
    /// another one.
    ///
    /// Where it does not explain what it should, the check tries what is usually wrong. It says which other site it fits;
    /// which constant its inputs are to be multiplied by; that it is a TopK dictionary which was read as ReLU; or that it
    /// was not fitted on the first token of a text, which is BOS in most models. FVE and L0 are without first tokens; the
    /// L0 behind "of" is the one that the dictionary was published with. `sae::load` checks a dictionary so where it is
    /// given a model.
    ///
    /// # Options
    /// - [check_dictionary]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "be to not or"]);
    /// sae::identity(8).check_on(m, text, #{ site: "resid_post.0" })  //=> fits resid_post.0: FVE 1.00, L0 8
    /// ```
    #[rhai_fn(global, name = "check_on", pure, return_raw)]
    pub fn check_on_text(
        ctx: NativeCallContext,
        s: &mut Sae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Checked> {
        super::checked(&ctx, s, &m, Some(&text), options)
    }

    #[rhai_fn(global, name = "check_on", pure, return_raw)]
    pub fn check_on_ours(ctx: NativeCallContext, s: &mut Sae, m: Model, options: Options) -> Fallible<Checked> {
        super::checked(&ctx, s, &m, None, options)
    }

    /// Returns whether the dictionary fits; one that was not fitted on first tokens does.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// sae::identity(m.config.d_model).check_on(m, #{ site: "resid_post.3" }).fits  //=> true
    /// ```
    #[rhai_fn(global, get = "fits", pure)]
    pub fn fits(check: &mut Checked) -> bool {
        check.fits()
    }

    /// Returns what is wrong: "site", "scale", "topk", "first" or "unknown"; () where nothing is.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// sae::random(m.config.d_model, 400, #{ k: 4 }).check_on(m, #{ site: "resid_post.3" }).wrong  //=> "unknown"
    /// ```
    #[rhai_fn(global, get = "wrong", pure)]
    pub fn wrong(check: &mut Checked) -> Dynamic {
        check.word().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns the fraction of variance that the dictionary explains at its site, without the first token of each text.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// sae::identity(m.config.d_model).check_on(m, #{ site: "resid_post.3" }).fve  //=> 1.0
    /// ```
    #[rhai_fn(global, get = "fve", pure)]
    pub fn fve(check: &mut Checked) -> f64 {
        check.explained.fve
    }

    /// Returns the number of features that are active at a token, on average.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// sae::random(m.config.d_model, 400, #{ k: 4 }).check_on(m, #{ site: "resid_post.3" }).l0 <= 4.0  //=> true
    /// ```
    #[rhai_fn(global, get = "l0", pure)]
    pub fn l0(check: &mut Checked) -> f64 {
        check.explained.l0
    }

    /// Returns the check as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// sae::identity(m.config.d_model).check_on(m, #{ site: "resid_post.3" }).to_map().site  //=> "resid_post.3"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(check: &mut Checked) -> Fallible<Dynamic> {
        Ok(mapped(check)?)
    }
}
