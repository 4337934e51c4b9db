//! A map of a set of directions in two dimensions, where directions with large cosines lie together: by UMAP (McInnes,
//! Healy & Melville 2018), as Bricken et al. 2023 draw dictionaries, or by principal components.
//!
//! UMAP in short: each direction has weights to its nearest ones, exp(-(distance - nearest) / s), with s so that they sum to
//! log2 of their number; both weights w and v of a pair become w + v - w v; and points that begin at the principal
//! components are pulled together along these weights and pushed away from points drawn at random. The draws come from
//! the seed, and points move one after the other, so that the same directions have the same map everywhere.

use rand::{Rng, RngExt};

use super::baselines::{CovarianceMoments, pca};
use super::metrics::cosines_of;
use super::{Sae, rows};
use crate::base::random::stream;
use crate::common::*;

/// The curve 1 / (1 + a r^(2b)) that fits a minimum distance of 0.1 on a map (McInnes et al. 2018, section 4.1).
const A: f64 = 1.577;
const B: f64 = 0.895;

/// Points pushed away for each that is pulled.
const PUSHED: usize = 5;

/// The longest step in each dimension.
const STEP: f64 = 4.0;

/// Half the width of the map at the beginning.
const WIDTH: f64 = 10.0;

crate::choices! {
    /// The way directions are put on a map.
    pub enum MapKind {
        Umap = "umap",
        Pca = "pca",
    }
}

crate::options! {
    pub struct MapOptions {
        /// "umap", which keeps near directions together, or "pca", the two principal components.
        kind: MapKind = MapKind::Umap;
        /// Number of nearest directions that each is held by.
        neighbours: usize = 15 => only("kind", &["umap"]).at_least(2.0).at_most(1000.0);
        /// Number of passes over all weights.
        epochs: usize = 300 => only("kind", &["umap"]).at_least(1.0).at_most(100000.0);
        /// The seed of the draws.
        seed: i64 = 0 => only("kind", &["umap"]);
    }
}

/// Computes the points of directions `[features, d]`, which are compared by their cosines: `[features, 2]`.
pub fn map(directions: &Tensor, options: &MapOptions, task: &Task) -> Result<Tensor> {
    let width = rows::extent(directions, "directions")?.1;
    let directions = rows::matrix(directions, width, "directions")?;
    let count = directions.dim(0)?;
    if count < 3 || width < 2 {
        return Err(
            err!(Argument, "expected at least three directions in two dimensions, found {count} in {width}").about("s")
        );
    }
    let mut points = components(&directions, task)?;
    if options.kind == MapKind::Umap {
        let weights = weights(&directions, options.neighbours.min(count - 1), task)?;
        let mut draws = stream(options.seed.cast_unsigned(), "map", 0);
        spread(&mut points, &mut draws);
        laid_out(&mut points, &weights, options.epochs, &mut draws, task)?;
    }
    let numbers = points.into_iter().flatten().map(|x| x as f32).collect::<Vec<_>>();
    Ok(Tensor::from_vec(numbers, (count, 2), &Device::Cpu)?)
}

/// Computes the two principal components of the directions, each of length 1.
fn components(directions: &Tensor, task: &Task) -> Result<Vec<[f64; 2]>> {
    let count = directions.dim(0)?;
    let unit = Tensor::from_vec(rows::finite(directions, "directions", 0)?, directions.shape(), &Device::Cpu)?;
    let lengths = unit.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
    let unit = unit.broadcast_div(&lengths)?;
    let two: Sae = pca(&CovarianceMoments::of(&unit, task)?, Some(2), None, task)?;
    let found = two.encode(&unit)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let points: Vec<[f64; 2]> = found.chunks_exact(2).map(|point| [point[0], point[1]]).collect();
    if points.len() == count { Ok(points) } else { Err(err!(Bug, "{} points of {count} directions", points.len())) }
}

/// A pair of directions, the lower one first, and the weight that holds them together.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PairWeight {
    pair: [usize; 2],
    weight: f64,
}

/// Computes the weights of each direction's nearest ones by 1 - cosine, of both of a pair together.
fn weights(directions: &Tensor, neighbours: usize, task: &Task) -> Result<Vec<PairWeight>> {
    let count = directions.dim(0)?;
    memory::check(count as u128 * neighbours as u128 * 64, || format!("the neighbours of {count} directions"))?;
    let bar = task.begin("neighbours", Some(count as u64));
    let mut found: Vec<(usize, usize, f64)> = Vec::with_capacity(count * neighbours);
    let mut at = 0;
    let mut order = Vec::with_capacity(count);
    cosines_of(directions, directions, task, |row| {
        order.clear();
        order.extend((0..row.len()).filter(|other| *other != at));
        let nearer = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
        if order.len() > neighbours {
            order.select_nth_unstable_by(neighbours - 1, nearer);
            order.truncate(neighbours);
        }
        order.sort_unstable_by(nearer);
        let far: Vec<f64> = order.iter().map(|other| (1.0 - f64::from(row[*other])).max(0.0)).collect();
        for (other, weight) in order.iter().zip(held(&far)) {
            found.push((at.min(*other), at.max(*other), weight));
        }
        at += 1;
        bar.advance(1);
    })?;
    found.sort_by_key(|(low, high, _)| (*low, *high));
    let mut all: Vec<PairWeight> = Vec::with_capacity(found.len());
    for (low, high, weight) in found {
        match all.last_mut().filter(|last| last.pair == [low, high]) {
            // A probabilistic union (their equation 5).
            Some(last) => last.weight = last.weight + weight - last.weight * weight,
            None => all.push(PairWeight { pair: [low, high], weight }),
        }
    }
    Ok(all)
}

/// Computes the weights of the nearest ones by their distances, nearest first: they sum to log2 of their number.
fn held(far: &[f64]) -> Vec<f64> {
    let nearest = far.first().copied().unwrap_or(0.0);
    let target = (far.len() as f64).log2();
    let sum = |scale: f64| far.iter().map(|far| (-(far - nearest) / scale).exp()).sum::<f64>();
    // Distances are at most 2, and the sum grows with the scale.
    let mut low = 1e-9_f64;
    let mut high = 1e3_f64;
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if sum(middle) > target { high = middle } else { low = middle }
    }
    far.iter().map(|far| (-(far - nearest) / high).exp()).collect()
}

/// Widens points to the map, and moves those apart a little that lie upon each other.
fn spread(points: &mut [[f64; 2]], draws: &mut impl Rng) {
    let largest = points.iter().flatten().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let factor = if largest > 0.0 { WIDTH / largest } else { 0.0 };
    for x in points.iter_mut().flatten() {
        *x = *x * factor + 1e-3 * WIDTH * (draws.random::<f64>() - 0.5);
    }
}

/// Pulls and pushes points, with steps that become smaller (their algorithm 5). A weight of half the largest is gone
/// through in every second epoch.
fn laid_out(
    points: &mut [[f64; 2]],
    weights: &[PairWeight],
    epochs: usize,
    draws: &mut impl Rng,
    task: &Task,
) -> Result<()> {
    let largest = weights.iter().fold(f64::MIN_POSITIVE, |largest, one| largest.max(one.weight));
    let bar = task.begin("map", Some(epochs as u64));
    for epoch in 0..epochs {
        let rate = 1.0 - epoch as f64 / epochs as f64;
        for (number, PairWeight { pair: [a, b], weight }) in weights.iter().enumerate() {
            if number % 4096 == 0 {
                task.check()?;
            }
            let share = weight / largest;
            if ((epoch + 1) as f64 * share).floor() <= (epoch as f64 * share).floor() {
                continue;
            }
            for (own, other) in [(*a, *b), (*b, *a)] {
                let (step, _) = between(points[own], points[other]);
                move_by(&mut points[own], step, rate);
                move_by(&mut points[other], step, -rate);
                for _ in 0..PUSHED {
                    let away = draws.random_range(0..points.len());
                    if away != own {
                        let (_, step) = between(points[own], points[away]);
                        move_by(&mut points[own], step, rate);
                    }
                }
            }
        }
        bar.advance(1);
    }
    Ok(())
}

fn move_by(point: &mut [f64; 2], step: [f64; 2], rate: f64) {
    point[0] += rate * step[0];
    point[1] += rate * step[1];
}

/// Computes the steps that pull a point to another one and push it away from it: the gradients of the logarithms of 1 /
/// (1 + a r^(2b)) and of its complement.
fn between(point: [f64; 2], other: [f64; 2]) -> ([f64; 2], [f64; 2]) {
    let apart = [point[0] - other[0], point[1] - other[1]];
    let square = apart[0] * apart[0] + apart[1] * apart[1];
    if square == 0.0 {
        return ([0.0; 2], [STEP; 2]);
    }
    let curve = 1.0 + A * square.powf(B);
    let pull = -2.0 * A * B * square.powf(B - 1.0) / curve;
    let push = 2.0 * B / ((0.001 + square) * curve);
    let of = |factor: f64| apart.map(|x| (factor * x).clamp(-STEP, STEP));
    (of(pull), of(push))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::create;

    /// Draws directions around each of some centres.
    fn clusters(centres: usize, each: usize) -> Tensor {
        let draw = |shape: &[usize], name| create::randn(shape, DType::F32, &mut stream(1, name, 0)).unwrap();
        let middle = draw(&[centres, 1, 16], "centres").broadcast_as((centres, each, 16)).unwrap();
        let near = (draw(&[centres, each, 16], "near") * 0.2).unwrap();
        (middle + near).unwrap().reshape((centres * each, 16)).unwrap()
    }

    fn of(x: &Tensor, options: &MapOptions) -> Vec<Vec<f32>> {
        map(x, options, &Task::default()).unwrap().to_vec2().unwrap()
    }

    /// Computes the share of points whose nearest one is of the same cluster.
    fn together(points: &[Vec<f32>], each: usize) -> f64 {
        let far = |a: &[f32], b: &[f32]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        let nearest = |at: usize| {
            let others = (0..points.len()).filter(|other| *other != at);
            others.min_by(|a, b| far(&points[at], &points[*a]).total_cmp(&far(&points[at], &points[*b]))).unwrap()
        };
        let same = (0..points.len()).filter(|at| nearest(*at) / each == at / each).count();
        same as f64 / points.len() as f64
    }

    #[test]
    fn directions_that_are_near_lie_together_and_the_seed_says_where() {
        let x = clusters(40, 8);
        let options = MapOptions { epochs: 60, neighbours: 7, ..MapOptions::default() };
        let found = of(&x, &options);
        assert!(together(&found, 8) > 0.95, "{}", together(&found, 8));
        // So many clusters lie upon each other in a plane.
        let flat = of(&x, &MapOptions { kind: MapKind::Pca, ..options.clone() });
        assert!(together(&flat, 8) < 0.75, "{}", together(&flat, 8));
        assert_eq!(found, of(&x, &options));
        assert_ne!(found, of(&x, &MapOptions { seed: 1, ..options.clone() }));
        // Lengths do not matter.
        assert_eq!(found, of(&(x * 4.0).unwrap(), &options));
    }

    #[test]
    fn weights_sum_to_the_logarithm_of_their_number_and_are_those_of_pairs() {
        let weights = held(&[0.1, 0.2, 0.4, 0.7, 0.7, 0.9, 1.1, 1.5]);
        assert!((weights.iter().sum::<f64>() - 3.0).abs() < 1e-6 && weights[0] == 1.0, "{weights:?}");
        assert!(weights.is_sorted_by(|a, b| a >= b));
        let x = Tensor::new(&[[1.0_f32, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]], &Device::Cpu).unwrap();
        let found = self::weights(&x, 2, &Task::default()).unwrap();
        assert!(found.iter().all(|one| one.pair[0] < one.pair[1] && one.weight > 0.0 && one.weight <= 1.0));
        assert_eq!(found[0], PairWeight { pair: [0, 1], weight: 1.0 });
    }

    #[test]
    fn directions_that_are_all_alike_or_of_length_0_have_a_map_and_two_have_none() {
        for x in [Tensor::ones((6, 3), DType::F32, &Device::Cpu), Tensor::zeros((6, 3), DType::F32, &Device::Cpu)] {
            for kind in [MapKind::Umap, MapKind::Pca] {
                let found = of(x.as_ref().unwrap(), &MapOptions { kind, epochs: 20, ..MapOptions::default() });
                assert!(found.iter().flatten().all(|x| x.is_finite()), "{found:?}");
            }
        }
        let two = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let error = map(&two, &MapOptions::default(), &Task::default()).unwrap_err();
        assert_eq!(error.message, "expected at least three directions in two dimensions, found 2 in 3");
    }
}
