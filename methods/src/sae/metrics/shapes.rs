//! Groups of features whose codes lie along a curve, and their order on it: what a model computes with as a shape, and not
//! as one direction (Engels et al. 2024; Gurnee et al. 2025, where features of a dictionary tile a curve of counts).
//!
//! Features that follow each other on a curve are active together. A feature is linked to the ones that its codes
//! correlate with most, where the link is mutual, and linked features are a group. The random walk between the features
//! of a group, by their correlations, has slowest modes that tell where on the curve a feature is: the slowest one along
//! a line, and the angle of the two slowest ones around a circle (Coifman & Lafon 2006).

use faer::Mat;
use rand::Rng;
use rand::seq::SliceRandom;

use super::correlations::CodeCorrelations;
use crate::base::random::{OF_CALL, Seed, stream};
use crate::common::*;
use crate::sae::Sae;
use crate::tensor::linalg::eigen;

/// The largest group: the links that would make a larger one, the weakest, are left out.
const MOST: usize = 256;

crate::choices! {
    /// The shape of a curve.
    pub enum ShapeKind {
        /// A curve with two ends.
        Line = "line",
        /// A curve that comes back to where it begins.
        Circle = "circle",
    }
}

crate::options! {
    /// Options of the search for groups of features along curves.
    pub struct ShapeOptions {
        /// Number of features that each one may be linked to: those that its codes correlate with most.
        neighbours: usize = 8 => at_least(2.0).at_most(1000.0);
        /// The smallest correlation of a link.
        min_correlation: f64 = 0.1 => above(0.0).at_most(1.0);
        /// The smallest group.
        least: usize = 5 => at_least(4.0).at_most(256.0);
        /// Number of random orders of each group, of whose fits the largest is the one by chance.
        draws: usize = 100 => at_least(1.0).at_most(10000.0);
        /// The seed of the halves and of the random orders.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// A group of features along a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The features in their order on the curve.
    pub features: Vec<usize>,
    pub kind: ShapeKind,
    /// Measures how near features that correlate are in this order: 1 - (sum of w d) / (mean d sum of w), with the
    /// distances d in the order, and the correlations w that are above 0 in rows that the order was not made from. The
    /// mean over all orders is 0.
    pub fit: f64,
    /// The largest fit of random orders.
    pub chance: f64,
    /// The mean correlation of features that follow each other.
    pub correlation: f64,
}

/// The groups of a dictionary.
#[derive(Debug, Clone, PartialEq)]
pub struct Shapes {
    /// The groups, the largest fit beyond chance first.
    pub groups: Vec<Shape>,
    /// The number of features that are active, those in no group included.
    pub active: usize,
}

impl Shapes {
    pub fn table(&self) -> Table {
        let columns = ["kind", "features", "fit", "by chance", "correlation of the next", "in order"];
        let row = |one: &Shape| {
            let order: Vec<String> = one.features.iter().map(usize::to_string).collect();
            vec![
                one.kind.word().into(),
                one.features.len().into(),
                one.fit.into(),
                one.chance.into(),
                one.correlation.into(),
                order.join(" ").into(),
            ]
        };
        Table::new("groups of features along curves", columns, self.groups.iter().map(row))
    }
}

/// Finds groups of features whose codes lie along curves, on activations `x`: groups and orders on one half of the rows,
/// and how well they fit on the other one.
pub fn shapes(sae: &Sae, x: &Tensor, options: &ShapeOptions, task: &Task) -> Result<Shapes> {
    let codes = sae.encode_sparse(x, task)?.finite()?;
    let mut draws = stream(options.seed.draws(), "shapes", 0);
    let mut order: Vec<usize> = (0..codes.rows()).collect();
    order.shuffle(&mut draws);
    let (seen, held) = order.split_at(order.len() / 2);
    let of = |rows: &[usize]| {
        let codes = codes.picked(rows);
        CodeCorrelations::of(&codes, &codes, task)
    };
    let seen = of(seen)?;
    let held = of(held)?;
    let found = groups(&seen, options, task)?;
    let bar = task.begin("groups", Some(found.len() as u64));
    let mut shapes = Vec::with_capacity(found.len());
    for group in found {
        shapes.push(shape(&group, &seen, &held, options.draws, &mut draws, task)?);
        bar.advance(1);
    }
    order::sort_descending(&mut shapes, |shape| shape.fit - shape.chance);
    let active = seen.fired.iter().zip(&held.fired).filter(|(seen, held)| *seen + *held > 0).count();
    Ok(Shapes { groups: shapes, active })
}

/// Finds groups of linked features, strongest links first, each group in the order of its numbers.
fn groups(correlations: &CodeCorrelations, options: &ShapeOptions, task: &Task) -> Result<Vec<Vec<usize>>> {
    let count = correlations.fired.len();
    let mut nearest = Vec::with_capacity(count);
    for feature in 0..count {
        task.check()?;
        let mut others: Vec<(usize, f64)> = correlations
            .row(feature)
            .filter(|(other, correlation)| *other != feature && *correlation >= options.min_correlation)
            .collect();
        others.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        others.truncate(options.neighbours);
        nearest.push(others);
    }
    let mut links = Vec::new();
    for (feature, others) in nearest.iter().enumerate() {
        task.check()?;
        for (other, correlation) in others {
            if *other > feature && nearest[*other].iter().any(|(back, _)| *back == feature) {
                links.push((feature, *other, *correlation));
            }
        }
    }
    links.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    // Every feature begins as a group of its own, and the group of a feature is the one at its number.
    let mut member_of: Vec<usize> = (0..count).collect();
    let mut members: Vec<Vec<usize>> = (0..count).map(|feature| vec![feature]).collect();
    for (a, b, _) in links {
        let into = member_of[a];
        let from = member_of[b];
        if into == from || members[into].len() + members[from].len() > MOST {
            continue;
        }
        let moved = std::mem::take(&mut members[from]);
        for feature in &moved {
            member_of[*feature] = into;
        }
        members[into].extend(moved);
    }
    members.retain(|group| group.len() >= options.least);
    members.iter_mut().for_each(|group| group.sort_unstable());
    Ok(members)
}

/// Orders a group both ways, and takes the kind that fits better on other rows.
fn shape(
    group: &[usize],
    seen: &CodeCorrelations,
    held: &CodeCorrelations,
    count: usize,
    draws: &mut impl Rng,
    task: &Task,
) -> Result<Shape> {
    task.check()?;
    let [line, circle] = Weights::of(group, seen).orders()?;
    let weights = Weights::of(group, held);
    let fits = [weights.fit(&line, ShapeKind::Line), weights.fit(&circle, ShapeKind::Circle)];
    let (kind, order, fit) =
        if fits[1] > fits[0] { (ShapeKind::Circle, circle, fits[1]) } else { (ShapeKind::Line, line, fits[0]) };
    let mut random = order.clone();
    let mut chance = f64::NEG_INFINITY;
    for _ in 0..count {
        task.check()?;
        random.shuffle(draws);
        chance = chance.max(weights.fit(&random, kind));
    }
    let features: Vec<usize> = order.iter().map(|place| group[*place]).collect();
    let steps = if kind == ShapeKind::Circle { features.len() } else { features.len() - 1 };
    let next = (0..steps).map(|at| held.between(features[at], features[(at + 1) % features.len()]));
    let correlation = next.sum::<f64>() / steps as f64;
    Ok(Shape { features, kind, fit, chance, correlation })
}

/// The weights between the features of a group: correlations that are above 0.
struct Weights {
    count: usize,
    values: Vec<f64>,
}

impl Weights {
    fn of(group: &[usize], correlations: &CodeCorrelations) -> Self {
        let count = group.len();
        let mut values = vec![0.0; count * count];
        for (i, a) in group.iter().enumerate() {
            for (j, b) in group.iter().enumerate().filter(|(j, _)| *j != i) {
                values[i * count + j] = correlations.between(*a, *b).max(0.0);
            }
        }
        Self { count, values }
    }

    /// Finds the order along a line and the one around a circle, by places in the group.
    fn orders(&self) -> Result<[Vec<usize>; 2]> {
        let n = self.count;
        let degrees = self.values.chunks_exact(n).map(|row| row.iter().sum::<f64>());
        let scales: Vec<f64> = degrees.map(|degree| degree.sqrt().recip()).collect();
        // The walk from i to j has the probability w_ij / d_i; its modes are those of the symmetric D^-1/2 W D^-1/2, times
        // D^-1/2. The slowest of all is the constant one.
        let walk = Mat::from_fn(n, n, |i, j| scales[i] * self.values[i * n + j] * scales[j]);
        let (_, vectors) = eigen(walk.as_ref())?;
        let mode = |number: usize, place: usize| vectors[(place, n - 1 - number)] * scales[place];
        let by = |key: &dyn Fn(usize) -> f64| order::ascending(&(0..n).map(key).collect::<Vec<_>>());
        Ok([by(&|place| mode(1, place)), by(&|place| mode(2, place).atan2(mode(1, place)))])
    }

    /// Computes how near features with weights are in an order.
    fn fit(&self, order: &[usize], kind: ShapeKind) -> f64 {
        let mut weights = 0.0;
        let mut distances = 0.0;
        let mut both = 0.0;
        let mut pairs = 0.0;
        for (a, i) in order.iter().enumerate() {
            for (b, j) in order.iter().enumerate().take(a) {
                let weight = self.values[i * self.count + j];
                let along = a - b;
                let far = match kind {
                    ShapeKind::Line => along,
                    ShapeKind::Circle => along.min(self.count - along),
                };
                weights += weight;
                distances += far as f64;
                both += weight * far as f64;
                pairs += 1.0;
            }
        }
        if weights > 0.0 { 1.0 - both * pairs / (weights * distances) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::baselines;
    use crate::tensor::{DType, Device, create};
    use rand::RngExt;

    /// Makes rows in which 12 features have codes like bumps around places on a curve, with others that have nothing to
    /// do with it: `[rows, 20]`.
    fn bumps(distance: impl Fn(f64, f64) -> f64) -> Tensor {
        let mut draws = stream(3, "bumps", 0);
        let mut rows = Vec::new();
        for _ in 0..2000 {
            let at: f64 = draws.random();
            // Features stand in another order than their numbers.
            let place = |feature: usize| (feature * 5 % 12) as f64 / 12.0;
            rows.extend((0..12).map(|feature| (1.0 - distance(at, place(feature)) / 0.15).max(0.0) as f32));
            rows.extend((0..8).map(|_| if draws.random::<f64>() < 0.2 { draws.random::<f32>() } else { 0.0 }));
        }
        Tensor::from_vec(rows, (2000, 20), &Device::Cpu).unwrap()
    }

    fn found(x: &Tensor) -> Shapes {
        shapes(&baselines::neurons(20, None).unwrap(), x, &ShapeOptions::default(), &Task::default()).unwrap()
    }

    /// Returns the places on the curve in the order that was found.
    fn order(shape: &Shape) -> Vec<usize> {
        shape.features.iter().map(|feature| feature * 5 % 12).collect()
    }

    #[test]
    fn a_line_is_found_in_its_order() {
        let found = found(&bumps(|a, b| (a - b).abs()));
        assert_eq!(found.groups.len(), 1, "{found:?}");
        let line = &found.groups[0];
        assert_eq!(line.kind, ShapeKind::Line);
        let mut order = order(line);
        if order[0] > order[11] {
            order.reverse();
        }
        assert_eq!(order, (0..12).collect::<Vec<_>>());
        assert!(line.fit > line.chance + 0.2, "{line:?}");
        assert_eq!(found.active, 20);
    }

    #[test]
    fn a_circle_is_found_in_its_order() {
        let found = found(&bumps(|a, b| (a - b).abs().min(1.0 - (a - b).abs())));
        let circle = &found.groups[0];
        assert_eq!(circle.kind, ShapeKind::Circle, "{circle:?}");
        let order = order(circle);
        let steps: Vec<usize> = (0..12).map(|at| (12 + order[(at + 1) % 12] - order[at]) % 12).collect();
        assert!(steps.iter().all(|step| *step == steps[0] && [1, 11].contains(step)), "{order:?}");
        assert!(circle.fit > circle.chance + 0.2, "{circle:?}");
    }

    #[test]
    fn the_fit_is_that_of_its_formula() {
        // Four features around a circle: each has a weight of 1 with the next.
        let ring = |i: usize, j: usize| if [1, 3].contains(&i.abs_diff(j)) { 1.0 } else { 0.0 };
        let weights = Weights { count: 4, values: (0..16).map(|at| ring(at / 4, at % 4)).collect() };
        let [_, circle] = weights.orders().unwrap();
        // Distances in a circle of four: 1 between neighbours, 2 across; the mean is 8 / 6.
        let fit = weights.fit(&circle, ShapeKind::Circle);
        assert!((fit - (1.0 - 6.0 / 8.0)).abs() < 1e-12, "{fit}");
        assert!(weights.fit(&[0, 1, 2, 3], ShapeKind::Line) < fit);
        // Over all orders the mean is 0, and over equal weights each.
        let even = Weights { count: 4, values: (0..16).map(|at| if at % 5 == 0 { 0.0 } else { 1.0 }).collect() };
        assert!(even.fit(&[2, 0, 3, 1], ShapeKind::Line).abs() < 1e-12);
    }

    #[test]
    fn codes_that_have_nothing_to_do_with_each_other_are_no_group() {
        let x = create::randn(&[2000, 20], DType::F32, &mut stream(1, "x", 0)).unwrap();
        let found = found(&x);
        assert!(found.groups.is_empty(), "{found:?}");
    }
}
