//! Features of a dictionary as parts of a grid: x becomes x + (c'_j - c_j) d_j at all positions, with the activations c
//! of the run and c' of the one that is patched in, or 0. The reconstruction error stays. Where a feature has the same
//! activations in both runs its effect is exactly 0, and nothing is computed.

use super::GridOptions;
use super::effects::PatchEffects;
use super::exact::RunPair;
use super::parts::{PatchPart, SitePart};
use crate::common::*;
use crate::data::harvest::width;
use crate::model::hooks::{At, Hooks};
use crate::sae::splice::heads_joined;
use crate::sae::{Sae, site_of};

/// The number of features whose changes are computed at once.
const FEATURES_AT_ONCE: usize = 256;

/// Returns dictionaries with their sites, in the order of the computation: those that `sites` names, or their own.
pub fn placed(model: &Model, saes: &[Sae], options: &GridOptions) -> Result<Vec<SiteDictionary>> {
    if saes.is_empty() {
        return Err(err!(Argument, "expected a dictionary whose features are patched, found none")
            .hint("#{ by: \"feature\", dictionaries: s }, or an array of dictionaries at different sites")
            .about("dictionaries"));
    }
    let config = model.decoder.config();
    if let Some(sites) = options.sites.as_ref().filter(|sites| sites.len() != saes.len()) {
        return Err(err!(Argument, "expected a site for each of {} dictionaries, found {}", saes.len(), sites.len())
            .about("sites"));
    }
    let one = |(number, sae): (usize, &Sae)| -> Result<SiteDictionary> {
        sae.check_writes_what_it_reads()?;
        let named = options.sites.as_ref().map(|sites| sites[number].clone());
        let site = named.map_or_else(|| site_of(sae), Ok)?;
        let place = one_site(config, &site, "a dictionary is patched at one site")?;
        sae.check_width(width(config, place)?, &model.name(), &place.to_string())?;
        Ok(SiteDictionary { place, sae: sae.clone() })
    };
    let found = saes.iter().enumerate().map(one).collect::<Result<Vec<_>>>();
    let mut found = found.map_err(|e| e.about("dictionaries"))?;
    found.sort_by_key(|known| known.place);
    match found.windows(2).find(|two| two[0].place == two[1].place) {
        Some(two) => Err(err!(Argument, "expected dictionaries at different sites, found two at `{}`", two[0].place)
            .hint("make a grid for each")
            .about("dictionaries")),
        None => Ok(found),
    }
}

/// A dictionary and the site of a model that it reads.
#[derive(Debug, Clone)]
pub struct SiteDictionary {
    pub place: Place,
    pub sae: Sae,
}

/// Differences between the feature activations of two runs at the site of a dictionary.
pub struct FeatureChanges<'a> {
    place: Place,
    sae: &'a Sae,
    /// The activation that is changed, as it is and as the dictionary reads it.
    own: Tensor,
    input: Tensor,
    /// The text, position and difference c' - c of each feature where that is not 0.
    differences: BTreeMap<usize, Vec<(usize, usize, f32)>>,
}

impl<'a> FeatureChanges<'a> {
    /// Computes the differences. `own` and `other` are activations `[texts, pos, ..]` of both runs; without another one
    /// its codes are 0.
    pub fn new(
        place: Place,
        sae: &'a Sae,
        own: &Tensor,
        other: Option<&Tensor>,
        lengths: &[usize],
        task: &Task,
    ) -> Result<Self> {
        let readable = |x: &Tensor| dtype::convert(&heads_joined(x, sae.d_in())?, sae.parts().encoder.dtype());
        let input = readable(own)?;
        let other = other.map(readable).transpose()?;
        let mut differences: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        // Text by text, since the activations of all texts may not fit.
        for (text, length) in lengths.iter().enumerate() {
            task.check()?;
            let codes = |x: &Tensor| sae.encode(&x.narrow(0, text, 1)?.narrow(1, 0, *length)?.contiguous()?);
            let before = codes(&input)?;
            let changes = match &other {
                Some(other) => (codes(other)? - before)?,
                None => before.neg()?,
            };
            let changes = floats(&changes)?;
            for (at, change) in changes.into_iter().enumerate().filter(|(_, change)| *change != 0.0) {
                let position = at / sae.d_sae();
                let feature = at % sae.d_sae();
                differences.entry(feature).or_default().push((text, position, change as f32));
            }
        }
        Ok(Self { place, sae, own: own.clone(), input, differences })
    }

    /// Returns the features with different activations somewhere.
    pub fn features(&self) -> Vec<usize> {
        self.differences.keys().copied().collect()
    }

    /// Returns whether a feature has different activations in a text.
    pub fn differs(&self, feature: usize, text: usize) -> bool {
        self.differences.get(&feature).is_some_and(|places| places.iter().any(|place| place.0 == text))
    }

    /// Returns what patching some features together adds to the activation: `[texts, pos, ..]`.
    pub fn written(&self, features: &[usize]) -> Result<Tensor> {
        let texts = self.input.dim(0)?;
        let columns = self.input.dim(1)?;
        let mut codes = vec![0.0_f32; texts * columns * features.len()];
        for (number, feature) in features.iter().enumerate() {
            for (text, position, change) in self.differences.get(feature).into_iter().flatten() {
                codes[(text * columns + position) * features.len() + number] = *change;
            }
        }
        let device = self.input.device();
        let codes = Tensor::from_vec(codes, (texts, columns, features.len()), device)?.to_dtype(self.input.dtype())?;
        let which: Vec<u32> = features.iter().map(|feature| *feature as u32).collect();
        let written = self.sae.writes(&self.input, &Tensor::new(which, device)?, &codes)?;
        dtype::convert(&written.reshape(self.own.shape())?, self.own.dtype())
    }

    /// Returns what patching all features adds.
    pub fn all_written(&self) -> Result<Tensor> {
        let mut sum = self.own.zeros_like()?;
        for some in self.features().chunks(FEATURES_AT_ONCE) {
            sum = (sum + self.written(some)?)?;
        }
        Ok(sum)
    }

    fn part(&self, feature: usize) -> PatchPart {
        PatchPart { place: self.place, part: SitePart::Feature(feature) }
    }

    /// Returns the parts that differ.
    pub fn parts(&self) -> Vec<PatchPart> {
        self.features().into_iter().map(|feature| self.part(feature)).collect()
    }

    /// Returns the parts whose effects are 0.
    pub fn same(&self) -> impl Iterator<Item = PatchPart> {
        (0..self.sae.d_sae())
            .filter(|feature| !self.differences.contains_key(feature))
            .map(|feature| self.part(feature))
    }
}

/// Adds the effects of all features, by running what comes after each patch.
pub fn effects(
    runs: &RunPair,
    saes: &[SiteDictionary],
    effects: &mut PatchEffects<PatchPart>,
    task: &Task,
) -> Result<()> {
    let group = runs.group;
    for SiteDictionary { place, sae } in saes {
        let other = if runs.is_zero() { None } else { Some(runs.other(*place)?) };
        let found = FeatureChanges::new(*place, sae, &runs.own(*place)?, other.as_ref(), &runs.lengths(), task)?;
        for part in found.same() {
            effects.add(group, part, group.pairs.iter().map(|_| 0.0))?;
        }
        let changing = runs.changing(place.site.layer);
        for some in found.features().chunks(changing.at_once()) {
            task.check()?;
            let written = some.iter().map(|feature| found.written(&[*feature])).collect::<Result<Vec<_>>>()?;
            let mut added = SiteAddition { place: *place, change: Tensor::cat(&written, 0)? };
            let values = changing.values(some.len(), runs.later(), &mut added, task)?;
            for (feature, values) in some.iter().zip(values) {
                let differs = |pair: usize| {
                    runs.pair_of().iter().enumerate().any(|(text, of)| *of == pair && found.differs(*feature, text))
                };
                // The same run in a batch with others may have other last digits.
                let of_pair = |(pair, effect)| if differs(pair) { effect } else { 0.0 };
                effects.add(group, found.part(*feature), runs.effects(&values).enumerate().map(of_pair))?;
            }
        }
    }
    Ok(())
}

/// A hook that adds to a site.
struct SiteAddition {
    place: Place,
    /// The change `[rows, pos, ..]`, at all positions.
    change: Tensor,
}

impl Hooks for SiteAddition {
    fn wants(&self, site: Site) -> bool {
        site == self.place.site
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let mut change = self.change.narrow(1, at.columns.start, at.columns.len())?;
        if let Some(head) = self.place.head {
            change = change.unsqueeze(2)?.pad_with_zeros(2, head, x.dim(2)? - head - 1)?;
        }
        Ok(Some((x + change)?))
    }
}
