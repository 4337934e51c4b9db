//! `features::predicting`: which features of a dictionary promote a token, as a ranking.

use crate::features::TokenPattern;
use crate::features::predicting::{self, PredictingOptions, Promoter, Promoters};
use crate::report::number::digits;
use crate::script::features::Feature;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

/// The notes of a ranking show at most this many tokens.
const SHOWN: usize = 10;

/// Features ranked by correlation with the model's probability of some tokens.
#[derive(Clone)]
pub struct Ranking {
    sae: Sae,
    found: Arc<Promoters>,
}

impl Ranking {
    fn table(&self) -> Table {
        let sites = self.sae.core.parts().about.site();
        self.found.table(format!("what promotes {} in {sites}", self.promoted()))
    }

    /// Names the likeliest of the tokens, and counts the others.
    fn promoted(&self) -> String {
        let others = self.found.names.len().saturating_sub(1);
        match self.found.likeliest(1).0.as_slice() {
            [one] if others == 0 => format!("{one:?}"),
            [first, ..] => format!("{first:?} and {} more", count(others, "token")),
            [] => String::new(),
        }
    }

    fn feature(&self, promoter: &Promoter) -> Feature {
        Feature { sae: self.sae.clone(), index: promoter.feature, promotes: Some(self.found.tokens.clone()) }
    }

    /// Writes the tokens, and among how many features these were selected.
    fn notes(&self) -> [String; 2] {
        let Promoters { found, tried, positions, names, .. } = &*self.found;
        let (likeliest, share) = self.found.likeliest(SHOWN);
        let tokens = likeliest.iter().map(|token| format!("{token:?}")).collect::<Vec<_>>().join(" ");
        let tokens = match names.len() - likeliest.len() {
            0 => tokens,
            _ => format!("{}, {} % of it in {tokens}", count(names.len(), "token"), digits(100.0 * share, 3)),
        };
        let tried = format!(
            "Chosen among {} that were active in {}: the model was run without {} of the largest direct effects and \
             correlations.",
            count(*tried, "feature"),
            count(*positions as usize, "position"),
            found.len()
        );
        [format!("P is the total probability of {tokens}"), tried]
    }
}

impl Item for Ranking {
    fn kind(&self) -> &'static str {
        "ranking"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        noted(&self.table(), &self.notes(), screen)
    }

    fn html(&self) -> Result<String> {
        Ok(self.table().html()? + paragraphs(&self.notes()).as_str())
    }

    fn data(&self) -> Result<Value> {
        let Promoters { names, tried, positions, .. } = &*self.found;
        let more = json!({ "tokens": names, "tried": tried, "positions": positions });
        Ok(with_fields(self.table().data()?, more))
    }
}

handle!(Ranking, "Ranking", |ranking| {
    format!("ranking of {} by what promotes {}", count(ranking.found.found.len(), "feature"), ranking.promoted())
});

#[export_module(manifest)]
pub mod functions {
    /// Ranks the features of a dictionary that promote a token most: `ranking[0]` is the first feature.
    ///
    /// A text such as `")"` means all tokens whose text, without leading space, begins with it, and P is their total
    /// probability; ids mean themselves. The ranking has three measures of each feature: its direct effect, which is
    /// its mean code times how much more its direction raises the logits of these tokens than the mean logit; the
    /// correlation of its code with P, which it is sorted by; and how much P falls at its 16 strongest positions when
    /// the feature is ablated. Features whose ablation does not lower P come last.
    ///
    /// # Options
    /// - [feature_ranking]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, steps: 2, seed: 1 });
    /// let ranking = features::predicting(m, s, text, "t", #{ candidates: 1 });
    /// ranking.table.columns  //=> ["feature", "active positions", "direct effect", "correlation", "fall of P without it"]
    /// ranking[0].site  //=> "resid_post.0"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn predicting(
        ctx: NativeCallContext,
        m: Model,
        s: Sae,
        text: Text,
        token: Any,
        options: Options,
    ) -> Fallible<Ranking> {
        let env = env(&ctx)?;
        let options: PredictingOptions = taken(options)?;
        let pattern =
            |one: &GivenValue| TokenPattern::of(&plain(one.value())).ok_or_else(|| one.refuse(&TokenPattern::wanted()));
        let tokens = given("token", &token).elements().iter().map(pattern).collect::<Result<Vec<_>>>()?;
        let found = super::predicting::predicting(m.core(), &s.core, &text, &tokens, &options, &env.task)?;
        Ok(Ranking { sae: s, found: found.into() })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns one feature of the ranking, the one that promotes the tokens most first; a negative index counts from
    /// the end.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, steps: 2, seed: 1 });
    /// let ranking = features::predicting(m, s, text, "t");
    /// ranking[-1].index == ranking.to_map().rows[-1][0]  //=> true
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(ranking: &mut Ranking, index: Int) -> Fallible<Feature> {
        let place = given("index", &index).index(ranking.found.found.len(), "a ranking", "feature")?;
        Ok(ranking.feature(&ranking.found.found[place]))
    }

    /// Returns all features of the ranking, the one that promotes the tokens most first.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 1, k: 1, steps: 2, seed: 1 });
    /// features::predicting(m, s, text, "t").features  //=> [feature 0 of resid_post.0]
    /// ```
    #[rhai_fn(global, get = "features", pure)]
    pub fn features(ranking: &mut Ranking) -> Array {
        ranking.found.found.iter().map(|promoter| Dynamic::from(ranking.feature(promoter))).collect()
    }

    /// Returns the number of features in the ranking.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 1, k: 1, steps: 2, seed: 1 });
    /// features::predicting(m, s, text, "t").len  //=> 1
    /// ```
    #[rhai_fn(global, get = "len", pure)]
    pub fn len(ranking: &mut Ranking) -> i64 {
        ranking.found.found.len() as i64
    }

    /// Tabulates the features with the three measures of each.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, steps: 2, seed: 1 });
    /// features::predicting(m, s, text, "t").table.columns[0]  //=> "feature"
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(ranking: &mut Ranking) -> Table {
        ranking.table()
    }

    /// Lists the tokens of P.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, steps: 2, seed: 1 });
    /// features::predicting(m, s, text, ["t", "b"]).tokens  //=> ["t", "b"]
    /// ```
    #[rhai_fn(global, get = "tokens", pure)]
    pub fn tokens(ranking: &mut Ranking) -> Dynamic {
        Dynamic::from_array(ranking.found.names.iter().map(|token| Dynamic::from(token.clone())).collect())
    }

    /// Returns the data of the table, with the tokens, the number of features that were tried, and the number of
    /// positions, as a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, steps: 2, seed: 1 });
    /// features::predicting(m, s, text, "t").to_map().positions  //=> 16
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(ranking: &mut Ranking) -> Fallible<Dynamic> {
        Ok(mapped(ranking)?)
    }

    /// Writes the ranking as .html, .json or .txt, by the file's extension. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, steps: 2, seed: 1 });
    /// features::predicting(m, s, text, "t").save("doc/ranking.json").ends_with("ranking.json")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, ranking: &mut Ranking, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, ranking, path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::baselines::identity;

    #[test]
    fn the_note_of_hundreds_of_tokens_names_ten() {
        let sae = identity(2).unwrap();
        let promoters = Promoters {
            sae: sae.clone(),
            tokens: (0..300).collect(),
            names: (0..300).map(|id| format!("t{id}")).collect(),
            sums: (0..300).map(f64::from).collect(),
            found: Vec::new(),
            tried: 2,
            positions: 600,
        };
        let ranking = Ranking { sae: sae.into(), found: promoters.into() };
        // The ten have 290 + 291 + .. + 299 of 0 + 1 + .. + 299.
        let named: Vec<String> = (290..300).rev().map(|id| format!("\"t{id}\"")).collect();
        let expected = format!("P is the total probability of 300 tokens, 6.57 % of it in {}", named.join(" "));
        assert_eq!(ranking.notes()[0], expected);
        assert_eq!(ranking.table().title.matches('"').count(), 2, "{}", ranking.table().title);
        for shown in [ranking.terminal(&Screen::default()).unwrap(), ranking.html().unwrap()] {
            assert!(shown.contains("t290") && !shown.contains("t289"), "{shown}");
        }
        assert_eq!(ranking.data().unwrap()["tokens"].as_array().unwrap().len(), 300);
    }
}
