//! One feature of a dictionary as scripts hold it: `s.feature(12)`.

use crate::features::{self, FeatureCard, card};
use crate::script::prelude::*;
use crate::script::sae::ModelAndText;
use crate::script::sae::Sae;
use crate::script::tensor::arrays::{nested, range};
use crate::tensor::axes::from_end;

/// A feature and the dictionary that it is of.
#[derive(Clone)]
pub struct Feature {
    pub sae: Sae,
    pub index: usize,
    /// The tokens that it was selected for, if any.
    pub promotes: Option<Arc<[u32]>>,
}

impl Feature {
    /// Returns the feature at an index, a negative one counted from the end, or of a name such as `resid_post.3/12`, as
    /// tables have it.
    pub fn at(sae: &Sae, index: &GivenValue) -> Result<Self> {
        let feature = |index: usize| Self { sae: sae.clone(), index, promotes: None };
        let named = match index.text() {
            Ok(name) => Some(feature(0).named(&name, index)?),
            Err(_) => None,
        };
        let asked = named.map_or_else(|| index.integer(), Ok)?;
        let features = sae.core.d_sae();
        match from_end(asked, features) {
            Some(index) => Ok(feature(index)),
            None => Err(index
                .refuse(&format!("an index of the {}", sae.short()))
                .hint(format!("features count from 0 to {}, and from -1 backwards", features.saturating_sub(1)))),
        }
    }

    /// Reads the index in a name of a feature of this feature's dictionary.
    fn named(&self, name: &str, given: &GivenValue) -> Result<i64> {
        let site = self.site().unwrap_or_else(|| "?".into());
        let parts = name.rsplit_once('/').and_then(|(of, index)| Some((of, index.parse::<i64>().ok()?)));
        match parts.filter(|(_, index)| *index >= 0) {
            Some((of, index)) if of == site => Ok(index),
            _ => Err(given
                .refuse(&format!("the index of a feature of the {}", self.sae.short()))
                .hint(format!("as a name it is \"{site}/12\", say"))),
        }
    }

    /// Returns the feature as the core knows it.
    pub fn core(&self) -> features::Feature {
        features::Feature { sae: self.sae.core.clone(), index: self.index, promotes: self.promotes.clone() }
    }

    /// Names the sites that the feature's dictionary reads; None where unknown.
    pub fn site(&self) -> Option<String> {
        let about = &self.sae.core.parts().about;
        (!about.sites.is_empty()).then(|| about.site())
    }

    /// Makes the feature's card, from the text that its dictionary was fitted on where that is known.
    pub fn card(&self) -> Result<FeatureCard> {
        match &self.sae.known {
            Some(known) => known.card(&self.sae.core, self.index),
            None => card::card(&self.sae.core, self.index, None, None, &card::CardPlan::default(), &Task::default()),
        }
    }

    /// Returns the feature's decoder direction: `[d_out]`.
    pub fn direction(&self) -> Result<Tensor> {
        Ok(self.sae.core.directions().get(self.index)?)
    }
}

impl Handle for Feature {
    const NAME: &'static str = "Feature";

    fn short(&self) -> String {
        match self.site() {
            Some(site) => format!("feature {} of {site}", self.index),
            None => format!("feature {} of the {}", self.index, self.sae.short()),
        }
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.card()?.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "index": self.index, "site": self.site(), "dictionary": self.sae.json()? }))
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(self.card()?)))
    }
}

/// Looks up what is known of a dictionary, once.
fn know(ctx: &NativeCallContext, s: &mut Sae) -> Result<()> {
    if s.known.is_none() {
        s.known = ModelAndText::found(&s.core, &*env(ctx)?)?;
    }
    Ok(())
}

/// Returns indices as an array, where they are a tensor or a range.
fn listed(indices: &Dynamic, s: &Sae, ctx: &NativeCallContext) -> Result<Dynamic> {
    if let Some((start, end)) = range(indices) {
        if end.checked_sub(start).is_none_or(|count| count > s.core.d_sae() as i64) {
            return Err(given("indices", indices).refuse(&format!("indices of the {}", s.short())));
        }
        return Ok((start..end).map(Dynamic::from).collect::<Array>().into());
    }
    match indices.read_lock::<Tensor>() {
        Some(t) => nested(&t, &env(ctx)?.task),
        None => Ok(indices.clone()),
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns one feature of the dictionary, by its index, where a negative one counts from the end; or by its name,
    /// such as `"resid_post.3/12"`, as tables have it.
    ///
    /// `show` and the prompt print its card, as `features::card` makes it: where it is active in 50,000 tokens of the
    /// text that the dictionary was fitted on, its effects on the logits, and its neighbours.
    ///
    /// # Example
    /// ```
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// s.feature(12)  //=> feature 12 of resid_post.3
    /// s.feature(-1).index  //=> 95
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn feature(ctx: NativeCallContext, s: &mut Sae, index: Any) -> Fallible<Feature> {
        super::know(&ctx, s)?;
        Ok(Feature::at(s, &given("index", &index))?)
    }

    /// Returns several features of the dictionary, by their indices: an array, a tensor of integers, or a range; or by
    /// their names, as the columns of tables have them.
    ///
    /// # Example
    /// ```
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// s.features([3, -1]).map(|f| f.index)  //=> [3, 95]
    /// s.features(features::near(s.feature(12), #{ rows: 2 })["feature"]).len()  //=> 2
    /// s.features(["resid_post.3/12"])  //=> [feature 12 of resid_post.3]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn features(ctx: NativeCallContext, s: &mut Sae, indices: Any) -> Fallible<Array> {
        super::know(&ctx, s)?;
        let indices = super::listed(&indices, s, &ctx)?;
        let features = given("indices", &indices).elements().iter().map(|index| Feature::at(s, index)).collect();
        let features: Result<Vec<Feature>> = features;
        Ok(features?.into_iter().map(Dynamic::from).collect())
    }

    /// Returns the index of the feature in its dictionary, from 0.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).feature(1).index  //=> 1
    /// ```
    #[rhai_fn(global, get = "index", pure)]
    pub fn index(f: &mut Feature) -> i64 {
        f.index as i64
    }

    /// Returns the site that the feature's dictionary reads, `()` where unknown.
    ///
    /// # Example
    /// ```
    /// sae::load("tests/fixtures/saes/saelens-topk").feature(0).site  //=> "resid_post.3"
    /// ```
    #[rhai_fn(global, get = "site", pure)]
    pub fn site(f: &mut Feature) -> Dynamic {
        f.site().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns the decoder direction of the feature: `[d_out]`.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).feature(1).direction  //=> tensor([0.0, 1.0, 0.0])
    /// ```
    #[rhai_fn(global, get = "direction", pure, return_raw)]
    pub fn direction(f: &mut Feature) -> Fallible<Tensor> {
        Ok(f.direction()?)
    }

    /// Returns the dictionary of the feature.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).feature(1).sae  //=> identity dictionary of 3 features
    /// ```
    #[rhai_fn(global, get = "sae", pure)]
    pub fn sae(f: &mut Feature) -> Sae {
        f.sae.clone()
    }

    /// Returns the data of the feature, as a map.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).feature(1).to_map().index  //=> 1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(f: &mut Feature) -> Fallible<Dynamic> {
        Ok(mapped(f)?)
    }
}
