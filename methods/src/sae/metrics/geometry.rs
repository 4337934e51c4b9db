//! The geometry of a set of directions (Elhage et al. 2022): how much they interfere, and how much of a dimension each has,
//! beside random directions of the same lengths.
//!
//! The sum of (f_i . f_j)² over all j is f_i^T S f_i, where S is the sum of f_j f_j^T: so interference and dimensions need no
//! cosines of pairs. Only the largest cosine of each does, and these are computed row by row.

use super::directions::cosines_of;
use crate::base::bootstrap::intervals;
use crate::base::random::stream;
use crate::common::*;
use crate::sae::rows;
use crate::tensor::create;

/// The seed of the bootstrap.
const SEED: u64 = 0;

/// Rows in f64 at a time.
const ROWS: usize = 1024;

crate::options! {
    #[derive(Debug, Clone, Copy)]
    pub struct GeometryOptions {
        /// The probability that a feature is active, which interference grows with.
        p: f64 = 1.0 => above(0.0).at_most(1.0);
    }
}

/// One direction among the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirectionGeometry {
    pub length: f64,
    /// The largest |cosine| with another direction, with that cosine's sign, and which one it is.
    pub nearest: Option<(f64, usize)>,
    /// The sum over the others of the squared cosine.
    pub interference: f64,
    /// Number of dimensions: |W_i|² / sum over all j of (W_i . W_j / |W_i|)²; 1 for orthogonal directions, 1/2 for
    /// antipodal pairs.
    pub dimensions: f64,
}

/// Directions among each other; None for those of length 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    pub placed: Vec<Option<DirectionGeometry>>,
    /// Measures of as many random directions of these lengths, uniform on the sphere.
    pub random: Vec<Option<DirectionGeometry>>,
    width: usize,
    p: f64,
}

/// Measures the geometry of directions `[features, d]`; `seed` is that of the random ones.
pub fn geometry(directions: &Tensor, options: GeometryOptions, seed: u64, task: &Task) -> Result<Geometry> {
    let width = rows::extent(directions, "directions")?.1;
    let directions = rows::matrix(directions, width, "directions")?;
    let count = directions.dim(0)?;
    if count < 2 {
        return Err(err!(Argument, "expected at least two directions, found {count}").about("s"));
    }
    let numbers = rows::finite(&directions, "directions", 0)?;
    let directions = Tensor::from_vec(numbers, (count, width), &Device::Cpu)?;
    let placed = placed(&directions, task)?;
    let drawn = create::randn(&[count, width], DType::F32, &mut stream(seed, "geometry", 0))?;
    let lengths: Vec<f32> = placed.iter().map(|one| one.map_or(0.0, |one| one.length as f32)).collect();
    let norms = drawn.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
    let random = drawn.broadcast_div(&norms)?.broadcast_mul(&Tensor::from_vec(lengths, (count, 1), &Device::Cpu)?)?;
    Ok(Geometry { placed, random: self::placed(&random, task)?, width, p: options.p })
}

fn placed(directions: &Tensor, task: &Task) -> Result<Vec<Option<DirectionGeometry>>> {
    let (count, width) = directions.dims2()?;
    let mut squares = Tensor::zeros((width, width), DType::F64, &Device::Cpu)?;
    let mut unit_squares = squares.clone();
    let wide = |start: usize| -> Result<(Tensor, Tensor, Tensor)> {
        task.check()?;
        let rows = directions.narrow(0, start, ROWS.min(count - start))?.to_dtype(DType::F64)?;
        let lengths = rows.sqr()?.sum_keepdim(1)?.sqrt()?;
        let unit = rows.broadcast_div(&lengths.maximum(f64::MIN_POSITIVE)?)?;
        Ok((rows, unit, lengths))
    };
    for start in (0..count).step_by(ROWS) {
        let (rows, unit, _) = wide(start)?;
        squares = (squares + rows.t()?.matmul(&rows)?)?;
        unit_squares = (unit_squares + unit.t()?.matmul(&unit)?)?;
    }
    let mut found = Vec::with_capacity(count);
    for start in (0..count).step_by(ROWS) {
        let (_, unit, lengths) = wide(start)?;
        let along =
            |squares: &Tensor| -> Result<Vec<f64>> { Ok((unit.matmul(squares)? * &unit)?.sum(1)?.to_vec1::<f64>()?) };
        let all = along(&squares)?;
        let all_unit = along(&unit_squares)?;
        let lengths = lengths.flatten_all()?.to_vec1::<f64>()?;
        found.extend(lengths.into_iter().zip(all.into_iter().zip(all_unit)).map(|(length, (all, all_unit))| {
            (length > 0.0).then(|| DirectionGeometry {
                length,
                nearest: None,
                // A sum of squares is not below 0 but by rounding.
                interference: (all_unit - 1.0).max(0.0),
                dimensions: length * length / all,
            })
        }));
    }
    let bar = task.begin("cosines", Some(count as u64));
    let mut at = 0;
    let lives: Vec<bool> = found.iter().map(Option::is_some).collect();
    cosines_of(directions, directions, task, |row| {
        let others = row.iter().enumerate().filter(|(other, _)| *other != at && lives[*other]);
        let nearest = others.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        if let Some(one) = found.get_mut(at).and_then(Option::as_mut) {
            one.nearest = nearest.map(|(other, cosine)| (f64::from(*cosine), other));
        }
        at += 1;
        bar.advance(1);
    })?;
    Ok(found)
}

/// Computes the means of numbers over directions, with 95 % intervals by the bootstrap over them.
fn means(placed: &[Option<DirectionGeometry>], p: f64, task: &Task) -> Result<[(f64, Option<[f64; 2]>); 3]> {
    let all: Vec<[f64; 3]> = placed.iter().flatten().map(|one| numbers(one, p)).collect();
    let of = |at: usize, all: &mut dyn Iterator<Item = &[f64; 3]>, count: usize| {
        all.map(|numbers| numbers[at]).sum::<f64>() / count as f64
    };
    let whole = [0, 1, 2].map(|at| of(at, &mut all.iter(), all.len()));
    let drawn = task.apart(move || {
        let count = all.len();
        Ok(intervals(count, SEED, 3, |drawn| {
            let mut sums = [0.0; 3];
            for numbers in drawn.iter().map(|at| &all[*at]) {
                sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            }
            sums.map(|sum| sum / count as f64).to_vec()
        }))
    })?;
    let interval = |at: usize| drawn.get(at).copied().flatten();
    Ok([0, 1, 2].map(|at| (whole[at], interval(at))))
}

/// Returns the numbers whose means are taken: the largest |cosine|, the interference at density p, the dimensions.
fn numbers(one: &DirectionGeometry, p: f64) -> [f64; 3] {
    [one.nearest.map_or(0.0, |(cosine, _)| cosine.abs()), p * one.interference, one.dimensions]
}

/// Computes the largest |cosine| of all pairs.
fn coherence(placed: &[Option<DirectionGeometry>]) -> f64 {
    placed.iter().flatten().filter_map(|one| one.nearest).map(|(cosine, _)| cosine.abs()).fold(0.0, f64::max)
}

impl Geometry {
    /// Returns the mutual coherence of the directions.
    pub fn coherence(&self) -> f64 {
        coherence(&self.placed)
    }

    /// Tabulates each measure of all directions, beside that of random ones, with what theory says of these.
    pub fn summary(&self, task: &Task) -> Result<Table> {
        let living = self.placed.iter().flatten().count();
        let m = living as f64;
        let d = self.width as f64;
        let number = |x: f64| Cell::from(x.is_finite().then_some(x));
        // Of more directions than dimensions, at least; fewer may be orthogonal (Welch 1974).
        let least = ((m - d) / (d * (m - 1.0))).max(0.0).sqrt();
        let row = |name: &str, own: (f64, Option<[f64; 2]>), random: f64, formula: Cell, what: &str| -> Vec<Cell> {
            let end = |at: usize| own.1.map_or(Cell::Missing, |ends| number(ends[at]));
            vec![name.into(), number(own.0), end(0), end(1), number(random), formula, what.into()]
        };
        let own = means(&self.placed, self.p, task)?;
        let random = means(&self.random, self.p, task)?;
        let expected = self.p * (m - 1.0) / d;
        Ok(Table::new(
            format!("geometry of {living} directions in {} dimensions", self.width),
            ["measure", "mean", "low", "high", "random", "formula", "what it is"],
            [
                row(
                    "coherence",
                    (self.coherence(), None),
                    coherence(&self.random),
                    number(least),
                    "largest |cosine| of two; formula: the least there can be, sqrt((m - d) / (d (m - 1)))",
                ),
                row("nearest", own[0], random[0].0, Cell::Missing, "largest |cosine| of each with another"),
                row(
                    "interference",
                    own[1],
                    random[1].0,
                    number(expected),
                    "p times the sum of squared cosines with the others; formula: p (m - 1) / d",
                ),
                row(
                    "dimensions",
                    own[2],
                    random[2].0,
                    number(1.0 / (1.0 + (m - 1.0) / d)),
                    "|W_i|² / sum over j of (W_i . W_j / |W_i|)²; formula: 1 / (1 + (m - 1) / d), of equal lengths",
                ),
            ],
        ))
    }

    /// Tabulates the measures feature by feature.
    pub fn table(&self) -> Table {
        let row = |(feature, one): (usize, &Option<DirectionGeometry>)| -> Vec<Cell> {
            let Some(one) = one else {
                return [vec![feature.into(), 0.0.into()], vec![Cell::Missing; 4]].concat();
            };
            let (cosine, other) = one.nearest.unzip();
            vec![
                feature.into(),
                one.length.into(),
                cosine.into(),
                other.into(),
                (self.p * one.interference).into(),
                one.dimensions.into(),
            ]
        };
        let columns = ["feature", "length", "largest cosine", "with", "interference", "dimensions"];
        Table::new("directions among the others", columns, self.placed.iter().enumerate().map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f32; 2]]) -> Geometry {
        let rows = Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).unwrap();
        geometry(&rows, GeometryOptions::default(), 0, &Task::default()).unwrap()
    }

    #[test]
    fn polygons_share_their_dimensions_as_elhage_et_al_have_it() {
        let dimensions = |found: &Geometry| found.placed.iter().map(|one| one.unwrap().dimensions).collect::<Vec<_>>();
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&dimensions(&of(&[[1.0, 0.0], [0.0, 2.0]])), &[1.0, 1.0]));
        let pair = of(&[[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0]]);
        assert!(near(&dimensions(&pair), &[0.5, 0.5, 1.0]));
        assert_eq!((pair.coherence(), pair.placed[0].unwrap().nearest), (1.0, Some((-1.0, 1))));
        // A regular pentagon: 2/5 each, and cosines of 72 and 144 degrees.
        let pentagon: Vec<[f32; 2]> = (0..5)
            .map(|k| (f64::from(k) * 0.4 * std::f64::consts::PI).sin_cos())
            .map(|(s, c)| [c as f32, s as f32])
            .collect();
        let found = of(&pentagon);
        assert!(near(&dimensions(&found), &[0.4; 5]));
        assert!(found.placed.iter().all(|one| (one.unwrap().interference - 1.5).abs() < 1e-6));
        assert!((found.coherence() - 0.809_017).abs() < 1e-6);
    }

    #[test]
    fn sums_agree_with_cosines_of_all_pairs_and_random_directions_with_the_formula() {
        let drawn = create::randn(&[1500, 24], DType::F32, &mut stream(3, "x", 0)).unwrap();
        let found = geometry(&drawn, GeometryOptions { p: 0.5 }, 0, &Task::default()).unwrap();
        let mut at = 0;
        cosines_of(&drawn, &drawn, &Task::default(), |row| {
            let plain: f64 = row.iter().map(|cosine| f64::from(*cosine).powi(2)).sum::<f64>() - 1.0;
            assert!((found.placed[at].unwrap().interference / plain - 1.0).abs() < 1e-4);
            at += 1;
        })
        .unwrap();
        let summary = found.summary(&Task::default()).unwrap();
        let [Cell::Float(own), Cell::Float(low), Cell::Float(high), Cell::Float(random), Cell::Float(formula)] =
            &summary.rows[2][1..6]
        else {
            panic!("{summary:?}")
        };
        assert!((formula - 0.5 * 1499.0 / 24.0).abs() < 1e-9 && low < own && own < high);
        assert!((own / formula - 1.0).abs() < 0.02 && (random / formula - 1.0).abs() < 0.02, "{summary:?}");
    }

    #[test]
    fn a_direction_of_length_0_is_none_and_one_alone_is_refused() {
        let found = of(&[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]);
        assert_eq!((found.placed[1], found.coherence()), (None, 0.0));
        assert_eq!(found.table().rows[1][2], Cell::Missing);
        let one = Tensor::new(&[[1.0_f32, 0.0]], &Device::Cpu).unwrap();
        let error = geometry(&one, GeometryOptions::default(), 0, &Task::default()).unwrap_err();
        assert_eq!(error.message, "expected at least two directions, found 1");
    }
}
