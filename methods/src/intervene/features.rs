//! Hooks on the features of a dictionary: model hooks applied to feature activations.

use crate::data::harvest::width;
use crate::model::hooks::{Action, At, BoundHook, Edit, PatchSource, checks};
use crate::model::site::select;
use crate::sae::prelude::*;
use crate::sae::splice::{ErrorTreatment, heads_joined};

crate::choices! {
    /// Treatments of the reconstruction error of a dictionary.
    pub enum ErrorOption {
        Keep = "keep",
        Drop = "drop",
    }
}

crate::options! {
    /// Options of a hook on features, besides those of every hook.
    pub struct FeatureHookOptions {
        /// The treatment of the dictionary's reconstruction error, in a hook on features.
        error: Option<ErrorOption> = None => usually("\"keep\"");
        /// Whether all other features of the dictionary take the place of the given ones, in a hook on features.
        others: Option<bool> = None => usually("false");
        /// The site of the dictionary, in any model, in a hook on features.
        site: Option<String> = None => usually("the dictionary's");
    }
}

impl FeatureHookOptions {
    /// Returns the name of an option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let all = [("error", self.error.is_some()), ("others", self.others.is_some()), ("site", self.site.is_some())];
        all.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

/// Features of a dictionary that a hook acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureChoice {
    /// The given features, in their order.
    Only(Vec<usize>),
    AllBut(Vec<usize>),
}

impl FeatureChoice {
    /// Returns the indices of the features, each once: as they are given, or else in order.
    pub fn indices(&self, d_sae: usize) -> Result<Vec<u32>> {
        let (FeatureChoice::Only(given) | FeatureChoice::AllBut(given)) = self;
        let mut is_given = vec![false; d_sae];
        let mut indices = Vec::new();
        for feature in given {
            match is_given.get_mut(*feature) {
                None => return Err(err!(Argument, "expected features below {d_sae}, found {feature}")),
                Some(true) => {}
                Some(known) => {
                    *known = true;
                    indices.push(*feature as u32);
                }
            }
        }
        Ok(match self {
            FeatureChoice::Only(_) => indices,
            FeatureChoice::AllBut(_) => (0..).zip(is_given).filter(|(_, is_given)| !is_given).map(|(i, _)| i).collect(),
        })
    }

    fn tensor(&self, sae: &Sae) -> Result<Tensor> {
        Ok(Tensor::new(self.indices(sae.d_sae())?, sae.directions().device())?)
    }
}

/// A hook that applies another hook to feature activations. The site, if the inner hook turns the activations c into c',
/// becomes:
///
/// ```text
/// x + (c' - c) D          where the dictionary's error is kept
/// x_hat + (c' - c) D      where it is dropped
/// ```
///
/// so that a feature whose activation stays the same changes nothing. Gradients pass through x and through the
/// activations.
pub struct OnFeatures<'a> {
    sae: Sae,
    features: Tensor,
    rest: ErrorTreatment,
    inner: Box<dyn Edit + 'a>,
}

impl<'a> OnFeatures<'a> {
    /// Builds a hook whose `inner` sees the activations of the features, `[batch, pos, features]`.
    pub fn new(sae: Sae, which: &FeatureChoice, rest: ErrorTreatment, inner: Box<dyn Edit + 'a>) -> Result<Self> {
        let features = which.tensor(&sae)?;
        Ok(Self { sae, features, rest, inner })
    }

    /// Binds the hook to the site that the dictionary reads, or to another one of the same width.
    pub fn at(self, config: &Config, site: &str, positions: Option<Vec<i64>>) -> Result<BoundHook<'a>> {
        BoundHook::new(config, site, None, positions, Box::new(self))
    }

    /// Returns the replacement for `x`, in which the heads of a site are joined.
    fn edited(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let input = readable(&self.sae, place, x)?;
        let (codes, base) = match self.rest {
            ErrorTreatment::Kept => (self.sae.encode(&input)?, x.clone()),
            ErrorTreatment::Dropped => {
                let (codes, found) = self.sae.encode_and_reconstruct(&input)?;
                (codes, dtype::convert(&found, x.dtype())?)
            }
        };
        let unchanged = (self.rest == ErrorTreatment::Dropped).then(|| base.clone());
        if self.features.elem_count() == 0 {
            return Ok(unchanged);
        }
        let part = codes.contiguous()?.index_select(&self.features.to_device(codes.device())?, codes.rank() - 1)?;
        let Some(edited) = self.inner.edit(at, place, positions, &part)? else { return Ok(unchanged) };
        checks::same_form(&place, &part, &edited)?;
        checks::no_new_nan(&place, &part, &edited)?;
        let change = self.sae.writes(&input, &self.features, &(edited - part)?)?;
        Ok(Some((base + dtype::convert(&change, x.dtype())?)?))
    }
}

impl Edit for OnFeatures<'_> {
    fn edit(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let edited = self.edited(at, place, positions, &heads_joined(x, self.sae.d_in())?)?;
        edited.map(|edited| Ok(edited.reshape(x.shape())?)).transpose()
    }
}

/// Converts activations to what a dictionary reads, and refuses NaN and infinities, which not every activation function
/// passes on.
fn readable(sae: &Sae, place: Place, x: &Tensor) -> Result<Tensor> {
    checks::finite(x, format_args!("activations at `{place}` for a dictionary to encode"))
        .map_err(|e| e.hint("`m.cache(text, \"resid_post.*\")` shows where it comes from"))?;
    dtype::convert(x, sae.parts().encoder.dtype())
}

/// A hook on features with its site, before it is bound to a model.
#[derive(Debug, Clone)]
pub struct FeatureHook {
    sae: Sae,
    which: FeatureChoice,
    rest: ErrorTreatment,
    site: String,
    /// Whether the call names the site, rather than the dictionary.
    is_named: bool,
}

impl FeatureHook {
    /// Builds the hook. `own_site` returns the site of the dictionary itself, and is called only if the options name no
    /// site.
    pub fn new(
        sae: Sae,
        features: Vec<usize>,
        options: &FeatureHookOptions,
        own_site: impl FnOnce(&Sae) -> Result<String>,
    ) -> Result<Self> {
        sae.check_writes_what_it_reads()?;
        Ok(Self {
            which: if options.others.unwrap_or(false) {
                FeatureChoice::AllBut(features)
            } else {
                FeatureChoice::Only(features)
            },
            rest: match options.error {
                Some(ErrorOption::Drop) => ErrorTreatment::Dropped,
                Some(ErrorOption::Keep) | None => ErrorTreatment::Kept,
            },
            is_named: options.site.is_some(),
            site: options.site.clone().map_or_else(|| own_site(&sae), Ok)?,
            sae,
        })
    }

    pub fn sae(&self) -> &Sae {
        &self.sae
    }

    pub fn which(&self) -> &FeatureChoice {
        &self.which
    }

    pub fn rest(&self) -> ErrorTreatment {
        self.rest
    }

    pub fn site(&self) -> &str {
        &self.site
    }

    /// Converts an action to feature activations: those of a recorded run are computed once for all runs of the hook.
    pub fn action(&self, action: &Action, task: &Task) -> Result<Action> {
        on_codes(action, &self.sae, &self.which, &self.site, task)
    }

    /// Binds the hook to a model, with its edit of feature activations.
    pub fn bound<'a>(
        &self,
        model: &Model,
        edit: Box<dyn Edit + 'a>,
        positions: Option<Vec<i64>>,
    ) -> Result<BoundHook<'a>> {
        check_place(&self.sae, model, &self.site, self.is_named)?;
        if !self.is_named {
            // Whoever names the site knows in which model it is.
            let hint = "load one that was fitted on it; where both are one model, say so by naming the option `site`";
            self.sae.check_model(&model.name()).map_err(|e| e.hint(hint))?;
        }
        let config = model.decoder.config();
        OnFeatures::new(self.sae.clone(), &self.which, self.rest, edit)?.at(config, &self.site, positions)
    }
}

/// Converts an action on activations to one on feature activations: a recorded activation is encoded.
fn on_codes(action: &Action, sae: &Sae, which: &FeatureChoice, site: &str, task: &Task) -> Result<Action> {
    let features = which.tensor(sae)?;
    let encoded = |cache: &Arc<Cache>| -> Result<Arc<Cache>> {
        let mut codes = Vec::new();
        for place in select(cache.config(), site)? {
            let x = readable(sae, place, &heads_joined(&cache.at(place)?, sae.d_in())?)?;
            codes.push((place, codes_of(sae, &features, &x, task)?));
        }
        Ok(Arc::new(cache.holding(codes)))
    };
    Ok(match action {
        Action::Mean { cache, by_position } => Action::Mean { cache: encoded(cache)?, by_position: *by_position },
        Action::Patch(PatchSource::Cache(cache)) => Action::Patch(PatchSource::Cache(encoded(cache)?)),
        other => other.clone(),
    })
}

/// Returns the activations of some features, text by text, since those of all features may not fit.
fn codes_of(sae: &Sae, features: &Tensor, x: &Tensor, task: &Task) -> Result<Tensor> {
    let each = (0..x.dim(0)?).map(|row| {
        task.check()?;
        let codes = sae.encode(&x.narrow(0, row, 1)?)?;
        Ok(codes.contiguous()?.index_select(&features.to_device(codes.device())?, codes.rank() - 1)?)
    });
    Ok(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)?)
}

/// Refuses a dictionary of another site. If a site is `named`, the dictionary's own are not checked.
fn check_place(sae: &Sae, model: &Model, site: &str, named: bool) -> Result<()> {
    let config = model.decoder.config();
    select(config, site)?.into_iter().try_for_each(|place| {
        let width = width(config, place)?;
        let place = place.to_string();
        if named { sae.check_width(width, &model.name(), &place) } else { sae.check_fits(width, &model.name(), &place) }
    })
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::features::samples::plain;
    use crate::fixtures::{config, decoder};
    use crate::sae::{About, Parts};

    const SITE: &str = "resid_post.0";

    fn dictionary(d: usize) -> Sae {
        let draw = |rows: usize, seed: f32| {
            let numbers = (0..rows * d).map(|i| ((i as f32 + seed) * 0.7).sin()).collect::<Vec<_>>();
            Tensor::from_vec(numbers, (rows, d), &Device::Cpu).unwrap()
        };
        let decoder_bias = Some(draw(1, 3.0).squeeze(0).unwrap());
        let about = About { kind: "relu".into(), sites: vec![SITE.into()], ..About::default() };
        let parts = plain(draw(3 * d, 1.0), draw(3 * d, 2.0));
        Sae::new(Parts { decoder_bias, centred: true, about, ..parts }).unwrap()
    }

    /// Runs with hooks, and returns the residual stream after them with its feature activations.
    fn ran(model: &Decoder, sae: &Sae, hooks: Vec<BoundHook>) -> (Tensor, Tensor) {
        let batch = Batch::new(vec![vec![1, 2, 3], vec![4, 0, 1]]).unwrap();
        let ask = Ask { hooks, places: select(model.config(), SITE).unwrap(), positions: None };
        let x = model.cache(&batch, ask, &Task::default()).unwrap().get(SITE).unwrap();
        (x.clone(), sae.encode(&x).unwrap())
    }

    fn hook<'a>(
        model: &Decoder,
        sae: &Sae,
        which: FeatureChoice,
        rest: ErrorTreatment,
        action: Action,
    ) -> BoundHook<'a> {
        let inner = Box::new(on_codes(&action, sae, &which, SITE, &Task::default()).unwrap().begin());
        OnFeatures::new(sae.clone(), &which, rest, inner).unwrap().at(model.config(), SITE, None).unwrap()
    }

    #[test]
    fn a_feature_is_taken_off_by_what_it_writes() {
        let model = decoder(config(), DType::F32);
        let sae = dictionary(model.config().d_model);
        let (x, codes) = ran(&model, &sae, vec![]);
        let one = |feature: usize| {
            let code = codes.narrow(2, feature, 1).unwrap();
            code.broadcast_mul(&sae.directions().get(feature).unwrap()).unwrap()
        };
        let (zeroed, _) = ran(
            &model,
            &sae,
            vec![hook(&model, &sae, FeatureChoice::Only(vec![2]), ErrorTreatment::Kept, Action::Zero)],
        );
        assert!(far(&zeroed, (&x - one(2)).unwrap()) < 1e-5);
        let (grown, _) = ran(
            &model,
            &sae,
            vec![hook(&model, &sae, FeatureChoice::Only(vec![5, 2]), ErrorTreatment::Kept, Action::Scale(3.0))],
        );
        assert!(far(&grown, (&x + ((one(2) + one(5)).unwrap() * 2.0).unwrap()).unwrap()) < 1e-4);
    }

    #[test]
    fn without_the_error_what_is_kept_is_what_those_features_stand_for() {
        let model = decoder(config(), DType::F32);
        let sae = dictionary(model.config().d_model);
        let (x, codes) = ran(&model, &sae, vec![]);
        let all_but = hook(&model, &sae, FeatureChoice::AllBut(vec![1]), ErrorTreatment::Dropped, Action::Zero);
        let (found, _) = ran(&model, &sae, vec![all_but]);
        let mut kept = vec![0.0_f32; sae.d_sae()];
        kept[1] = 1.0;
        let kept = codes.broadcast_mul(&Tensor::new(kept, &Device::Cpu).unwrap()).unwrap();
        assert!(far(&found, sae.decode(&kept).unwrap()) < 1e-4);
        let nothing = hook(&model, &sae, FeatureChoice::Only(vec![0]), ErrorTreatment::Dropped, Action::Scale(1.0));
        assert!(far(&ran(&model, &sae, vec![nothing]).0, sae.reconstruct(&x).unwrap()) < 1e-5);
    }

    #[test]
    fn patches_and_means_are_of_codes() {
        let model = decoder(config(), DType::F32);
        let sae = dictionary(model.config().d_model);
        let batch = Batch::new(vec![vec![2, 2, 2], vec![3, 3, 3]]).unwrap();
        let ask = Ask { places: select(model.config(), SITE).unwrap(), ..Ask::default() };
        let cache = Arc::new(model.cache(&batch, ask, &Task::default()).unwrap());
        let all = FeatureChoice::AllBut(vec![]);
        let source = Action::Patch(PatchSource::Cache(cache.clone()));
        // All activations of another run, and none of this one's error, give its reconstruction.
        let (found, _) = ran(&model, &sae, vec![hook(&model, &sae, all.clone(), ErrorTreatment::Dropped, source)]);
        assert!(far(&found, sae.reconstruct(&cache.get(SITE).unwrap()).unwrap()) < 1e-4);
        let mean = Action::Mean { cache: cache.clone(), by_position: false };
        let (found, _) = ran(&model, &sae, vec![hook(&model, &sae, all, ErrorTreatment::Dropped, mean)]);
        let mean = sae.encode(&cache.get(SITE).unwrap()).unwrap().mean((0, 1)).unwrap();
        let expected = sae.decode(&mean).unwrap().broadcast_as(found.shape()).unwrap();
        assert!(far(&found, &expected) < 1e-4);
    }

    #[test]
    fn features_that_are_none_are_refused() {
        let error = FeatureChoice::Only(vec![3, 9]).indices(9).unwrap_err();
        assert_eq!(error.message, "expected features below 9, found 9");
        assert_eq!(FeatureChoice::AllBut(vec![0, 2]).indices(4).unwrap(), [1, 3]);
        assert_eq!(FeatureChoice::Only(vec![2, 0, 2]).indices(4).unwrap(), [2, 0]);
    }

    #[test]
    fn no_features_are_no_change() {
        let model = decoder(config(), DType::F32);
        let sae = dictionary(model.config().d_model);
        let (x, _) = ran(&model, &sae, vec![]);
        let (found, _) = ran(
            &model,
            &sae,
            vec![hook(&model, &sae, FeatureChoice::Only(vec![]), ErrorTreatment::Kept, Action::Zero)],
        );
        assert_eq!(far(&found, &x), 0.0);
    }

    #[test]
    fn what_is_not_finite_is_named_by_its_place() {
        let place = select(&config(), SITE).unwrap()[0];
        let sae = dictionary(2);
        for (odd, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
            let x = Tensor::new(&[[[1.0_f32, 2.0], [odd, 0.0]]], &Device::Cpu).unwrap();
            let error = readable(&sae, place, &x).unwrap_err();
            let wanted = "expected finite activations at `resid_post.0` for a dictionary to encode";
            assert_eq!(error.message, format!("{wanted}, found {shown} at [0, 1, 0]"));
        }
    }
}
