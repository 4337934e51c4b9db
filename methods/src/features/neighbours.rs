//! The features nearest to one: by direction, and by co-activation.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::feature::site;
use crate::data::harvest::{ActivationBlock, FunctionSink, HarvestOptions, TextReading};
use crate::sae::SparseCodes;
use crate::sae::prelude::*;

crate::options! {
    pub struct NearOptions {
        /// Number of features.
        rows: usize = 10;
    }
}

/// A feature with a direction near that of another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    pub feature: usize,
    /// The cosine of the directions of both.
    pub cosine: f64,
}

impl Neighbour {
    fn new(feature: usize, cosine: f32) -> Self {
        Self { feature, cosine: f64::from(cosine) }
    }

    /// Compares neighbours by their order: the largest cosine first, and of equal ones the first feature.
    fn order(&self, other: &Self) -> Ordering {
        other.cosine.total_cmp(&self.cosine).then(self.feature.cmp(&other.feature))
    }
}

/// Returns the features of a dictionary whose directions have the largest cosine with that of a feature, without
/// itself. A direction of norm 0 has a cosine of 0 with all.
pub fn by_direction(sae: &Sae, feature: usize, other: Option<&Sae>, count: usize) -> Result<Vec<Neighbour>> {
    let among = other.unwrap_or(sae);
    if among.d_out() != sae.d_out() {
        return Err(err!(
            Shape,
            "expected directions of width {} to compare with, found {}",
            sae.d_out(),
            among.d_out()
        )
        .hint("only dictionaries with outputs of the same width have comparable directions"));
    }
    let one = unit(&sae.directions().narrow(0, feature, 1)?)?;
    let cosines = unit(among.directions())?.matmul(&one.t()?)?.squeeze(1)?.to_vec1::<f32>()?;
    let all = cosines.into_iter().enumerate().map(|(feature, cosine)| Neighbour::new(feature, cosine));
    let mut found: Vec<Neighbour> = all.filter(|one| other.is_some() || one.feature != feature).collect();
    found.sort_by(Neighbour::order);
    found.truncate(count);
    Ok(found)
}

/// Returns the nearest features by direction for several features of a dictionary, one after the other.
pub fn nearest(sae: &Sae, features: &[usize], count: usize) -> Result<Vec<Vec<Neighbour>>> {
    let all = unit(sae.directions())?;
    let numbers: Vec<u32> = features.iter().map(|feature| *feature as u32).collect();
    let chosen = all.index_select(&Tensor::new(numbers, all.device())?, 0)?;
    let cosines = chosen.matmul(&all.t()?)?.to_vec2::<f32>()?;
    let of = |(feature, cosines): (&usize, &Vec<f32>)| {
        let all = cosines.iter().enumerate().map(|(other, cosine)| Neighbour::new(other, *cosine));
        let mut found: Vec<Neighbour> = all.filter(|one| one.feature != *feature).collect();
        if count > 0 && count < found.len() {
            found.select_nth_unstable_by(count - 1, Neighbour::order);
        }
        found.truncate(count);
        found.sort_by(Neighbour::order);
        found
    };
    Ok(features.iter().zip(&cosines).map(of).collect())
}

/// Scales rows to length 1; rows of 0 stay 0.
fn unit(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.to_dtype(DType::F32)?;
    let lengths = rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
    Ok(rows.broadcast_div(&lengths)?)
}

/// A feature, and its co-activation with another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coactivation {
    pub feature: usize,
    /// The number of positions at which both features are active; `fired` is that at which this one is.
    pub both: u64,
    pub fired: u64,
    /// The correlation of being active, 1 or 0, over all positions:
    /// `(n both - a b) / sqrt(a (n - a) b (n - b))` of n positions with a and b of them active.
    pub correlation: f64,
}

/// Features that are active where one is, and the positions of the text that they were counted at.
#[derive(Debug, Clone, PartialEq)]
pub struct Coactivations {
    /// The features, largest correlation first.
    pub found: Vec<Coactivation>,
    /// The number of positions.
    pub positions: u64,
    /// The number of positions at which the feature itself is active.
    pub active: u64,
}

/// Returns the features of a dictionary, the feature's own or another one, that are active most where a feature is, by
/// the correlation of being active, counted exactly in one pass over a text.
pub fn by_activity(
    model: &Model,
    sae: &Sae,
    feature: usize,
    other: Option<&Sae>,
    text: &Text,
    count: usize,
    task: &Task,
) -> Result<Coactivations> {
    let among = other.unwrap_or(sae);
    let names = [site(sae)?, site(among)?];
    let harvest = TextReading::new(model, text, &HarvestOptions::default()).harvest(&names, task)?;
    let place = |name: &str| harvest.places().iter().position(|place| place.to_string() == name);
    let [Some(of_one), Some(of_other)] = names.map(place) else {
        return Err(err!(Bug, "a site that was not harvested"));
    };
    for (sae, (name, at)) in [sae, among].into_iter().zip(names.into_iter().zip([of_one, of_other])) {
        sae.check_fits(harvest.widths().get(at).copied().unwrap_or_default(), &model.name(), name)?;
    }
    let mut counts =
        CoactivationCounts { both: vec![0; among.d_sae()], fired: vec![0; among.d_sae()], active: 0, positions: 0 };
    let mut sink = FunctionSink(|block: ActivationBlock| {
        let encoded = |sae: &Sae, at: usize| match block.activations.get(at) {
            Some(x) => sae.encode_sparse(x, task)?.finite(),
            None => Err(err!(Bug, "a block without a site")),
        };
        let one = encoded(sae, of_one)?;
        match other {
            Some(other) => counts.take(feature, &one, &encoded(other, of_other)?),
            None => counts.take(feature, &one, &one),
        }
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, task)?;
    let mut found = counts.together();
    found.retain(|together| other.is_some() || together.feature != feature);
    found.sort_by(|a, b| b.correlation.total_cmp(&a.correlation).then(a.feature.cmp(&b.feature)));
    found.truncate(count);
    Ok(Coactivations { found, positions: counts.positions, active: counts.active })
}

/// Counts of a feature's activations, and of other features' together with it.
struct CoactivationCounts {
    both: Vec<u64>,
    fired: Vec<u64>,
    active: u64,
    positions: u64,
}

impl CoactivationCounts {
    fn take(&mut self, feature: usize, one: &SparseCodes, others: &SparseCodes) {
        self.positions += one.rows() as u64;
        for at in 0..one.rows() {
            let is_active = one.code(at, feature) != 0.0;
            self.active += u64::from(is_active);
            for other in others.row(at).0 {
                if let (Some(fired), Some(both)) =
                    (self.fired.get_mut(*other as usize), self.both.get_mut(*other as usize))
                {
                    *fired += 1;
                    *both += u64::from(is_active);
                }
            }
        }
    }

    /// Returns the features that are active together with the counted one anywhere.
    fn together(&self) -> Vec<Coactivation> {
        let n = self.positions as f64;
        let a = self.active as f64;
        let of = |(feature, (both, fired)): (usize, (&u64, &u64))| {
            let b = *fired as f64;
            let spread = (a * (n - a) * b * (n - b)).sqrt();
            // A feature that is active everywhere is correlated with none.
            let correlation = if spread > 0.0 { (n * *both as f64 - a * b) / spread } else { 0.0 };
            Coactivation { feature, both: *both, fired: *fired, correlation }
        };
        self.both.iter().zip(&self.fired).enumerate().filter(|(_, (both, _))| **both > 0).map(of).collect()
    }
}

/// A feature that is active where another one is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Companion {
    pub feature: usize,
    /// The share of the other feature's positions at which this one is active.
    pub share: f64,
    /// The share of all positions at which this feature is active.
    pub density: f64,
}

/// Returns the features that are active at more of the positions of `feature` than of all, by the difference of both
/// shares. `at` has the features that are active at positions drawn among those of `feature`; the share is an estimate
/// from these.
pub fn by_company(feature: usize, at: &[Vec<u32>], density: &dyn Fn(usize) -> f64, count: usize) -> Vec<Companion> {
    let mut counts = BTreeMap::new();
    for other in at.iter().flatten().filter(|other| **other as usize != feature) {
        *counts.entry(*other as usize).or_insert(0_usize) += 1;
    }
    let companion = |(other, together): (usize, usize)| Companion {
        feature: other,
        share: together as f64 / at.len() as f64,
        density: density(other),
    };
    let mut found: Vec<Companion> = counts.into_iter().map(companion).filter(|c| c.share > c.density).collect();
    let beyond = |companion: &Companion| companion.share - companion.density;
    found.sort_by(|a, b| beyond(b).total_cmp(&beyond(a)).then(a.feature.cmp(&b.feature)));
    found.truncate(count);
    found
}

/// Returns neighbours by direction as a table.
pub fn directions(title: &str, found: &[Neighbour]) -> Table {
    let rows = found.iter().map(|one| vec![one.feature.into(), one.cosine.into()]);
    Table::new(title, ["feature", "cosine"], rows)
}

/// Returns features that are active together with one as a table.
pub fn activities(title: &str, found: &[Coactivation]) -> Table {
    let rows = found.iter().map(|t| vec![t.feature.into(), t.both.into(), t.fired.into(), t.correlation.into()]);
    let columns = ["feature", "active together", "active at all", "correlation"];
    Table::new(title, columns, rows)
}

/// Returns co-active features as a table.
pub fn companions(title: &str, found: &[Companion]) -> Table {
    let columns = ["feature", "active at this one's positions", "at all positions"];
    let rows = found.iter().map(|c| vec![c.feature.into(), c.share.into(), c.density.into()]);
    Table::new(title, columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::text;
    use crate::features::samples::{self, dictionary, model, with_directions};
    use crate::features::survey::{KeptPositions, Survey};

    #[test]
    fn activity_together_is_what_the_codes_of_both_say() {
        let saes = [dictionary("resid_post.1", 1), dictionary("resid_post.0", 2)];
        let model = model();
        let task = Task::default();
        let text = samples::text(60, text::TextOptions::default());
        let kept = KeptPositions { top: 10_000, some: 0, seed: 0 };
        let options = HarvestOptions::default();
        let survey = Survey::of(&saes, TextReading::new(&model, &text, &options), kept, &task).unwrap();
        let at = |number: usize, feature: usize| -> Vec<(u32, u32)> {
            survey.dictionaries[number][feature].top.iter().map(|moment| (moment.row, moment.column)).collect()
        };
        for (other, number) in [(None, 0), (Some(&saes[1]), 1)] {
            let Coactivations { found, positions, active } =
                by_activity(&model, &saes[0], 5, other, &text, 99, &task).unwrap();
            let of_one = at(0, 5);
            assert_eq!((positions, active), (survey.positions, of_one.len() as u64));
            assert!(found.len() > 2 && found.windows(2).all(|pair| pair[0].correlation >= pair[1].correlation));
            for together in found {
                let of_other = at(number, together.feature);
                let both = of_one.iter().filter(|place| of_other.contains(place)).count() as u64;
                assert_eq!((together.both, together.fired), (both, of_other.len() as u64));
                assert!(other.is_some() || together.feature != 5);
            }
        }
        // Every feature goes with itself.
        let found = by_activity(&model, &saes[0], 5, Some(&saes[0]), &text, 1, &task).unwrap().found;
        assert_eq!((found[0].feature, found[0].both), (5, found[0].fired));
        assert!((found[0].correlation - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_nearest_comes_first_and_a_feature_is_not_its_own_neighbour() {
        let sae = with_directions(&[[1.0, 0.0], [0.6, 0.8], [0.0, 0.0], [-2.0, 0.0]]);
        let found = by_direction(&sae, 0, None, 9).unwrap();
        assert_eq!(found.iter().map(|one| one.feature).collect::<Vec<_>>(), [1, 2, 3]);
        let cosines: Vec<f64> = found.iter().map(|one| one.cosine).collect();
        assert!((cosines[0] - 0.6).abs() < 1e-6 && cosines[1] == 0.0 && (cosines[2] + 1.0).abs() < 1e-6);
        let other = with_directions(&[[0.0, 1.0], [3.0, 0.0]]);
        assert_eq!(by_direction(&sae, 0, Some(&other), 1).unwrap(), [Neighbour { feature: 1, cosine: 1.0 }]);
    }

    #[test]
    fn company_counts_beyond_what_is_active_everywhere() {
        let at = [vec![0, 2, 9], vec![0, 2, 9], vec![0, 9], vec![0, 3, 9]];
        let density = |feature: usize| if feature == 9 { 1.0 } else { 0.1 };
        let found = by_company(0, &at, &density, 5);
        let expected = [(2, 0.5), (3, 0.25)].map(|(feature, share)| Companion { feature, share, density: 0.1 });
        assert_eq!(found, expected);
        assert_eq!(by_company(0, &[], &density, 5), []);
    }
}
