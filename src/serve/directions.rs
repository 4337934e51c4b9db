//! Directions of features: the weights that one reads with, and the features whose directions are nearest.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::activations::numbers;
use super::refusal::Answered;
use super::reply::Frames;
use super::requests::fields;
use super::state::Served;
use crate::base::{Error, Result, Task, order};
use crate::err;
use crate::features::logits::written;
use crate::tensor::{DType, Device, Tensor};

/// Maximum number of features that are listed.
const MOST: i64 = 128;

/// Least product of two norms that a cosine is divided by.
const LEAST: f32 = 1e-8;

/// A feature by the names of the protocol.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NamedFeature {
    model: String,
    source: String,
    index: i64,
}

/// Answers with the weights by which a feature reads, and the hook that they are of.
pub fn vector(served: &Served, request: Map<String, Value>, _frames: &Frames, _task: &Task) -> Answered {
    let asked: NamedFeature = fields(request)?;
    served.check_model(&asked.model)?;
    let (source, index) = served.with_feature(&asked.source, asked.index)?;
    let weights = numbers(&list(&source.reading(index)?)?)?;
    Ok(Some(json!({ "vector": weights, "hookName": source.hook_name() })))
}

/// A feature or a vector, and the source whose features it is compared with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NearestRequest {
    feature: Option<NamedFeature>,
    vector: Option<Vec<f64>>,
    model: String,
    source: String,
    num_results: i64,
}

/// Answers with the features of a source whose directions are nearest to that of a feature, or to a vector.
pub fn nearest(served: &Served, request: Map<String, Value>, _frames: &Frames, task: &Task) -> Answered {
    let asked: NearestRequest = fields(request)?;
    served.check_model(&asked.model)?;
    let source = served.source(&asked.source)?;
    let direction = match (&asked.feature, &asked.vector) {
        (Some(feature), None) => {
            let (of, index) = served.with_feature(&feature.source, feature.index)?;
            of.direction(index)?
        }
        (None, Some(vector)) => column(vector)?,
        _ => return Err(err!(Argument, "expected either `feature` or `vector`").into()),
    };
    let wide = source.sae.d_out();
    if direction.elem_count() != wide {
        let found = direction.elem_count();
        let error = err!(Shape, "expected a direction of {wide} numbers for {}, found one of {found}", source.id);
        return Err(error.into());
    }
    let cosines = cosines(
        &written(&source.sae, 0, source.sae.d_sae())?.to_device(&Device::Cpu).map_err(Error::from)?,
        &direction,
        task,
    )?;
    let mut order: Vec<usize> = (0..cosines.len()).collect();
    order::sort_descending(&mut order, |feature| cosines[*feature]);
    order.truncate(asked.num_results.clamp(1, MOST) as usize);
    let near = |index: usize| {
        let feature = NamedFeature { model: asked.model.clone(), source: asked.source.clone(), index: index as i64 };
        json!({ "feature": feature, "cosineSimilarity": cosines[index] })
    };
    let nearest: Vec<Value> = order.into_iter().map(near).collect();
    Ok(Some(json!({ "feature": asked.feature, "topkDecoderCossimFeatures": nearest })))
}

fn column(vector: &[f64]) -> Result<Tensor> {
    Ok(Tensor::new(vector, &Device::Cpu)?.to_dtype(DType::F32)?)
}

fn list(vector: &Tensor) -> Result<Vec<f32>> {
    Ok(vector.to_vec1()?)
}

/// Returns the cosine of each row with a direction. One that is not a number, as of a damaged row, counts as the least.
fn cosines(rows: &Tensor, direction: &Tensor, task: &Task) -> Result<Vec<f32>> {
    task.check()?;
    let dots = list(&rows.matmul(&direction.unsqueeze(1)?)?.squeeze(1)?)?;
    let norms = list(&rows.sqr()?.sum(1)?.sqrt()?)?;
    let length = direction.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
    let cosine = |(dot, norm): (f32, f32)| dot / (norm * length).max(LEAST);
    Ok(dots.into_iter().zip(norms).map(cosine).map(|cosine| if cosine.is_finite() { cosine } else { -1.0 }).collect())
}
