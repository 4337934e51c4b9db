//! The features nearest to one: by the direction that they write, and by being active where it is.

use crate::base::{Result, Table};
use crate::err;
use crate::sae::Sae;
use crate::tensor::{DType, Tensor};

/// The features of a dictionary whose directions have the largest cosine with that of a feature; itself left out where it
/// is of the same dictionary. A direction of length 0 has a cosine of 0 with all.
pub fn by_direction((sae, feature): (&Sae, usize), other: Option<&Sae>, count: usize) -> Result<Vec<(usize, f64)>> {
    let among = other.unwrap_or(sae);
    if among.d_out() != sae.d_out() {
        return Err(err!(
            Shape,
            "expected directions of width {} to compare with, found {}",
            sae.d_out(),
            among.d_out()
        )
        .hint("only dictionaries that write into spaces of the same width have directions to compare"));
    }
    let one = unit(&sae.directions().narrow(0, feature, 1)?)?;
    let cosines = unit(among.directions())?.matmul(&one.t()?)?.squeeze(1)?.to_vec1::<f32>()?;
    let mut found: Vec<(usize, f64)> =
        cosines.into_iter().map(f64::from).enumerate().filter(|(f, _)| other.is_some() || *f != feature).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    found.truncate(count);
    Ok(found)
}

/// Rows of length 1, or 0.
fn unit(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.to_dtype(DType::F32)?;
    let lengths = rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
    Ok(rows.broadcast_div(&lengths)?)
}

/// A feature that is active where another one is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Companion {
    pub feature: usize,
    /// At what share of the other's positions it is active.
    pub share: f64,
    /// At what share of all positions it is.
    pub density: f64,
}

/// The features that are active at more of the positions of `feature` than of all, by the difference of both shares.
/// `at` has the features that are active at positions drawn among those of `feature`; the share is an estimate from these.
pub fn by_company(feature: usize, at: &[Vec<u32>], density: &dyn Fn(usize) -> f64, count: usize) -> Vec<Companion> {
    let mut counts = std::collections::BTreeMap::new();
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

/// Neighbours by direction as a table.
pub fn directions(title: &str, found: &[(usize, f64)]) -> Table {
    let rows = found.iter().map(|(feature, cosine)| vec![(*feature).into(), (*cosine).into()]);
    Table { title: title.into(), columns: ["feature", "cosine"].map(String::from).to_vec(), rows: rows.collect() }
}

/// Companions as a table.
pub fn companions(title: &str, found: &[Companion]) -> Table {
    let columns = ["feature", "active at this one's positions", "at all positions"];
    let rows = found.iter().map(|c| vec![c.feature.into(), c.share.into(), c.density.into()]);
    Table { title: title.into(), columns: columns.map(String::from).to_vec(), rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::samples::with_directions;

    #[test]
    fn the_nearest_comes_first_and_a_feature_is_not_its_own_neighbour() {
        let sae = with_directions(&[[1.0, 0.0], [0.6, 0.8], [0.0, 0.0], [-2.0, 0.0]]);
        let found = by_direction((&sae, 0), None, 9).unwrap();
        assert_eq!(found.iter().map(|(f, _)| *f).collect::<Vec<_>>(), [1, 2, 3]);
        assert!((found[0].1 - 0.6).abs() < 1e-6 && found[1].1 == 0.0 && (found[2].1 + 1.0).abs() < 1e-6);
        let other = with_directions(&[[0.0, 1.0], [3.0, 0.0]]);
        assert_eq!(by_direction((&sae, 0), Some(&other), 1).unwrap(), [(1, 1.0)]);
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
