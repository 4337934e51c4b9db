//! `s.recovery(toy)`: how well a dictionary has found features that are known.

use crate::sae::metrics;
use crate::script::prelude::*;
use crate::script::sae::Sae;
use crate::script::tensor::values;

/// Reads a tensor of the map that `data::toy` returns.
fn part(toy: &Map, name: &str) -> Result<Tensor> {
    let value = toy.get(name).ok_or_else(|| {
        err!(Argument, "expected toy activations with `{name}`, found none")
            .hint("`data::toy(\"synth\", #{ codes: true })` has the codes of all features, too")
            .about("toy")
    })?;
    values(name, value).map_err(|e| e.about("toy"))
}

#[export_module(manifest)]
pub mod methods {
    /// Measures how well a dictionary has found features that are known, as those of
    /// `data::toy("synth", #{ codes: true })`: a map with the tensors `x`, `codes` and `directions`.
    ///
    /// Returns a map: `f1`, `precision` and `recall`, means over the dictionary's features, each taken for the true one
    /// with the largest |cosine|; `mcc`, the mean |cosine| of the best one-to-one matching; the share of features that
    /// are the only ones, or the first, of their true one (`unique`); `l0`, `dead_share` and the number of `rows`
    /// (Chanin & Garriga-Alonso 2026).
    ///
    /// # Example
    /// ```
    /// let toy = data::toy("synth", #{ rows: 50, d: 8, features: 30, roots: 2, codes: true, seed: 1 });
    /// let found = sae::random(8, 12, #{ k: 2, seed: 1 }).recovery(toy);
    /// [found.l0, found.rows]  //=> [2.0, 50]
    /// found.mcc > 0 && found.mcc < 1  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn recovery(ctx: NativeCallContext, s: &mut Sae, toy: Map) -> Fallible<Map> {
        let [x, codes, directions] = ["x", "codes", "directions"].map(|name| super::part(&toy, name));
        let x = x?;
        let codes = codes?;
        let directions = directions?;
        let found = metrics::recovery(&s.core, &x, &codes, &directions, &env(&ctx)?.task)?;
        let fields: [(&str, Dynamic); 8] = [
            ("f1", found.f1.into()),
            ("mcc", found.mcc.into()),
            ("precision", found.precision.into()),
            ("recall", found.recall.into()),
            ("unique", found.unique.into()),
            ("l0", found.l0.into()),
            ("dead_share", found.dead_share.into()),
            ("rows", (found.rows as i64).into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}
