//! Moves of the nodes of one dictionary away from a run, and the effect of these moves to first order.

use super::placed::{DictionaryValues, PlacedDictionary};
use crate::common::*;

/// Changes of feature activations and of the error of one dictionary, at every position of some rows.
#[derive(Clone)]
pub struct Deltas {
    placed: PlacedDictionary,
    /// The input of the dictionary, which determines the scale of its output.
    input: Tensor,
    /// The features whose activation changes anywhere, sorted.
    pub features: Vec<u32>,
    /// The vector that an activation of 1 of each feature writes: `[features, d]`.
    directions: Tensor,
    /// The changes of activations: `[rows, pos, features]`.
    codes: Tensor,
    /// The change of the error: `[rows, pos, d]`.
    error: Tensor,
}

/// Products (change) . (gradient): of each feature `[rows, pos, features]`, and of the error `[rows, pos]`.
pub struct Products {
    pub codes: Tensor,
    pub error: Tensor,
}

impl Deltas {
    /// Computes the changes from the values of a run to other values, which may be the same for all rows or positions.
    pub fn new(
        placed: &PlacedDictionary,
        read: &Tensor,
        own: &DictionaryValues,
        other: &DictionaryValues,
    ) -> Result<Self> {
        let all = other.codes.broadcast_sub(&own.codes)?;
        let sizes = all.abs()?.flatten(0, 1)?.max(0)?.to_vec1::<f32>()?;
        let moved = (0_u32..).zip(sizes).filter(|(_, size)| *size != 0.0);
        let features: Vec<u32> = moved.map(|(feature, _)| feature).collect();
        Ok(Self {
            codes: all.index_select(&Tensor::new(features.as_slice(), all.device())?, 2)?,
            error: other.error.broadcast_sub(&own.error)?.contiguous()?,
            directions: placed.directions(&features)?,
            input: placed.input(read)?,
            placed: placed.clone(),
            features,
        })
    }

    /// Restricts the changes to some features.
    pub fn only(&self, features: &[u32]) -> Result<Self> {
        let places = features.iter().filter_map(|feature| self.features.binary_search(feature).ok());
        let places: Vec<u32> = places.map(|place| place as u32).collect();
        let chosen = Tensor::new(places.as_slice(), self.codes.device())?;
        Ok(Self {
            features: places.iter().map(|place| self.features[*place as usize]).collect(),
            directions: self.directions.index_select(&chosen, 0)?,
            codes: self.codes.index_select(&chosen, 2)?,
            ..self.clone()
        })
    }

    /// Returns what moving everything adds to the activation: `[rows, pos, d]`.
    pub fn way(&self) -> Result<Tensor> {
        Ok((self.written(&self.codes)? + &self.error)?)
    }

    /// Returns what moving one feature, by its place among those that move, or the error, adds; at all positions, or at
    /// one.
    pub fn way_of(&self, place: Option<usize>, position: Option<usize>) -> Result<Tensor> {
        let whole = match place {
            None => self.error.clone(),
            Some(place) => {
                let column = self.codes.narrow(2, place, 1)?;
                let direction = self.directions.narrow(0, place, 1)?.unsqueeze(0)?;
                self.stretched(&column.broadcast_mul(&direction)?)?
            }
        };
        let Some(position) = position else { return Ok(whole) };
        let width = whole.dim(1)?;
        Ok(whole.narrow(1, position, 1)?.pad_with_zeros(1, position, width - position - 1)?)
    }

    /// Returns the products with a gradient at the site that the dictionary writes, `[rows, pos, d]`.
    pub fn products(&self, gradient: &Tensor) -> Result<Products> {
        let gradient = gradient.to_dtype(DType::F32)?;
        let error = (&gradient * &self.error)?.sum(2)?;
        Ok(Products { codes: (self.slopes(&gradient)? * &self.codes)?, error })
    }

    /// Returns the derivative by each of the moved activations, `[rows, pos, features]`, from the gradient in f32.
    pub fn slopes(&self, gradient: &Tensor) -> Result<Tensor> {
        let (rows, pos, d) = gradient.dims3()?;
        let flat = self.stretched(gradient)?.reshape((rows * pos, d))?;
        Ok(flat.matmul(&self.directions.t()?.contiguous()?)?.reshape((rows, pos, self.features.len()))?)
    }

    fn written(&self, codes: &Tensor) -> Result<Tensor> {
        let (rows, pos, features) = codes.dims3()?;
        let flat = codes.reshape((rows * pos, features))?.matmul(&self.directions)?;
        self.stretched(&flat.reshape((rows, pos, ()))?)
    }

    /// Scales a tensor as the output of the dictionary is scaled for its input.
    fn stretched(&self, x: &Tensor) -> Result<Tensor> {
        self.placed.sae.parts().scaling.of(&self.input)?.stretched(x)?.to_dtype(DType::F32).map_err(Into::into)
    }
}
