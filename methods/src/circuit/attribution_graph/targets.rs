//! Targets of an attribution graph: logits, differences of two, or directions after the final norm, all at the last
//! position.

use crate::common::*;
use crate::options::{Plain, Setting};
use crate::tokenizer::tokens::TokenName;

use super::AttributionGraphOptions;

/// A target as a user requests it.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetName {
    Token(TokenName),
    /// The logit of the first token less that of the second.
    Difference(TokenName, TokenName),
    /// A vector that reads after the final norm.
    Direction(Vec<f64>),
}

impl Setting for TargetName {
    fn wanted() -> String {
        "a token, an array of two tokens, or a direction as an array of floats".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::List(parts) = value else { return TokenName::of(value).map(Self::Token) };
        if let [first, second] = parts.as_slice()
            && let (Some(first), Some(second)) = (TokenName::of(first), TokenName::of(second))
        {
            return Some(Self::Difference(first, second));
        }
        Vec::<f64>::of(value).map(Self::Direction)
    }

    fn written(&self) -> String {
        match self {
            Self::Token(token) => token.written(),
            Self::Difference(first, second) => format!("[{}, {}]", first.written(), second.written()),
            Self::Direction(values) => values.written(),
        }
    }
}

/// A node that the graph explains.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphTarget {
    /// The token, if it is the logit of one.
    pub token: Option<u32>,
    /// The tokens, if it is the difference of two logits.
    pub pair: Option<(u32, u32)>,
    /// The vector that reads after the final norm, if the target is a direction.
    pub direction: Option<Vec<f64>>,
    /// The text of the token, or a description of the target.
    pub label: String,
    /// The weight in what is explained: the probability of a token.
    pub weight: f64,
}

/// Returns the targets with the vectors that they read with after the final norm: `[targets, d]`.
pub fn targets(
    model: &Model,
    logits: &[f32],
    options: &AttributionGraphOptions,
    task: &Task,
) -> Result<(Vec<GraphTarget>, Tensor)> {
    if let Some(bad) = logits.iter().find(|logit| !logit.is_finite()) {
        return Err(err!(Numeric, "expected logits that are finite numbers, found {bad}"));
    }
    let chances = softmax(logits);
    let width = model.decoder.config().d_model;
    let text = |token: u32| match &model.tokenizer {
        Some(tokenizer) => tokenizer.decode(&[token]),
        None => Ok(token.to_string()),
    };
    let other = |label: String| GraphTarget { token: None, pair: None, direction: None, label, weight: 0.0 };
    let of_token = |token: u32| -> Result<GraphTarget> {
        Ok(GraphTarget { token: Some(token), weight: chances[token as usize], ..other(text(token)?) })
    };
    let named = |name: &TargetName| -> Result<GraphTarget> {
        match name {
            TargetName::Token(token) => of_token(model.token(token, task)?),
            TargetName::Difference(first, second) => {
                let first = model.token(first, task)?;
                let second = model.token(second, task)?;
                let label = format!("logit({}) - logit({})", text(first)?, text(second)?);
                Ok(GraphTarget { pair: Some((first, second)), ..other(label) })
            }
            TargetName::Direction(values) => {
                let found = values.len();
                if found != width {
                    return Err(err!(
                        Shape,
                        "expected a direction of {width} numbers, the model's width, found {found}"
                    ));
                }
                if values.iter().any(|value| !value.is_finite()) {
                    return Err(err!(Numeric, "expected a direction of finite numbers, found another"));
                }
                Ok(GraphTarget { direction: Some(values.clone()), ..other("direction".into()) })
            }
        }
    };
    let mut targets: Vec<GraphTarget> = match options.targets.as_slice() {
        [] => likeliest(&chances, options).into_iter().map(of_token).collect::<Result<_>>()?,
        names => names.iter().map(named).collect::<Result<_>>().map_err(|e| e.about("targets"))?,
    };
    // What is no token has no probability: then all count alike.
    if targets.iter().any(|target| target.token.is_none()) {
        let count = targets.len() as f64;
        targets.iter_mut().for_each(|target| target.weight = 1.0 / count);
    }
    let reading = readings(model, &targets)?;
    Ok((targets, reading))
}

/// Returns the vectors that targets read with after the final norm: `[targets, d]`.
pub fn readings(model: &Model, targets: &[GraphTarget]) -> Result<Tensor> {
    let decoder = &model.decoder;
    let mean = decoder.mean_unembedding()?;
    let row = |token: u32| decoder.unembedding_row(token);
    let vector = |target: &GraphTarget| -> Result<Tensor> {
        match (target.token, target.pair, &target.direction) {
            (Some(token), _, _) => Ok((row(token)? - &mean)?),
            (None, Some((first, second)), _) => Ok((row(first)? - row(second)?)?),
            (None, None, Some(values)) => {
                let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
                let width = values.len();
                Ok(Tensor::from_vec(values, width, mean.device())?)
            }
            (None, None, None) => Err(err!(Bug, "a target that is nothing")),
        }
    };
    Ok(Tensor::stack(&targets.iter().map(vector).collect::<Result<Vec<_>>>()?, 0)?)
}

/// Returns the likeliest tokens, as many as reach the probability together, and no more than the options allow.
fn likeliest(chances: &[f64], options: &AttributionGraphOptions) -> Vec<u32> {
    let mut order: Vec<u32> = (0..chances.len() as u32).collect();
    order::sort_descending(&mut order, |token| chances[*token as usize]);
    order.truncate(options.logits);
    let mut reached = 0.0;
    let count = order.iter().position(|token| {
        reached += chances[*token as usize];
        reached >= options.probability
    });
    order.truncate(count.map_or(order.len(), |last| last + 1));
    order
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
