//! Splitting of features in a larger dictionary of the same site (Bricken et al. 2023): parents and children.
//!
//! A feature of the larger dictionary is a child of the feature of the smaller one that its direction is nearest to, if their
//! cosine is at least [`SAME`] (the threshold of Leask et al. 2025); without such a parent it is new. A parent with one
//! child is found again, one with several has split, one without any is lost. Features that never fire are left out.

use rand::Rng;

use super::correlations::sums;
use super::directions::cosines_of;
use super::recovered::SAME;
use crate::base::bootstrap::wilson;
use crate::common::*;
use crate::sae::Sae;
use crate::sae::baselines::random;
use crate::sae::encode::SparseCodes;

/// A feature of the smaller dictionary, with its children.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureFamily {
    pub parent: usize,
    /// The children with the cosines to their parent, the nearest first.
    pub children: Vec<(usize, f64)>,
    /// The number of rows where the parent fires.
    pub fires: usize,
    /// The share of these where a child fires, too.
    pub covered: Option<f64>,
    /// The share of rows with a child in which the parent fires; by chance it is the share of all rows where it does.
    pub within: Option<f64>,
}

/// All families of two dictionaries.
#[derive(Debug, Clone, PartialEq)]
pub struct Splitting {
    /// Families by parents, the largest first.
    pub families: Vec<FeatureFamily>,
    /// Features of the larger dictionary that fire, and those of them without a parent.
    pub larger: usize,
    pub new: usize,
    /// Number of random directions, as many as there are features, that have a parent.
    pub random: usize,
    rows: usize,
}

impl Splitting {
    /// Counts the parents with so many children.
    fn with(&self, is_one: impl Fn(usize) -> bool) -> usize {
        self.families.iter().filter(|family| is_one(family.children.len())).count()
    }

    pub fn summary(&self) -> Table {
        let parents = self.families.len();
        let row = |what: &str, count: usize, of: usize| -> Vec<Cell> {
            let mut row: Vec<Cell> = vec![what.into(), count.into(), of.into()];
            match of {
                0 => row.extend([Cell::Missing, Cell::Missing, Cell::Missing]),
                _ => {
                    row.push((count as f64 / of as f64).into());
                    row.extend(wilson(count, of).map(Cell::from));
                }
            }
            row
        };
        Table::new(
            "features of the smaller dictionary in the larger one",
            ["features", "number", "of", "share", "low", "high"],
            [
                row("with one child", self.with(|children| children == 1), parents),
                row("split", self.with(|children| children > 1), parents),
                row("lost", self.with(|children| children == 0), parents),
                row("of the larger one without a parent", self.new, self.larger),
                row("random directions with a parent", self.random, self.larger),
            ],
        )
    }

    pub fn table(&self) -> Table {
        let row = |family: &FeatureFamily| -> Vec<Cell> {
            let children: Vec<String> = family.children.iter().map(|(child, _)| child.to_string()).collect();
            vec![
                family.parent.into(),
                family.children.len().into(),
                children.join(" ").into(),
                family.children.first().map(|(_, cosine)| *cosine).into(),
                family.covered.into(),
                family.within.into(),
                (self.rows > 0).then(|| family.fires as f64 / self.rows as f64).into(),
            ]
        };
        let columns = ["parent", "number", "children", "cosine", "covered", "within", "by chance"];
        Table::new("parents and children", columns, self.families.iter().map(row))
    }
}

/// Finds the families of the features that fire in the rows x. The random directions are uniform on the sphere.
pub fn splitting(small: &Sae, large: &Sae, x: &Tensor, draws: &mut impl Rng, task: &Task) -> Result<Splitting> {
    if small.d_in() != large.d_in() || small.d_out() != large.d_out() {
        let a = small.d_in();
        let b = large.d_in();
        return Err(err!(Shape, "expected dictionaries of one width, found {a} and {b}").about("large"));
    }
    let of_small = small.encode_sparse(x, task)?.finite()?;
    let of_large = large.encode_sparse(x, task)?.finite()?;
    let [fires, fires_there] = [&of_small, &of_large].map(firing);
    let living = |nearest: Vec<Nearest>| -> Vec<Option<Nearest>> {
        let is_parent = |one: &Nearest| one.cosine >= SAME;
        nearest
            .into_iter()
            .zip(&fires_there)
            .map(|(one, fires)| Some(one).filter(|one| *fires > 0 && is_parent(one)))
            .collect()
    };
    let parents = living(nearest(large.directions(), small.directions(), &fires, task)?);
    let drawn = random(small.d_out(), large.d_sae(), None, draws)?;
    let by_chance = living(nearest(drawn.directions(), small.directions(), &fires, task)?);
    let mut families: Vec<FeatureFamily> = (0..small.d_sae())
        .map(|parent| FeatureFamily { parent, children: Vec::new(), fires: fires[parent], covered: None, within: None })
        .collect();
    for (child, parent) in parents.iter().enumerate() {
        if let Some(Nearest { of, cosine }) = parent {
            families[*of].children.push((child, *cosine));
        }
    }
    overlaps(&mut families, &of_small, &of_large, &parents, task)?;
    families.retain(|family| family.fires > 0);
    families.iter_mut().for_each(|family| order::sort_descending(&mut family.children, |(_, cosine)| *cosine));
    families.sort_by_key(|family| std::cmp::Reverse(family.children.len()));
    let larger = fires_there.iter().filter(|fires| **fires > 0).count();
    let count = |found: &[Option<Nearest>]| found.iter().flatten().count();
    let new = larger - count(&parents);
    let random = count(&by_chance);
    Ok(Splitting { families, larger, new, random, rows: of_small.rows() })
}

/// Counts the rows in which each feature fires.
fn firing(codes: &SparseCodes) -> Vec<usize> {
    sums(codes).into_iter().map(|own| own.fired).collect()
}

/// Lists the features of a row, and whether each fires.
fn fired(codes: &SparseCodes, row: usize) -> impl Iterator<Item = (usize, bool)> {
    let (features, codes) = codes.row(row);
    features.iter().zip(codes).map(|(feature, code)| (*feature as usize, *code != 0.0))
}

#[derive(Debug, Clone, Copy)]
struct Nearest {
    of: usize,
    cosine: f64,
}

/// Finds for each direction the nearest one of the features that fire.
fn nearest(directions: &Tensor, to: &Tensor, fires: &[usize], task: &Task) -> Result<Vec<Nearest>> {
    let mut found = Vec::new();
    cosines_of(directions, to, task, |row| {
        let living = row.iter().enumerate().filter(|(feature, _)| fires[*feature] > 0);
        let best = living.max_by(|a, b| a.1.total_cmp(b.1));
        found.push(
            best.map_or(Nearest { of: 0, cosine: -1.0 }, |(of, cosine)| Nearest { of, cosine: f64::from(*cosine) }),
        );
    })?;
    Ok(found)
}

/// Counts the rows in which parents and their children fire together.
fn overlaps(
    families: &mut [FeatureFamily],
    small: &SparseCodes,
    large: &SparseCodes,
    parents: &[Option<Nearest>],
    task: &Task,
) -> Result<()> {
    let mut both = vec![0_usize; families.len()];
    let mut by_child = vec![0_usize; families.len()];
    // The row in which a child of each parent was last seen, counted from 1.
    let mut seen = vec![0_usize; families.len()];
    for row in 0..small.rows() {
        if row % 4096 == 0 {
            task.check()?;
        }
        for (child, _) in fired(large, row).filter(|(_, fires)| *fires) {
            if let Some(Nearest { of, .. }) = parents[child]
                && seen[of] != row + 1
            {
                seen[of] = row + 1;
                by_child[of] += 1;
            }
        }
        for (parent, _) in fired(small, row).filter(|(_, fires)| *fires) {
            both[parent] += usize::from(seen[parent] == row + 1);
        }
    }
    for (family, (both, by_child)) in families.iter_mut().zip(both.into_iter().zip(by_child)) {
        if !family.children.is_empty() {
            family.covered = (family.fires > 0).then(|| both as f64 / family.fires as f64);
            family.within = (by_child > 0).then(|| both as f64 / by_child as f64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::sae::{Activation, Parts, baselines};
    use crate::tensor::{DType, Device, create};

    fn rows(width: usize) -> Tensor {
        create::randn(&[500, width], DType::F32, &mut stream(0, "rows", 0)).unwrap()
    }

    fn of(a: &Sae, b: &Sae, x: &Tensor) -> Splitting {
        splitting(a, b, x, &mut stream(0, "random", 0), &Task::default()).unwrap()
    }

    #[test]
    fn a_dictionary_is_its_own_child_one_by_one() {
        let a = baselines::neurons_relu(16, None).unwrap();
        let found = of(&a, &a, &rows(16));
        assert_eq!((found.families.len(), found.new), (16, 0));
        for family in &found.families {
            assert_eq!(family.children, [(family.parent, 1.0)]);
            assert_eq!((family.covered, family.within), (Some(1.0), Some(1.0)));
        }
        assert!(found.random < 3, "{}", found.random);
    }

    #[test]
    fn a_direction_that_splits_has_two_children_and_another_is_new() {
        // In the plane, a parent along x, its children 30 degrees to both sides, and one along z that has no parent.
        let dictionary = |rows: &[[f32; 3]]| {
            let directions = Tensor::from_vec(rows.concat(), (rows.len(), 3), &Device::Cpu).unwrap();
            let base = baselines::neurons_relu(3, None).unwrap().parts().clone();
            let bias = Tensor::zeros(rows.len(), DType::F32, &Device::Cpu).unwrap();
            Sae::new(Parts {
                encoder: directions.clone(),
                decoder: directions,
                encoder_bias: Some(bias),
                activation: Activation::Relu,
                ..base
            })
            .unwrap()
        };
        let small = dictionary(&[[1.0, 0.0, 0.0]]);
        let large = dictionary(&[[0.866, 0.5, 0.0], [0.9, -0.436, 0.0], [0.0, 0.0, 1.0]]);
        let found = of(&small, &large, &rows(3));
        let [family] = found.families.as_slice() else { panic!("{found:?}") };
        assert_eq!(family.children.iter().map(|(child, _)| *child).collect::<Vec<_>>(), [1, 0]);
        assert_eq!((found.larger, found.new), (3, 1));
        // A half plane is inside of the two that its children fire in.
        assert_eq!(family.covered, Some(1.0));
        assert!(family.within.unwrap() > 0.6 && family.within.unwrap() < 0.9);
        let summary = found.summary();
        assert_eq!(summary.rows[1][1], Cell::from(1_usize));
        assert!(
            splitting(
                &small,
                &baselines::neurons(4, None).unwrap(),
                &rows(3),
                &mut stream(0, "r", 0),
                &Task::default()
            )
            .is_err()
        );
    }
}
