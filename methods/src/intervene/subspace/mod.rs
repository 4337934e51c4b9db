//! Distributed alignment search: the subspace of a site that carries a variable (Geiger et al. 2023), and its boundless
//! form (Wu et al. 2023).
//!
//! An interchange replaces the part of the base's activation b that lies in the subspace by that of a source s:
//! b + (s - b) R M R^T, with the orthonormal columns of R. M keeps the first k coordinates, or in the boundless form
//! sigmoid(i / t) sigmoid((boundary d - i) / t) of coordinate i. R minimises the cross-entropy of the answer that the
//! variable of the source asks for, by Adam on orthonormal matrices (`training/descent`). Either may be given: R is then the start
//! of the search, or with no steps the subspace that is judged.

mod data;
mod interchange;
#[cfg(test)]
mod tests;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use data::Interchange;
pub use interchange::{InterchangeAccuracy, boundless_mask, interchanged};

use crate::common::*;
use crate::model::hooks::checks::finite;
use crate::tensor::{Values, create, linalg};
use crate::training::descent::{
    Descent, DescentOptions, DescentRule, ParameterChoice, ParameterRanges, Steps, descend,
};
use data::{InterchangeBasis, PreparedPairs};

crate::options! {
    /// Options of the search for a subspace.
    pub struct DasOptions {
        /// The site of the interchange; it must be given.
        site: Option<String> = None => usually("none");
        /// The position of the interchange in both texts; a negative one counts from the end.
        pos: i64 = -1;
        /// Dimension of the subspace.
        k: usize = 1 => usually("1, or the columns of `basis`").at_least(1.0);
        /// Whether the dimension is learned, too (boundless DAS); `k` is then not used.
        boundless: bool = false;
        /// The basis to begin with, orthonormal columns `[d, k]`, such as the `rotate_layer.weight` of pyvene.
        basis: Option<Values> = None => usually("a random one");
        /// Factors of the coordinate of each column in an interchange, `[k]`, such as the mask of a boundless search.
        mask: Option<Values> = None => usually("1 for each");
        /// Number of steps; with 0 the given basis stays as it is, and is judged on all pairs.
        steps: usize = 200;
        /// Learning rate of Adam.
        lr: f64 = 0.01 => above(0.0);
        /// Number of pairs in a step.
        batch: usize = 32 => at_least(1.0);
        /// Share of the pairs that judge and do not fit.
        held_out: f64 = 0.25 => above(0.0).at_most(1.0);
        /// Seed of the first basis, of the order of pairs, and of the split; without one, the split is that of seed 0.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// The temperature of the boundless mask, at the first step and at the last.
const TEMPERATURES: [f64; 2] = [50.0, 0.1];

/// The range of the boundary, as a share of the dimensions.
const BOUNDARIES: [f64; 2] = [1e-3, 1.0];

/// A subspace that was found.
#[derive(Debug, Clone)]
pub struct Subspace {
    pub place: Place,
    pub pos: i64,
    /// Orthonormal columns, `[d, k]`.
    pub basis: Tensor,
    /// The factors of the coordinate of each column, `[k]`, where they are not 1.
    pub mask: Option<Tensor>,
    /// Whether all pairs judge, since none was used to fit.
    pub by_all: bool,
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// Accuracies on the pairs that judge: the subspace, a random one of its dimension, the whole activation, and no
    /// interchange.
    pub accuracies: Vec<InterchangeAccuracy>,
}

impl Subspace {
    /// Returns a table of the interchange accuracy on the pairs that judge, with its controls.
    pub fn table(&self) -> Table {
        let row = |found: &InterchangeAccuracy| -> Vec<Cell> {
            let [low, high] = found.interval();
            vec![found.what.into(), found.share().into(), low.into(), high.into(), found.pairs.into()]
        };
        Table::new(
            format!(
                "interchange accuracy on {} pairs, {} of {} dimensions",
                if self.by_all { "all" } else { "held-out" },
                self.dimension(),
                self.width()
            ),
            ["interchanged", "accuracy", "low", "high", "pairs"],
            self.accuracies.iter().map(row),
        )
    }

    pub fn dimension(&self) -> usize {
        self.basis.dims().last().copied().unwrap_or_default()
    }

    pub fn width(&self) -> usize {
        self.basis.dims().first().copied().unwrap_or_default()
    }

    /// Measures the share of other pairs whose answer the interchange gives.
    pub fn accuracy(&self, model: &Decoder, pairs: &[Interchange], task: &Task) -> Result<InterchangeAccuracy> {
        let data = PreparedPairs::new(model, self.place, self.pos, pairs, task)?;
        let all: Vec<usize> = (0..pairs.len()).collect();
        data.accuracy("subspace", &all, Some(InterchangeBasis { basis: &self.basis, mask: self.mask.as_ref() }), task)
    }
}

/// Searches the subspace. An interruption ends the search, and the basis is the last one.
pub fn das(model: &Decoder, pairs: &[Interchange], options: &DasOptions, task: &Task) -> Result<Subspace> {
    let missing = || err!(Argument, "expected `site`, found none").hint("#{ site: \"resid_post.0\" }").about("site");
    let place = one_site(model.config(), options.site.as_deref().ok_or_else(missing)?, "a subspace is at one site")?;
    let data = PreparedPairs::new(model, place, options.pos, pairs, task)?;
    let d = data.width();
    let given = given_basis(options, place, d)?;
    let random = |purpose: &str, columns: usize| random_basis(d, columns, options.seed.draws(), purpose);
    let columns = if options.boundless { d } else { options.k };
    let first = given.map_or_else(|| random("das", columns), Ok)?.to_device(data.device())?;
    let mask = given_mask(options, first.dim(1)?)?.map(|mask| mask.to_device(data.device())).transpose()?;
    let by_all = options.steps == 0;
    let (basis, judging, losses) = if by_all {
        (first, (0..pairs.len()).collect(), Vec::new())
    } else {
        let (fitted, held_out) = split(pairs.len(), options)?;
        let mut search = SubspaceSearch::new(&data, first, mask.as_ref(), fitted, options)?;
        let steps = Steps { count: options.steps as u64, label: "searching a subspace", left: "the subspace as it is" };
        let losses = descend(steps, || search.step(task), task)?;
        (search.found()?, held_out, losses)
    };
    let random = random("random subspace", basis.dim(1)?)?;
    let whole = create::eye(d, d, DType::F32)?;
    let mask = mask.as_ref();
    let accuracies = vec![
        data.accuracy("subspace", &judging, Some(InterchangeBasis { basis: &basis, mask }), task)?,
        data.accuracy("random subspace", &judging, Some(InterchangeBasis { basis: &random, mask }), task)?,
        data.accuracy("whole activation", &judging, Some(InterchangeBasis { basis: &whole, mask: None }), task)?,
        data.accuracy("nothing", &judging, None, task)?,
    ];
    Ok(Subspace { place, pos: options.pos, basis, mask: mask.cloned(), by_all, losses, accuracies })
}

/// The tolerance of products of columns for orthonormal ones: a basis that was saved in 16 bits is within it.
const ORTHONORMAL: f64 = 1e-2;

/// Returns the basis that was given, if it is one of the site.
fn given_basis(options: &DasOptions, place: Place, d: usize) -> Result<Option<Tensor>> {
    let k = options.k;
    let Some(basis) = &options.basis else {
        return match (options.steps, k > d) {
            (0, _) => {
                Err(err!(Argument, "expected a `basis` to judge where there are no steps, found none").about("steps"))
            }
            (_, true) => {
                Err(err!(Argument, "expected at most {d} dimensions, those of `{place}`, found {k}").about("k"))
            }
            _ => Ok(None),
        };
    };
    let columns = match *basis.dims() {
        [rows, columns] if rows == d && (1..=d).contains(&columns) => columns,
        ref dims => {
            let turned = matches!(*dims, [columns, rows] if rows == d && columns < d);
            return Err(err!(
                Shape,
                "expected a `basis` of the shape [{d}, k], {d} being the width of `{place}`, found {dims:?}"
            )
            .maybe_hint(turned.then(|| "its columns are the directions: give `w.transpose()`".into()))
            .about("basis"));
        }
    };
    if k != 1 && k != columns && !options.boundless {
        return Err(
            err!(Argument, "expected `k` to be the number of columns of `basis`, {columns}, found {k}").about("k")
        );
    }
    if options.boundless && columns != d {
        return Err(err!(Argument, "expected all {d} columns in `basis` for a boundless search, found {columns}")
            .hint("it learns how many of the first ones count")
            .about("basis"));
    }
    if options.boundless && options.steps == 0 {
        return Err(err!(Argument, "expected steps for a boundless search, found 0")
            .hint("give the `mask` that another one ended with in place of `boundless`")
            .about("steps"));
    }
    let basis = basis.tensor("basis", DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
    let products = basis.t()?.matmul(&basis)?;
    let far = (products - create::eye(columns, columns, DType::F32)?)?;
    if floats(&far)?.iter().all(|far| far.abs() <= ORTHONORMAL) {
        Ok(Some(basis))
    } else {
        Err(err!(Argument, "expected orthonormal columns in `basis`, found others")
            .hint("`w.qr().q` has orthonormal columns that span the same")
            .about("basis"))
    }
}

fn given_mask(options: &DasOptions, k: usize) -> Result<Option<Tensor>> {
    let Some(mask) = &options.mask else { return Ok(None) };
    if options.boundless {
        return Err(err!(Argument, "expected no `mask` beside `boundless`, which learns one").about("mask"));
    }
    if mask.dims() != [k] {
        let found = mask.dims();
        return Err(err!(Shape, "expected a `mask` of the shape [{k}], a number for each column, found {found:?}")
            .about("mask"));
    }
    let mask = mask.tensor("mask", DType::F32)?;
    finite(&mask, "numbers in `mask`").map_err(|e| e.about("mask"))?;
    Ok(Some(mask))
}

/// Splits pairs into those that fit, and those that judge.
fn split(count: usize, options: &DasOptions) -> Result<(Vec<usize>, Vec<usize>)> {
    let held = ((count as f64 * options.held_out).round() as usize).max(1);
    if held >= count {
        return Err(err!(Argument, "expected pairs to fit and pairs to judge, found {count}")
            .hint("give more pairs, or another `held_out`")
            .about("pairs"));
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream(options.seed.sample(), "das, held out", 0));
    let judging = order.split_off(count - held);
    Ok((order, judging))
}

fn random_basis(d: usize, k: usize, seed: u64, purpose: &str) -> Result<Tensor> {
    let drawn = create::randn(&[d, k], DType::F32, &mut stream(seed, purpose, 0))?;
    Ok(linalg::qr(&drawn)?.0)
}

/// The rule of Adam (Kingma and Ba 2015).
const ADAM: DescentRule = DescentRule::Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 };

/// The names of the descending parameters in errors.
const BASIS: &str = "basis";
const BOUNDARY: &str = "boundary";

/// A running search.
struct SubspaceSearch<'a> {
    data: &'a PreparedPairs<'a>,
    options: &'a DasOptions,
    /// The mask that was given.
    mask: Option<&'a Tensor>,
    descent: Descent,
    /// The pairs that fit; `order` has those that are left of the epoch.
    fitted: Vec<usize>,
    order: Vec<usize>,
    random: ChaCha8Rng,
}

impl<'a> SubspaceSearch<'a> {
    fn new(
        data: &'a PreparedPairs<'a>,
        basis: Tensor,
        mask: Option<&'a Tensor>,
        fitted: Vec<usize>,
        options: &'a DasOptions,
    ) -> Result<Self> {
        let mut begun = vec![(BASIS.to_string(), basis)];
        if options.boundless {
            begun.push((BOUNDARY.into(), Tensor::new(&[0.5_f32], data.device())?));
        }
        let constraints = DescentOptions {
            lr: options.lr,
            orthogonal: ParameterChoice::Named(vec![BASIS.into()]),
            range: ParameterRanges::Named(
                options.boundless.then(|| (BOUNDARY.to_string(), BOUNDARIES)).into_iter().collect(),
            ),
            ..DescentOptions::default()
        };
        let random = stream(options.seed.draws(), "das, order", 0);
        let descent = Descent::new(ADAM, begun, constraints)?;
        Ok(Self { data, options, mask, descent, fitted, order: Vec::new(), random })
    }

    /// Returns the pairs of the next step: each once an epoch, every epoch in another order.
    fn rows(&mut self) -> Vec<usize> {
        if self.order.len() < self.options.batch.min(self.fitted.len()) {
            self.order = self.fitted.clone();
            self.order.shuffle(&mut self.random);
        }
        self.order.split_off(self.order.len() - self.options.batch.min(self.order.len()))
    }

    fn step(&mut self, task: &Task) -> Result<f64> {
        let rows = self.rows();
        let data = self.data;
        let mask = self.mask;
        let d = self.data.width();
        let temperature = self.temperature();
        let mut loss = |parameters: &[Tensor]| match parameters {
            // The boundary itself is what dimensions cost (Wu et al. 2023).
            [basis, boundary] => {
                let mask = boundless_mask(boundary, d, temperature)?;
                Ok((data.loss(&rows, basis, Some(&mask), task)? + boundary.sum_all()?)?)
            }
            [basis] => data.loss(&rows, basis, mask, task),
            _ => Err(err!(Bug, "a search of {} parameters", parameters.len())),
        };
        self.descent.step(&mut loss, task).map_err(|e| if e.kind == Kind::Numeric { e.about("lr") } else { e })
    }

    /// Returns the temperature of the next step, which falls geometrically. The mask selects only where the temperature
    /// is below the number of dimensions: on a straight line, sites of a dozen dimensions would have a few steps for
    /// that, and end with nearly all dimensions.
    fn temperature(&self) -> f64 {
        let [first, last] = TEMPERATURES;
        let share = self.descent.made() as f64 / (self.options.steps - 1).max(1) as f64;
        first * (last / first).powf(share)
    }

    /// Returns the basis, in the boundless form its columns up to the boundary.
    fn found(&self) -> Result<Tensor> {
        let parameters = self.descent.parameters();
        let [basis, boundary] = &parameters[..] else {
            return parameters.into_iter().next().ok_or_else(|| err!(Bug, "a search without its basis"));
        };
        let d = self.data.width();
        let end = floats(boundary)?.first().copied().unwrap_or(1.0) * d as f64;
        Ok(basis.narrow(1, 0, (end.ceil() as usize).clamp(1, d))?.contiguous()?)
    }
}
