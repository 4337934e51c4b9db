//! `intervene::feature_patch`.

use super::pairs::{maps, text};
use crate::base::error::both;
use crate::intervene::feature_patch::{self as core, FeaturePatchOptions, PatchOrder, PatchPair};
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

fn pairs(ctx: &NativeCallContext, m: &Model, pairs: &Dynamic) -> Result<Vec<PatchPair>> {
    let pair = |(number, map): (usize, Map)| {
        Ok(PatchPair { clean: text(ctx, m, &map, "clean", number)?, corrupt: text(ctx, m, &map, "corrupt", number)? })
    };
    maps(pairs)?.into_iter().map(pair).collect()
}

/// Reads one dictionary, or several by name.
fn dictionaries(value: &Dynamic) -> Result<Vec<(String, Sae)>> {
    if let Some(sae) = value.read_lock::<Sae>() {
        return Ok(vec![(sae.core.parts().about.kind.to_string(), sae.clone())]);
    }
    let wanted = || given("dictionaries", value).refuse("a dictionary or a map of dictionaries");
    let map = value.read_lock::<Map>().ok_or_else(wanted)?;
    if map.is_empty() {
        return Err(wanted());
    }
    let one = |(name, value): (&rhai::Identifier, &Dynamic)| {
        let sae = value.read_lock::<Sae>().map(|sae| sae.clone()).ok_or_else(wanted)?;
        Ok((name.to_string(), sae))
    };
    map.iter().map(one).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// Measures how many features carry the difference between two prompts: the search of Cunningham et al. 2023,
    /// figure 5.
    ///
    /// At the site of a dictionary x becomes x + sum over j in F of (c'_j - c_j) d_j at all positions, with the codes c of
    /// the `clean` prompt and c' of the `corrupt` one; the reconstruction error stays. F begins with all features; for each
    /// threshold, ascending, its features are visited in random order, and one is dropped if that raises the KL by less
    /// than the threshold. Rows of the table: the size of F (`features`, and how many of them differ in some pair), `kl`,
    /// KL(patched || corrupt) in nats after the last token, and `edit`, the mean of |x' - x| over pairs and positions. The
    /// first row has all features, the last none.
    ///
    /// `dictionaries` is one, or a map of several, to be compared with `sae::pca`, its halves (`sae::split_signs`),
    /// `sae::random` and `sae::neurons`. `pairs` is an array of maps with `clean` and `corrupt`, such as `data::pairs`
    /// makes; the texts of a pair have as many tokens. `order: "attribution"` takes features in the order of their gradient,
    /// which `gradients: "relp"` takes by relevance propagation.
    ///
    /// # Options
    /// - [feature_patch]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let pairs = [#{ clean: [1, 2, 3], corrupt: [1, 5, 3] }, #{ clean: [4, 6], corrupt: [7, 6] }];
    /// let found = intervene::feature_patch(m, sae::identity(8), pairs, #{ site: "resid_post.0" });
    /// found.columns  //=> ["dictionary", "threshold", "features", "differing", "kl", "edit"]
    /// [found["features"][0], found["features"][-1], found["kl"][0] < 1e-6]  //=> [8, 0, true]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn feature_patch(
        ctx: NativeCallContext,
        m: Model,
        dictionaries: Any,
        pairs: Any,
        options: Options,
    ) -> Fallible<Table> {
        let options: FeaturePatchOptions = taken(options)?;
        let (saes, pairs) = both(super::dictionaries(&dictionaries), super::pairs(&ctx, &m, &pairs))?;
        let env = env(&ctx)?;
        // The other order draws nothing.
        let seed = if options.order == PatchOrder::Paper { options.seed } else { Seed::of(0) };
        let found = env.drawing(&ctx, "intervene::feature_patch", seed, |seed| {
            let options = FeaturePatchOptions { seed, ..options };
            let of = |sae: &Sae| core::feature_patch(&m.core().decoder, &sae.core, &pairs, &options, &env.task);
            saes.into_iter().map(|(name, sae)| Ok((name, of(&sae)?))).collect::<Result<Vec<_>>>()
        })?;
        Ok(core::table(&found))
    }
}
