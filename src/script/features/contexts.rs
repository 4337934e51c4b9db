//! `features::contexts`: contexts in which the features of dictionaries are active.

use crate::features::{FeatureCard, Overview};
use crate::sae;
use crate::script::features::Feature;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

/// The number of features shown at once.
const SHOWN: usize = 12;

/// Dictionaries, and where their features are active.
#[derive(Clone)]
pub struct Contexts {
    model: Model,
    core: Rc<Overview>,
    task: Task,
}

impl Contexts {
    /// Finds the dictionary and the index that stand in brackets.
    fn meant(&self, which: &GivenValue) -> Result<(usize, usize)> {
        if let Some(feature) = which.handle::<Feature>() {
            let found = self.core.saes.iter().position(|sae| sae.is(&feature.sae.core));
            return found.map(|number| (number, feature.index)).ok_or_else(|| {
                err!(Argument, "expected a feature of the surveyed dictionaries, found {}", feature.short())
            });
        }
        match self.core.saes.as_slice() {
            [sae] => Ok((0, Feature::at(&Sae::from(sae.clone()), which)?.index)),
            several => Err(which
                .refuse("a feature")
                .hint(format!("{} were surveyed, so a number is ambiguous", several.len()))),
        }
    }

    fn card(&self, which: &GivenValue) -> Result<FeatureCard> {
        let (number, feature) = self.meant(which)?;
        self.card_of(number, feature)
    }

    /// Makes the card of a feature of one of the dictionaries.
    pub fn card_of(&self, number: usize, feature: usize) -> Result<FeatureCard> {
        self.core.card(self.model.core(), number, feature, &self.task)
    }

    /// Tabulates features with their counts, those that are active most often first.
    fn table(&self, most: usize) -> Table {
        self.core.table(self.model.core(), self.short(), most)
    }
}

impl Handle for Contexts {
    const NAME: &'static str = "Contexts";

    fn short(&self) -> String {
        let features: usize = self.core.survey.dictionaries.iter().map(Vec::len).sum();
        format!(
            "contexts of {} in {} of {}",
            count(features, "feature"),
            tokens(self.core.survey.positions),
            self.core.survey.name
        )
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let all = self.core.survey.dictionaries.iter().flatten();
        let silent = all.clone().filter(|tally| tally.fired == 0).count();
        let rest = format!("{} never active; c[i] is the card of a feature\n", count(silent, "feature"));
        let mut table = self.table(SHOWN);
        if self.core.saes.len() == 1 {
            // All sites are the same one.
            table.columns.remove(0);
            table.rows.iter_mut().for_each(|row| drop(row.remove(0)));
        }
        Ok(format!("{}{}", table.terminal(screen)?, screen.dim(&rest)))
    }

    fn json(&self) -> Result<Value> {
        let table = self.table(usize::MAX);
        Ok(json!({ "text": self.core.survey.name, "positions": self.core.survey.positions, "features": table.data()? }))
    }
}

fn tokens(positions: u64) -> String {
    count(usize::try_from(positions).unwrap_or(usize::MAX), "token")
}

/// Reads one dictionary, or an array of them.
fn dictionaries(value: &Dynamic) -> Result<Vec<sae::Sae>> {
    let refusal = || given("s", value).refuse("a dictionary or an array of them");
    let one = |value: &Dynamic| value.read_lock::<Sae>().map(|sae| sae.core.clone()).ok_or_else(refusal);
    match value.read_lock::<Array>() {
        Some(array) if array.is_empty() => Err(refusal()),
        Some(array) => array.iter().map(one).collect(),
        None => Ok(vec![one(value)?]),
    }
}

/// Reads a text in one pass for all dictionaries.
pub fn read(ctx: &NativeCallContext, model: Model, s: &Dynamic, text: &Text, map: Options) -> Result<Contexts> {
    let env = env(ctx)?;
    let saes = dictionaries(s)?;
    let options = taken(map)?;
    let core = Overview::of(model.core(), saes, text, options, &env.task)?;
    Ok(Contexts { model, core: core.into(), task: env.task.clone() })
}

#[export_module(manifest)]
pub mod functions {
    /// Surveys where the features of one or several dictionaries are active in a text: one forward pass for all of
    /// them, in bounded memory.
    ///
    /// Indexing by a feature, or by a number where there is one dictionary, gives the feature's card: its
    /// max-activating examples, some from each interval of its codes, some at random, its tokens and positions, its
    /// effects on the logits, and its neighbours.
    ///
    /// # Options
    /// - [feature_contexts]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// let found = features::contexts(m, s, text);
    /// found  //=> contexts of 16 features in 16 tokens of given texts
    /// found.density.shape  //=> [16]
    /// found[3].feature  //=> 3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn contexts(ctx: NativeCallContext, m: Model, s: Any, text: Text, options: Options) -> Fallible<Contexts> {
        Ok(super::read(&ctx, m, &s, &text, options)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Makes the card of a feature.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::contexts(m, s, text)[s.feature(-1)].feature  //=> 15
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(contexts: &mut Contexts, feature: Any) -> Fallible<FeatureCard> {
        if let Some(name) = feature.read_lock::<ImmutableString>() {
            // The engine asks for unknown properties as an index.
            let text = format!("Unknown property '{}' - a getter is not registered for type 'Contexts'", name.as_str());
            return Err(Box::new(EvalAltResult::ErrorDotExpr(text, Position::NONE)));
        }
        Ok(contexts.card(&given("feature", &feature))?)
    }

    /// Returns the share of positions at which each feature is active: `[d_sae]`, and for several dictionaries an array
    /// of these.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::contexts(m, s, text).density.sum() <= 2.0  //=> true
    /// ```
    #[rhai_fn(global, get = "density", pure, return_raw)]
    pub fn density(contexts: &mut Contexts) -> Fallible<Dynamic> {
        let each = (0..contexts.core.saes.len()).map(|number| Ok(Dynamic::from(contexts.core.densities(number)?)));
        let mut each = each.collect::<Result<Array>>()?;
        Ok(match (each.len(), each.pop()) {
            (1, Some(one)) => one,
            (_, Some(last)) => {
                each.push(last);
                each.into()
            }
            (_, None) => each.into(),
        })
    }

    /// Tabulates all features with their counts, those that are active most often first.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::contexts(m, s, text).table.to_map().rows.len()  //=> 16
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(contexts: &mut Contexts) -> Table {
        contexts.table(usize::MAX)
    }

    /// Writes the table of all features as .csv, .parquet, .arrow, .json, .txt, .html or .md, by the file's extension. Returns the path
    /// of the file.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::contexts(m, s, text).save("doc/contexts.html").ends_with("contexts.html")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, contexts: &mut Contexts, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, &contexts.table(usize::MAX), path)?)
    }

    /// Returns the name of the text, the number of positions, and the table of all features, as a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::contexts(m, s, text).to_map().positions  //=> 16
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(contexts: &mut Contexts) -> Fallible<Dynamic> {
        Ok(mapped(contexts)?)
    }
}
