//! One feature: its card, and its codes on a text.

use super::contexts::read;
use crate::features::contexts::{heat, on as codes_on};
use crate::features::feature::place;
use crate::features::{FeatureCard, card};
use crate::report::visible_text::elided;
use crate::script::features::Feature;
use crate::script::model::prelude::*;
use crate::script::sae::ModelAndText;

handle!(FeatureCard, "FeatureCard", |card| format!("card of {}", elided(&visible(&card.title), 60)));

impl Feature {
    /// Returns the model whose activations the feature's dictionary reads.
    fn model(&self, ctx: &NativeCallContext) -> Result<Model> {
        let known = match &self.sae.known {
            Some(known) => Some(known.clone()),
            None => ModelAndText::found(&self.sae.core, &*env(ctx)?)?,
        };
        known.map(|known| known.model.clone()).ok_or_else(|| {
            err!(Argument, "expected a model to read the text with: the dictionary does not say which model it is for")
                .hint("f.on(text, m)")
        })
    }

    fn on(&self, ctx: &NativeCallContext, m: &Model, text: &Dynamic) -> Result<HeatText> {
        let ids = one_text(ctx, m, "text", text)?;
        let place = place(m.core(), &self.sae.core)?;
        let codes = codes_on(m.core(), &self.sae.core, place, self.index, &ids, &env(ctx)?.task)?;
        let title = format!("feature {} of {place}", self.index);
        Ok(heat(m.core(), title, &ids, &codes))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Makes the card of a feature: density and activations, contexts with its activation at every token (the
    /// strongest, some from each interval of its activations, some at random), its tokens and positions, its effects on
    /// the logits (direct, and by ablation), and the features nearest to it by direction and by co-activation.
    ///
    /// Without a model and a text it is the card that `show` prints: from 50,000 tokens of the text that the dictionary
    /// was fitted on, where that is known; the card says what it was made from.
    ///
    /// # Options
    /// - [feature_contexts]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// let c = features::card(m, s.feature(0), text, #{ top: 1 });
    /// c.notes[0]  //=> "Made from 16 tokens of given texts."
    /// features::card(sae::identity(4).feature(2)).notes.len()  //=> 1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn card(f: Feature) -> Fallible<FeatureCard> {
        Ok(f.card()?)
    }

    #[rhai_fn(name = "card", return_raw)]
    pub fn card_on(
        ctx: NativeCallContext,
        m: Model,
        f: Feature,
        text: Text,
        options: Options,
    ) -> Fallible<FeatureCard> {
        let found = read(&ctx, m, &Dynamic::from(f.sae.clone()), &text, options)?;
        Ok(found.card_of(0, f.index)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the activations of the feature at the tokens of one text, as heat text.
    ///
    /// The text is a string, tokens or ids; one longer than the model's context is read in pieces of that length.
    /// Without a model, the one that the dictionary was fitted to is used, or the one that it names if the session has
    /// loaded it.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::fit(m, "resid_post.0", data::texts(["to be or not to be"]), #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// s.feature(3).on("not to be")  //=> heat text of 9 tokens "feature 3 of resid_post.0"
    /// s.feature(3).on([1, 2], m).to_map().values.len()  //=> 2
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn on(ctx: NativeCallContext, f: &mut Feature, text: Any) -> Fallible<HeatText> {
        let m = f.model(&ctx)?;
        Ok(f.on(&ctx, &m, &text)?)
    }

    #[rhai_fn(global, name = "on", pure, return_raw)]
    pub fn on_model(ctx: NativeCallContext, f: &mut Feature, text: Any, m: Model) -> Fallible<HeatText> {
        Ok(f.on(&ctx, &m, &text)?)
    }

    /// Returns the index of the feature.
    ///
    /// # Example
    /// ```
    /// features::card(sae::identity(4).feature(2)).feature  //=> 2
    /// ```
    #[rhai_fn(global, get = "feature", pure)]
    pub fn feature(card: &mut FeatureCard) -> i64 {
        card.feature as i64
    }

    /// Returns the numbers of the feature, as a card.
    ///
    /// # Example
    /// ```
    /// features::card(sae::identity(4).feature(2)).facts.to_map().fields.dictionary  //=> "identity of 4 features"
    /// ```
    #[rhai_fn(global, get = "facts", pure)]
    pub fn facts(card: &mut FeatureCard) -> Card {
        card.facts.clone()
    }

    /// Returns the contexts of the feature in groups: maps of a `name` and `texts`, each a heat text with the feature's
    /// activation at every token.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 16, ratio: 2, steps: 5, seed: 1 });
    /// let densest = features::contexts(m, s, text).table.to_map().rows[0][1];
    /// features::card(m, s.feature(densest), text).contexts[0].name  //=> "strongest"
    /// ```
    #[rhai_fn(global, get = "contexts", pure)]
    pub fn contexts(card: &mut FeatureCard) -> Array {
        let group = |group: &card::Group| -> Dynamic {
            let texts: Array = group.texts.iter().cloned().map(Dynamic::from).collect();
            let fields = [("name".into(), group.name.clone().into()), ("texts".into(), texts.into())];
            Map::from_iter(fields).into()
        };
        card.contexts.iter().map(group).collect()
    }

    /// Returns the tables of the card, each with a title.
    ///
    /// # Example
    /// ```
    /// features::card(sae::identity(4).feature(2)).tables.map(|t| t.to_map().title)  //=> ["Nearest by direction"]
    /// ```
    #[rhai_fn(global, get = "tables", pure)]
    pub fn tables(card: &mut FeatureCard) -> Array {
        card.tables.iter().cloned().map(Dynamic::from).collect()
    }

    /// Returns the notes of the card: the text that it was made from, and what could not be computed.
    ///
    /// # Example
    /// ```
    /// features::card(sae::identity(4).feature(2)).notes.len()  //=> 1
    /// ```
    #[rhai_fn(global, get = "notes", pure)]
    pub fn notes(card: &mut FeatureCard) -> Array {
        card.notes.iter().cloned().map(Dynamic::from).collect()
    }

    /// Writes the card as .html, .txt or .json, by the file's extension. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// features::card(sae::identity(4).feature(2)).save("doc/feature.html").ends_with("feature.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_card(ctx: NativeCallContext, card: &mut FeatureCard, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, card, path)?)
    }

    /// Returns all data of the card, as a map.
    ///
    /// # Example
    /// ```
    /// features::card(sae::identity(4).feature(2)).to_map().title  //=> "feature 2"
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn card_map(card: &mut FeatureCard) -> Fallible<Dynamic> {
        Ok(mapped(card)?)
    }
}
