//! `intervene::interactions`, and its result.

use super::metric::Metric;
use super::steer::rows;
use crate::features::FeatureList;
use crate::intervene::interactions::{self as core, FeatureUnit, InteractionOptions, SetMeasure};
use crate::intervene::metric::Measure;
use crate::script::features::Feature;
use crate::script::model::prelude::*;

/// Interactions of features.
#[derive(Clone)]
pub struct Interactions(core::Interactions);

/// The measure of effects.
#[derive(Clone)]
pub enum EffectMeasure {
    Loss,
    Kl,
    Own(Metric),
}

impl Setting for EffectMeasure {
    const CHOICES: &'static [&'static str] = &["loss", "kl"];

    fn wanted() -> String {
        "\"loss\", \"kl\" or a metric of `metric::of`".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Text(word) if word == "loss" => Some(Self::Loss),
            Plain::Text(word) if word == "kl" => Some(Self::Kl),
            other => Metric::of(other).filter(|metric| metric.is_own() && !metric.is_normalised()).map(Self::Own),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Loss => "\"loss\"".into(),
            Self::Kl => "\"kl\"".into(),
            Self::Own(metric) => metric.written(),
        }
    }
}

crate::options! {
    /// All options of `intervene::interactions`.
    #[derive(Clone)]
    pub struct InteractionCall {
        /// Measure of effects: the loss or KL(clean || ablated) in nats, the mean over the positions of a row; or a
        /// metric of `metric::of`, whose function gets the logits after the row's last token and the ids of the row.
        measure: EffectMeasure = EffectMeasure::Loss;
        with interactions: InteractionOptions;
    }
}

impl Interactions {
    /// Says what all units together do beyond the sum of their effects.
    fn note(&self) -> String {
        let all = &self.0.all;
        let interval = all.interval.map_or(String::new(), |[low, high]| format!(" ({low:.4} to {high:.4})"));
        format!("All {} together: {:.4}{interval} beyond the sum of their effects.", self.0.units.len(), all.mean)
    }
}

impl Item for Interactions {
    fn kind(&self) -> &'static str {
        "interactions"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok(format!("{}\n{}\n", self.0.table().terminal(screen)?.trim_end(), self.note()))
    }

    fn html(&self) -> Result<String> {
        let parts = [self.0.table().html()?, self.0.matrix(false).html()?, self.0.matrix(true).html()?];
        Ok(parts.concat() + paragraphs(&[self.note()]).as_str())
    }

    fn data(&self) -> Result<Value> {
        let all = self.0.all;
        let interval: Value = all.interval.into_iter().flatten().map(number).collect();
        Ok(json!({
            "pairs": self.0.table().data()?,
            "matrix": self.0.matrix(false).data()?,
            "control": self.0.matrix(true).data()?,
            "all": number(all.mean),
            "all_interval": interval,
            "rows": self.0.rows,
        }))
    }
}

handle!(Interactions, "Interactions", |found| {
    format!("interactions of {} on {}", count(found.0.units.len(), "unit"), count(found.0.rows, "row"))
});

/// Reads features, and arrays of features that are ablated as one.
fn units(features: &Dynamic) -> Result<(Vec<crate::sae::Sae>, Vec<FeatureUnit>)> {
    let mut all = Vec::new();
    let mut sizes = Vec::new();
    for unit in given("features", features).elements() {
        let group = unit.elements();
        for feature in &group {
            let found = feature.handle::<Feature>();
            let wrong = || feature.refuse("features, or arrays of features").hint("`s.feature(12)` is a feature");
            all.push(found.ok_or_else(wrong)?.core());
        }
        if group.is_empty() {
            return Err(err!(Argument, "expected at least one feature in a group, found none").about("features"));
        }
        sizes.push(group.len());
    }
    let list = FeatureList::of(&all);
    let mut first = 0;
    let unit = |size: usize| {
        let range = first..first + size;
        first += size;
        FeatureUnit { name: list.names[range.clone()].join(" + "), features: list.features[range].to_vec() }
    };
    let units = sizes.into_iter().map(unit).collect();
    Ok((list.saes.clone(), units))
}

#[export_module(manifest)]
pub mod functions {
    /// Ablates pairs and groups of features together and measures their interaction: the effect beyond the sum of the
    /// effects of each alone.
    ///
    /// The effect e of a set on a row of text is what zero-ablating it at all positions adds to the loss or to a metric of
    /// your own, or KL(clean || ablated); reconstruction errors are kept. The interaction is e(A and B) - e(A) - e(B), with a 95 % bootstrap
    /// interval over rows. Above 0 the two are redundant: either alone can do what both do; below 0 they are synergistic:
    /// without one the other is worth less. The control takes the same codes off at shuffled positions. `features` is an
    /// array of features, or of arrays of features that are ablated as one, of one dictionary or several.
    ///
    /// # Options
    /// - [interactions]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a c a", "d a b b c a d b"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = intervene::interactions(m, s.features([0, 1, 2]), text, #{ seed: 1 });
    /// found.table["a"].len()  //=> 3
    /// found.matrix.to_map().rows.len()  //=> 3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn interactions(
        ctx: NativeCallContext,
        m: Model,
        features: Any,
        text: Any,
        options: Options,
    ) -> Fallible<Interactions> {
        let env = env(&ctx)?;
        let InteractionCall { measure, interactions: options } = taken(options)?;
        let (saes, units) = super::units(&features)?;
        let rows = super::rows(&ctx, &m, &text, options.context, options.rows)?;
        let calls = Callbacks::new(&ctx);
        let found = env.drawing(&ctx, "intervene::interactions", options.seed, |seed| {
            let options = InteractionOptions { seed, ..options };
            let found = |measure: SetMeasure| {
                core::interactions(&m.core().decoder, &saes, &units, &rows, measure, &options, &env.task)
            };
            calls.outcome(match measure {
                EffectMeasure::Loss => found(SetMeasure::Loss),
                EffectMeasure::Kl => found(SetMeasure::Kl),
                EffectMeasure::Own(metric) => {
                    let id = |id: &u32| Dynamic::from(i64::from(*id));
                    let ids = |row: &Vec<u32>| row.iter().map(id).collect::<Array>().into();
                    let each: Array = rows.iter().map(ids).collect();
                    metric.with_measure(&calls, &each, |measure| match measure {
                        Measure::Of(own) => found(SetMeasure::Of(own)),
                        _ => Err(err!(Bug, "a metric of one's own without its function")),
                    })
                }
            })
        });
        Ok(Interactions(found?))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Tabulates the pairs, those of the largest interaction in size first, each with its interval, control and kind.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a c a", "d a b b c a d b"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = intervene::interactions(m, s.features([0, 1, 2]), text, #{ seed: 1 });
    /// found.table.columns[5]  //=> "interaction"
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn interaction_table(found: &mut Interactions) -> Table {
        found.0.table()
    }

    /// Returns the interaction of each two units as a heat map; on the diagonal their effects alone.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a c a", "d a b b c a d b"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = intervene::interactions(m, s.features([0, 1, 2]), text, #{ seed: 1 });
    /// found.matrix  //=> grid of 3 by 3 "interactions"
    /// ```
    #[rhai_fn(global, get = "matrix", pure)]
    pub fn matrix(found: &mut Interactions) -> Grid {
        found.0.matrix(false)
    }

    /// Returns the matrix of the control, where codes are taken off at shuffled positions.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a c a", "d a b b c a d b"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = intervene::interactions(m, s.features([0, 1, 2]), text, #{ seed: 1 });
    /// found.control  //=> grid of 3 by 3 "interactions at shuffled positions"
    /// ```
    #[rhai_fn(global, get = "control", pure)]
    pub fn control(found: &mut Interactions) -> Grid {
        found.0.matrix(true)
    }

    /// Saves the interactions as .html, .json or .txt, by the ending of the name. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a c a", "d a b b c a d b"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = intervene::interactions(m, s.features([0, 1, 2]), text, #{ seed: 1 });
    /// found.save("doc/found.json").ends_with("found.json")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_interactions(ctx: NativeCallContext, found: &mut Interactions, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, found, path)?)
    }

    /// Returns the table, the matrix and its control, and what all units together do beyond their sum, as a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a c a", "d a b b c a d b"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = intervene::interactions(m, s.features([0, 1, 2]), text, #{ seed: 1 });
    /// found.to_map().rows  //=> 2
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn interaction_map(found: &mut Interactions) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
