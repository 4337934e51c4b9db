//! Steering vectors from contrasting texts.

use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::model::run::Ask;
use crate::model::site::Place;
use crate::tensor::{DType, Tensor, linalg};

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
    #[derive(Debug, Clone)]
    pub struct VectorOptions {
        /// The method: the difference of the means, or the first principal component of the differences of pairs.
        method: VectorMethod = VectorMethod::Mean;
        /// The position that is read; a negative one counts from the end of each text.
        pos: i64 = -1;
    }
}

/// Computes a vector at one site, from texts with a concept and texts without: `[d]`.
///
/// The component is about 0, not about the mean of the differences, so that what all of them share counts. It points
/// where the mean difference does, and is as long as that is along it.
pub fn steering_vector(
    model: &Decoder,
    with: &Batch,
    without: &Batch,
    place: Place,
    options: &VectorOptions,
    task: &Task,
) -> Result<Tensor> {
    let at = |batch: &Batch| -> Result<Tensor> {
        let ask = Ask { places: vec![place], positions: Some(vec![options.pos]), ..Ask::default() };
        Ok(model.cache(batch, ask, task)?.at(place)?.to_dtype(DType::F32)?.flatten_from(1)?)
    };
    let with = at(with)?;
    let without = at(without)?;
    if options.method == VectorMethod::Mean {
        return Ok((with.mean(0)? - without.mean(0)?)?);
    }
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
