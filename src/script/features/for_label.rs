//! `features::for_label`: which features of a dictionary stand for a label, as a ranking.

use crate::features::for_label::{ForLabelOptions, Separators};
use crate::script::features::Feature;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

/// Features ranked by how well their codes separate a label.
#[derive(Clone)]
pub struct LabelRanking {
    sae: Sae,
    found: Arc<Separators>,
}

impl LabelRanking {
    fn table(&self) -> Table {
        let sites = self.sae.core.parts().about.site();
        self.found.table(format!("features of {sites} where {}, against {}", self.found.label, self.found.against))
    }

    fn feature(&self, place: usize) -> Feature {
        Feature { sae: self.sae.clone(), index: self.found.found[place].feature, promotes: None }
    }

    fn note(&self) -> String {
        let Separators { tried, mean_auroc, tokens: [with, without], .. } = &*self.found;
        format!(
            "Chosen among {} on the first half of the text, judged on the second: {} with the label, {} without. The \
             mean AUROC of all {tried} there is {mean_auroc:.3}.",
            count(*tried, "feature"),
            count(*with, "token"),
            without,
        )
    }
}

impl Item for LabelRanking {
    fn kind(&self) -> &'static str {
        "label ranking"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        noted(&self.table(), &[self.note()], screen)
    }

    fn html(&self) -> Result<String> {
        Ok(self.table().html()? + paragraphs(&[self.note()]).as_str())
    }

    fn data(&self) -> Result<Value> {
        let Separators { label, against, tried, mean_auroc, tokens, .. } = &*self.found;
        let more = json!({
            "label": label, "against": against, "tried": tried, "mean_auroc": mean_auroc, "tokens": tokens,
        });
        Ok(with_fields(self.table().data()?, more))
    }
}

handle!(LabelRanking, "LabelRanking", |ranking| {
    format!("ranking of {} by where {}", count(ranking.found.found.len(), "feature"), ranking.found.label)
});

#[export_module(manifest)]
pub mod functions {
    /// Ranks the features of a dictionary that stand for a value of a label: `ranking[0]` is the first feature.
    ///
    /// Features are chosen on the first half of the text by AUROC, the probability that the code is larger at a token of
    /// this value than at one of the value `against`, or than at any other token; ties count half. They are judged on the
    /// second half, with a 95 % interval by the bootstrap over rows. The mean AUROC of all features that were tried
    /// is the control. `text.columns()` lists the labels of a text, and `text.kinds(label)` the values of one: those of
    /// the text "grammar" are ground truth, such as "number" with "singular" and "plural".
    ///
    /// # Options
    /// - [feature_for_label]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
    /// let found = features::for_label(m, s, text, "bracket", "round", #{ count: 1 });
    /// found.table.columns[2]  //=> "AUROC"
    /// found[0].site  //=> "resid_post.0"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn for_label(
        ctx: NativeCallContext,
        m: Model,
        s: Sae,
        text: Text,
        label: &str,
        value: &str,
        options: Options,
    ) -> Fallible<LabelRanking> {
        let env = env(&ctx)?;
        let options: ForLabelOptions = taken(options)?;
        let found = Separators::of(m.core(), &s.core, &text, label, value, &options, &env.task)?;
        Ok(LabelRanking { sae: s, found: found.into() })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns one feature of the ranking, the one that separates the label best first; a negative index counts from
    /// the end.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
    /// let found = features::for_label(m, s, text, "bracket", "round");
    /// found[-1].index == found.to_map().rows[-1][0]  //=> true
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(ranking: &mut LabelRanking, index: Int) -> Fallible<Feature> {
        let place = given("index", &index).index(ranking.found.found.len(), "a ranking", "feature")?;
        Ok(ranking.feature(place))
    }

    /// Returns all features of the ranking, the one that separates the label best first.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 1, k: 1, steps: 2, seed: 1 });
    /// features::for_label(m, s, text, "bracket", "round").features  //=> [feature 0 of resid_post.0]
    /// ```
    #[rhai_fn(global, get = "features", pure)]
    pub fn features(ranking: &mut LabelRanking) -> Array {
        (0..ranking.found.found.len()).map(|place| Dynamic::from(ranking.feature(place))).collect()
    }

    /// Returns the number of features in the ranking.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 1, k: 1, steps: 2, seed: 1 });
    /// features::for_label(m, s, text, "bracket", "round").len  //=> 1
    /// ```
    #[rhai_fn(global, get = "len", pure)]
    pub fn len(ranking: &mut LabelRanking) -> i64 {
        ranking.found.found.len() as i64
    }

    /// Tabulates the features with the AUROC that they were chosen by, that on the other half with its interval, and
    /// the shares of tokens with and without the label at which they are active.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 1, k: 1, steps: 2, seed: 1 });
    /// features::for_label(m, s, text, "bracket", "round", #{ against: "square" }).table.columns[0]  //=> "feature"
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(ranking: &mut LabelRanking) -> Table {
        ranking.table()
    }

    /// Returns the data of the table, with the label, how many features were tried, and their mean AUROC, as a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 1, k: 1, steps: 2, seed: 1 });
    /// features::for_label(m, s, text, "bracket", "round").to_map().label  //=> "bracket is round"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(ranking: &mut LabelRanking) -> Fallible<Dynamic> {
        Ok(mapped(ranking)?)
    }
}
