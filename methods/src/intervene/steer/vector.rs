//! Steering vectors from contrasting texts.

use crate::common::*;
use crate::intervene::each_text::each_text;
use crate::tensor::linalg;

/// The share of the variance below which a component is rounding.
const LEAST: f64 = 1e-10;

crate::choices! {
    /// Methods to compute a vector from texts with a concept and texts without.
    pub enum VectorMethod {
        /// The difference of the means (CAA: Panickssery et al. 2023, where texts come in pairs).
        Mean = "mean",
        /// The first principal component of the differences of pairs (Zou et al. 2023).
        Pca = "pca",
    }
}

crate::options! {
    /// Steering vectors.
    pub struct VectorOptions {
        /// The method: the difference of the means, or the first principal component of the differences of pairs.
        method: VectorMethod = VectorMethod::Mean;
        /// The position that is read; a negative one counts from the end of each text.
        pos: Option<i64> = None => usually("-1, or all tokens of an answer");
        /// Share of the variance of neutral text whose principal components are projected out of the vector.
        confounds: Option<f64> = None => usually(".5 with `neutral`, or none").at_least(0.0).at_most(1.0);
    }
}

/// Texts, and which tokens of each are read.
#[derive(Clone)]
pub struct ReadTexts {
    pub batch: Batch,
    /// The tokens whose mean is read of each text; None for one position.
    pub answers: Option<Vec<Range<usize>>>,
}

/// The texts that a vector is computed from.
pub struct ContrastTexts {
    pub with: ReadTexts,
    pub without: ReadTexts,
    /// Text with neither, whose largest principal components are no part of the vector.
    pub neutral: Option<Batch>,
}

/// Computes a vector at one site, from texts with a concept and texts without: `[d]`.
///
/// The component is about 0, not about the mean of the differences, so that what all of them share counts. It points
/// where the mean difference does, and is as long as that is along it.
pub fn steering_vector(
    model: &Decoder,
    texts: &ContrastTexts,
    place: Place,
    options: &VectorOptions,
    task: &Task,
) -> Result<Tensor> {
    let with = read(model, &texts.with, place, options, task)?;
    let without = read(model, &texts.without, place, options, task)?;
    let vector = match options.method {
        VectorMethod::Mean => (with.mean(0)? - without.mean(0)?)?,
        VectorMethod::Pca => principal(&with, &without, task)?,
    };
    match (&texts.neutral, options.confounds) {
        (None, None) => Ok(vector),
        (None, Some(_)) => {
            Err(err!(Argument, "expected `neutral` text, whose principal components are the confounds")
                .about("confounds"))
        }
        (Some(neutral), share) => without_confounds(model, &vector, neutral, place, share.unwrap_or(0.5), task),
    }
}

/// Reads one number or vector of each text: `[texts, d]`.
fn read(model: &Decoder, texts: &ReadTexts, place: Place, options: &VectorOptions, task: &Task) -> Result<Tensor> {
    let Some(answers) = &texts.answers else {
        let ask = Ask { places: vec![place], positions: Some(vec![options.pos.unwrap_or(-1)]), ..Ask::default() };
        return Ok(model.cache(&texts.batch, ask, task)?.at(place)?.to_dtype(DType::F32)?.flatten_from(1)?);
    };
    if options.pos.is_some() {
        return Err(err!(Argument, "expected no `pos` beside answers, all of whose tokens are read").about("pos"));
    }
    let mut found = Vec::with_capacity(answers.len());
    each_text(model, texts.batch.rows(), &[place], task, &mut |text, at| {
        let Range { start, end } = answers[text].clone();
        found.push(rows(at)?.narrow(0, start, end - start)?.mean(0)?);
        Ok(())
    })?;
    Ok(Tensor::stack(&found, 0)?)
}

/// Returns the activations of a text at the only place, in f32: `[pos, d]`.
fn rows(at: &[Tensor]) -> Result<Tensor> {
    Ok(at[0].to_dtype(DType::F32)?.flatten_from(2)?.squeeze(0)?)
}

/// Computes the first principal component of the differences of pairs.
fn principal(with: &Tensor, without: &Tensor, task: &Task) -> Result<Tensor> {
    let count = with.dim(0)?;
    let other = without.dim(0)?;
    if count != other {
        return Err(err!(
            Argument,
            "expected pairs of texts for principal components, found {count} and {other} texts"
        )
        .hint("`method: \"mean\"` takes any numbers of texts")
        .about("method"));
    }
    let differences = (with - without)?;
    let found = task.heavy(1e8, {
        let differences = differences.clone();
        move || linalg::svd(&differences)
    })?;
    let axis = found.vt.get(0)?;
    let along = (&axis * differences.mean(0)?)?.sum_all()?;
    Ok(axis.broadcast_mul(&along)?)
}

/// Projects the largest principal components of neutral text out of a vector: as many as explain a share of its variance
/// (Sofroniew et al. 2026). The first token of each text, whose activation is that of no text, is left out.
fn without_confounds(
    model: &Decoder,
    vector: &Tensor,
    neutral: &Batch,
    place: Place,
    share: f64,
    task: &Task,
) -> Result<Tensor> {
    let mut parts = Vec::new();
    each_text(model, neutral.rows(), &[place], task, &mut |_, at| {
        let x = rows(at)?;
        let length = x.dim(0)?;
        if length > 1 {
            parts.push(x.narrow(0, 1, length - 1)?);
        }
        Ok(())
    })?;
    let rows: usize = parts.iter().map(|part| part.dims()[0]).sum();
    if rows < 2 {
        return Err(err!(
            Argument,
            "expected neutral text of several tokens, found {rows} behind the first of each text"
        )
        .about("neutral"));
    }
    let x = Tensor::cat(&parts, 0)?;
    let x = x.broadcast_sub(&x.mean(0)?)?;
    let found = task.heavy(x.elem_count() as f64 * x.dims()[1] as f64, move || linalg::svd(&x))?;
    let sizes: Vec<f64> = crate::tensor::floats(&found.s)?.into_iter().map(|size| size * size).collect();
    let axes = found.vt.narrow(0, 0, count_for(&sizes, share))?;
    let along = axes.matmul(&vector.unsqueeze(1)?)?;
    Ok((vector - axes.t()?.matmul(&along)?.squeeze(1)?)?)
}

/// Counts the largest components that explain a share of the variance, without those that have none.
fn count_for(variances: &[f64], share: f64) -> usize {
    let all: f64 = variances.iter().sum();
    let wanted = share * all;
    let mut explained = 0.0;
    let mut count = 0;
    while count < variances.len() && explained < wanted && variances[count] > LEAST * all {
        explained += variances[count];
        count += 1;
    }
    count
}
