//! Splicing: a dictionary's reconstruction replaces an activation of a model.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Sae, SiteOptions};
use crate::base::Result;
use crate::err;
use crate::model::config::Config;
use crate::model::hooks::{At, BoundHook, Edit};
use crate::model::site::{Place, select};
use crate::tensor::{Tensor, dtype};

/// The treatment of the reconstruction error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorTreatment {
    /// The site is x_hat.
    #[default]
    Dropped,
    /// The site is x_hat + (x - x_hat), which is x to rounding. The error is detached: gradients pass through the
    /// dictionary alone, as if the error were given (Marks et al. 2024).
    Kept,
}

crate::options! {
    /// Options of splicing a dictionary into a model.
    #[derive(Debug, Clone)]
    pub struct SpliceOptions {
        /// Site that a transcoder writes.
        writes: Option<String> = None => usually("the dictionary's");
        /// Whether the reconstruction error is added, without a gradient.
        error: bool = false;
        with reads: SiteOptions;
    }
}

impl SpliceOptions {
    pub fn rest(&self) -> ErrorTreatment {
        if self.error { ErrorTreatment::Kept } else { ErrorTreatment::Dropped }
    }
}

/// A dictionary that is spliced into a model.
#[derive(Debug, Clone)]
pub struct Splice {
    sae: Sae,
    rest: ErrorTreatment,
    /// Mask of the positions where the reconstruction is spliced in: 1 and 0 in u8, `[batch, pos]`. Elsewhere the
    /// activation stays as it is.
    only: Option<Tensor>,
}

impl Splice {
    pub fn new(sae: Sae, rest: ErrorTreatment) -> Self {
        Self { sae, rest, only: None }
    }

    pub fn sae(&self) -> &Sae {
        &self.sae
    }

    /// Changes only the positions that are marked in a mask `[batch, pos]` of u8.
    pub fn only(self, mask: Tensor) -> Self {
        Self { only: Some(mask), ..self }
    }

    /// Makes the hook that splices the dictionary in at one site.
    pub fn at<'a>(self, config: &Config, site: &str, positions: Option<Vec<i64>>) -> Result<BoundHook<'a>> {
        BoundHook::new(config, site, None, positions, Box::new(self))
    }

    /// Makes the hooks for a dictionary that reads one site and writes a later one, as a transcoder does.
    pub fn between<'a>(
        self,
        config: &Config,
        reads: &str,
        writes: &str,
        positions: Option<Vec<i64>>,
    ) -> Result<Vec<BoundHook<'a>>> {
        if reads == writes {
            return Ok(vec![self.at(config, writes, positions)?]);
        }
        let reads_at = select(config, reads)?;
        let writes_at = select(config, writes)?;
        if reads_at.iter().max() > writes_at.iter().min() {
            return Err(err!(
                Argument,
                "expected a site to write after the one that is read, found `{writes}` before `{reads}`"
            )
            .hint("a dictionary can only write to a site that is computed after the one that it reads"));
        }
        let held = Rc::new(RefCell::new(None));
        let reader = ReadHook { held: held.clone() };
        let writer = WriteHook { splice: self, held };
        Ok(vec![
            BoundHook::new(config, reads, None, positions.clone(), Box::new(reader))?,
            BoundHook::new(config, writes, None, positions, Box::new(writer))?,
        ])
    }

    /// Computes the replacement for `x` where the dictionary reads `input`.
    fn put(&self, input: &Tensor, x: &Tensor) -> Result<Tensor> {
        let wanted = self.sae.parts().encoder.dtype();
        let found = self.sae.reconstruct(&dtype::convert(&heads_joined(input, self.sae.d_in())?, wanted)?)?;
        let target = heads_joined(x, self.sae.d_out())?;
        if found.dims() != target.dims() {
            let writes = self.sae.d_out();
            let site = target.dims();
            return Err(err!(
                Shape,
                "expected a site of the width {writes} that the dictionary writes, found {site:?}"
            ));
        }
        let found = dtype::convert(&found.reshape(x.shape())?, x.dtype())?;
        let found = match self.rest {
            ErrorTreatment::Dropped => found,
            ErrorTreatment::Kept => (&found + (x - &found)?.detach())?,
        };
        match &self.only {
            Some(mask) => masked(mask, &found, x),
            None => Ok(found),
        }
    }
}

/// Joins all heads of a position to one activation, which is how a dictionary of `z` reads them.
pub fn heads_joined(t: &Tensor, width: usize) -> Result<Tensor> {
    match *t.dims() {
        [rows, columns, heads, wide] if wide != width && heads * wide == width => {
            Ok(t.reshape((rows, columns, width))?)
        }
        _ => Ok(t.clone()),
    }
}

/// Returns `new` where the mask `[batch, pos]` is 1, else `old`.
pub fn masked(mask: &Tensor, new: &Tensor, old: &Tensor) -> Result<Tensor> {
    let mut dims = mask.dims().to_vec();
    if old.dims().get(..2) != Some(&dims) {
        return Err(err!(Shape, "expected a mask for the texts and positions of {:?}, found {dims:?}", old.dims()));
    }
    dims.resize(old.rank(), 1);
    let mask = mask.reshape(dims)?.to_device(old.device())?.broadcast_as(old.shape())?;
    Ok(mask.where_cond(new, old)?)
}

impl Edit for Splice {
    fn edit(&mut self, _at: &At, place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        self.put(x, x).map(Some).map_err(|error| error.within(format!("at `{place}`")))
    }
}

/// A transcoder's input, kept until the forward pass reaches the site that it writes.
struct ReadHook {
    held: Rc<RefCell<Option<Tensor>>>,
}

impl Edit for ReadHook {
    fn edit(&mut self, _at: &At, _place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        *self.held.borrow_mut() = Some(x.clone());
        Ok(None)
    }
}

struct WriteHook {
    splice: Splice,
    held: Rc<RefCell<Option<Tensor>>>,
}

impl Edit for WriteHook {
    fn edit(&mut self, _at: &At, place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let Some(input) = self.held.borrow_mut().take() else {
            return Err(err!(
                Argument,
                "expected a site before `{place}` for the dictionary to read, found a later one"
            ));
        };
        self.splice.put(&input, x).map(Some).map_err(|error| error.within(format!("at `{place}`")))
    }
}

#[cfg(test)]
mod tests;
