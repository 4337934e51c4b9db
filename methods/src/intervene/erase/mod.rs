//! Erasing what a linear probe can read: erasers are fitted on rows with labels, and applied to rows or as hooks.
//!
//! With rows x, one-hot labels z (a column for each class but the first), their means and covariances:
//!
//! - LEACE (Belrose et al. 2023, theorem 4.3): x - W^+ u u^T W (x - mean), with W = Sxx^(-1/2) and u the left singular
//!   vectors of W Sxz: of all affine maps after which x and z do not covary, the one that changes x least;
//! - oracle LEACE (theorem 4.4): x - Sxz Szz^+ (z - mean), for rows of which the label is known;
//! - mean projection: the orthogonal projection that makes the class means equal;
//! - INLP (Ravfogel et al. 2020): in each round the directions of a new probe are projected out;
//! - features: those of a dictionary whose mean activations differ most between the classes are set to 0;
//! - random: random directions are projected out, the control.

mod compare;
mod costs;
mod formulas;
mod reading;

#[cfg(test)]
mod tests;

pub use compare::erasure;
pub use reading::{ErasureOptions, LabelledSite};

use faer::Mat;
use rand_distr::{Distribution, StandardNormal};

use crate::model::hooks::{At, Edit, Projection};
use crate::options::OptionGroup;
use crate::probes::matrix::{check_width, matrix, means, tensor};
use crate::probes::{ClassLabels, ClassName};
use crate::sae::prelude::*;
use crate::sae::splice::heads_joined;

crate::choices! {
    /// Methods to erase a concept.
    pub enum EraserKind {
        Leace = "leace",
        Oracle = "oracle",
        MeanProjection = "mean_projection",
        Inlp = "inlp",
        Features = "features",
        Random = "random",
    }
}

crate::options! {
    pub struct EraseOptions {
        /// The method of erasure.
        kind: EraserKind = EraserKind::Leace;
        /// Whether the mean of the rows stays where it is, and not the origin.
        affine: Option<bool> = None
            => usually("true").only("kind", &["leace", "mean_projection", "inlp", "random"]);
        /// Whether the covariance is shrunk towards a multiple of the identity (Bodnar et al. 2014), for few rows.
        shrinkage: Option<bool> = None
            => usually("with fewer than ten rows for each number of a row").only("kind", &["leace"]);
        /// The number of rounds.
        rounds: Option<usize> = None => usually("3").at_least(1.0).only("kind", &["inlp"]);
        /// The penalty of the probes.
        l2: Option<f64> = None => usually("1 / rows").at_least(0.0).only("kind", &["inlp"]);
        /// The number of features, or of random directions.
        k: Option<usize> = None
            => usually("the number of classes less 1").at_least(1.0).only("kind", &["features", "random"]);
        /// The seed of the directions.
        seed: Seed = Seed::default() => usually(OF_CALL).only("kind", &["random"]);
    }
}

impl EraseOptions {
    /// Refuses options that this kind does not have.
    fn check(&self, dictionary: Option<&Sae>) -> Result<()> {
        let what = format!("an eraser of kind \"{}\"", self.kind.word());
        if dictionary.is_some() && self.kind != EraserKind::Features {
            return Err(err!(Argument, "expected no `dictionary` for {what}").about("dictionary"));
        }
        self.refuse_others()
    }
}

/// The number of rows for each dimension below which the covariance is shrunk by default.
const FEW: usize = 10;

/// Inputs of a fit besides labelled rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct FittedWith<'a> {
    /// The dictionary, for features.
    pub dictionary: Option<&'a Sae>,
    /// All rows that the eraser will be applied to, labelled or not: LEACE is then the change that is least over these,
    /// and their mean is what stays where it is.
    pub background: Option<&'a Tensor>,
}

/// Changes that an eraser makes.
#[derive(Debug, Clone)]
enum Erasure {
    Projection(Projection),
    Oracle { coefficient: Mat<f64>, mean: Vec<f64> },
    Features { sae: Sae, features: Vec<u32> },
}

/// A fitted eraser.
#[derive(Debug, Clone)]
pub struct Eraser {
    pub kind: EraserKind,
    pub classes: Vec<ClassName>,
    /// The number of rows that it was fitted on.
    pub rows: usize,
    /// The numbers in a row.
    pub width: usize,
    erasing: Erasure,
}

impl Eraser {
    /// Returns the numbers that the eraser uses in a hook; none for the oracle, which needs labels.
    pub fn numbers(&self) -> Vec<Tensor> {
        match &self.erasing {
            Erasure::Projection(projection) => projection.numbers(),
            Erasure::Oracle { .. } => Vec::new(),
            Erasure::Features { sae, features } => sae.numbers(features),
        }
    }

    /// Fits an eraser on rows `[n, d]` and the label of each.
    pub fn fit(
        x: &Tensor,
        labels: &ClassLabels,
        options: &EraseOptions,
        FittedWith { dictionary, background }: FittedWith,
        task: &Task,
    ) -> Result<Self> {
        options.check(dictionary)?;
        let rows = matrix(x).map_err(|e| e.about("x"))?;
        labels.check_rows(rows.nrows()).map_err(|e| e.about("y"))?;
        labels.check_each().map_err(|e| e.about("y"))?;
        if rows.nrows() < 2 {
            return Err(err!(Argument, "expected at least two rows to erase from, found {}", rows.nrows()).about("x"));
        }
        let few = labels.classes.len() - 1;
        if background.is_some() && matches!(options.kind, EraserKind::Oracle | EraserKind::Features) {
            let kind = options.kind.word();
            return Err(err!(Argument, "expected no `background` for an eraser of kind \"{kind}\"").about("background"));
        }
        let background = background.map(|all| matrix(all).map_err(|e| e.about("background"))).transpose()?;
        if let Some(all) = &background {
            check_width(all.as_ref(), rows.ncols(), "the labelled rows").map_err(|e| e.about("background"))?;
        }
        let all = background.as_ref().unwrap_or(&rows);
        let centred = |projection: Projection| {
            if options.affine.unwrap_or(true) {
                projection.about(vector(&means(all.as_ref()))?)
            } else {
                Ok(projection)
            }
        };
        let erasing = match options.kind {
            EraserKind::Leace => {
                let is_shrunk = options.shrinkage.unwrap_or(all.nrows() < FEW * all.ncols());
                let (left, right) =
                    formulas::leace(rows.as_ref(), labels, background.as_ref().map(Mat::as_ref), is_shrunk)?;
                let to = |m: &Mat<f64>| tensor(m.as_ref(), DType::F64);
                Erasure::Projection(centred(Projection::new(to(&left)?, to(&right)?, None)?)?)
            }
            EraserKind::Oracle => {
                let (coefficient, mean) = formulas::oracle(rows.as_ref(), labels)?;
                Erasure::Oracle { coefficient, mean }
            }
            EraserKind::MeanProjection => {
                let directions = formulas::mean_differences(rows.as_ref(), labels)?;
                Erasure::Projection(centred(Projection::removing(&tensor(directions.as_ref(), DType::F64)?)?)?)
            }
            EraserKind::Inlp => {
                let rounds = options.rounds.unwrap_or(3);
                let directions = formulas::inlp(rows.as_ref(), labels, rounds, options.l2, task)?;
                Erasure::Projection(centred(Projection::removing(&tensor(directions.as_ref(), DType::F64)?)?)?)
            }
            EraserKind::Random => {
                let directions = random(rows.ncols(), options.k.unwrap_or(few), options.seed.draws())?;
                Erasure::Projection(centred(Projection::removing(&directions)?)?)
            }
            EraserKind::Features => {
                let sae = dictionary.ok_or_else(|| {
                    err!(Argument, "expected a dictionary for an eraser of kind \"features\", found none")
                        .hint("#{ kind: \"features\", dictionary: s }")
                        .about("dictionary")
                })?;
                sae.check_writes_what_it_reads()?;
                check_width(rows.as_ref(), sae.d_in(), "the dictionary")?;
                let features = formulas::most_different_features(sae, x, labels, options.k.unwrap_or(few), task)?;
                Erasure::Features { sae: sae.clone(), features }
            }
        };
        let count = rows.nrows();
        let width = rows.ncols();
        Ok(Self { kind: options.kind, classes: labels.classes.clone(), rows: count, width, erasing })
    }

    /// Returns the number of directions that the eraser removes; none if it is no projection.
    pub fn rank(&self) -> Option<usize> {
        match &self.erasing {
            Erasure::Projection(projection) => Some(projection.rank()),
            Erasure::Oracle { .. } | Erasure::Features { .. } => None,
        }
    }

    /// Returns the features that the eraser sets to 0.
    pub fn features(&self) -> Option<&[u32]> {
        if let Erasure::Features { features, .. } = &self.erasing { Some(features) } else { None }
    }

    /// Erases the concept from rows `[.., width]`. The oracle gets the labels of rows `[n, width]`, the others do not.
    pub fn apply(&self, x: &Tensor, names: Option<&[ClassName]>) -> Result<Tensor> {
        match (&self.erasing, names) {
            (Erasure::Oracle { coefficient, mean }, Some(names)) => {
                let rows = matrix(x).map_err(|e| e.about("x"))?;
                check_width(rows.as_ref(), self.width, "the eraser").map_err(|e| e.about("x"))?;
                let labels = ClassLabels::among(names, &self.classes).map_err(|e| e.about("y"))?;
                labels.check_rows(rows.nrows()).map_err(|e| e.about("y"))?;
                let found = formulas::without_labels(rows.as_ref(), &labels, coefficient, mean);
                tensor(found.as_ref(), dtype::float_for(x.dtype()))
            }
            (Erasure::Oracle { .. }, None) => Err(err!(Argument, "expected the labels of the rows for the oracle")
                .hint("e.apply(x, y); of the kinds that need no labels, \"leace\" changes the rows least")),
            (_, Some(_)) => {
                Err(err!(Argument, "expected no labels for an eraser of kind \"{}\"", self.kind.word()).about("y"))
            }
            (Erasure::Projection(projection), None) => {
                projection.apply(&dtype::convert(x, dtype::float_for(x.dtype()))?).map_err(|e| e.about("x"))
            }
            (Erasure::Features { sae, features }, None) => {
                let rows = heads_joined(&dtype::convert(x, sae.parts().encoder.dtype())?, self.width)?;
                let features = Tensor::from_slice(features, features.len(), x.device())?;
                let codes = sae.encode(&rows)?;
                let last = codes.rank() - 1;
                let codes = codes.contiguous()?.index_select(&features, last)?;
                let written = sae.writes(&rows, &features, &codes)?;
                dtype::convert(&(rows - written)?.reshape(x.dims())?, dtype::float_for(x.dtype()))
            }
        }
    }

    /// Refuses to be a hook if the eraser needs the labels of rows, which a model does not have.
    pub fn check_hook(&self) -> Result<()> {
        match self.erasing {
            Erasure::Oracle { .. } => {
                Err(err!(Argument, "expected an eraser that needs no labels for a hook, found the oracle")
                    .hint("\"leace\" is the one that changes activations least without them"))
            }
            _ => Ok(()),
        }
    }
}

impl Edit for Eraser {
    fn edit(&mut self, _: &At, place: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let erased = self.apply(x, None).map_err(|e| e.within(format!("`{place}`")))?;
        Ok(Some(dtype::convert(&erased, x.dtype())?))
    }
}

fn vector(values: &[f64]) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, values.len(), &Device::Cpu)?)
}

/// Draws k random directions, `[k, width]`.
fn random(width: usize, k: usize, seed: u64) -> Result<Tensor> {
    if k > width {
        return Err(err!(Argument, "expected at most {width} directions for `k`, found {k}").about("k"));
    }
    let mut draws = stream(seed, "directions to erase", 0);
    let values: Vec<f64> = (0..k * width).map(|_| StandardNormal.sample(&mut draws)).collect();
    Ok(Tensor::from_vec(values, (k, width), &Device::Cpu)?)
}
