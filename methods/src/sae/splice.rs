//! Splicing: a reconstruction, by a dictionary of any type, replaces an activation of a model.

use std::cell::RefCell;
use std::rc::Rc;

use super::lorsa::Lorsa;
use super::temporal::{TemporalSae, without_padding};
use super::{Sae, SiteOptions};
use crate::common::*;
use crate::model::config::Config;
use crate::model::hooks::{At, BoundHook, Edit, SitePart};
use crate::model::site::select;
use crate::tensor::dtype;

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

/// The place of a reconstruction at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceMode {
    /// The reconstruction replaces the activation.
    InPlace(ErrorTreatment),
    /// The reconstruction is added to the activation, as that of a transcoder adapter is (Hu et al. 2026).
    Beside,
}

crate::options! {
    /// Options of splicing a dictionary into a model.
    pub struct SpliceOptions {
        /// Site that a transcoder writes.
        writes: Option<String> = None => usually("the dictionary's");
        /// Whether the reconstruction error is added, without a gradient.
        error: bool = false;
        /// Whether the reconstruction is added to what is there, as that of a transcoder adapter is, and does not replace it.
        beside: bool = false;
        with reads: SiteOptions;
    }
}

impl SpliceOptions {
    /// Returns the splice of a dictionary by these options; refuses an error where nothing is reconstructed.
    pub fn splice(&self, sae: Sae) -> Result<Splice> {
        match (self.beside, self.error) {
            (false, false) => Ok(Splice::new(sae, ErrorTreatment::Dropped)),
            (false, true) => Ok(Splice::new(sae, ErrorTreatment::Kept)),
            (true, false) => Ok(Splice::beside(sae)),
            (true, true) => Err(err!(Argument, "expected `error` or `beside`, found both")
                .hint("what a dictionary adds beside a site replaces nothing, so that there is no error")
                .about("beside")),
        }
    }
}

/// The means of reconstructing an activation: a dictionary, token by token, or a Lorsa or a temporal dictionary, which read the
/// tokens before, too.
#[derive(Debug, Clone)]
pub enum Reconstruction {
    Dictionary(Sae),
    Lorsa(Box<Lorsa>),
    Temporal(Box<TemporalSae>),
}

impl From<Sae> for Reconstruction {
    fn from(sae: Sae) -> Self {
        Self::Dictionary(sae)
    }
}

impl From<Lorsa> for Reconstruction {
    fn from(lorsa: Lorsa) -> Self {
        Self::Lorsa(lorsa.into())
    }
}

impl From<TemporalSae> for Reconstruction {
    fn from(sae: TemporalSae) -> Self {
        Self::Temporal(sae.into())
    }
}

impl Reconstruction {
    /// Returns whether it reads the tokens before.
    fn reads_before(&self) -> bool {
        !matches!(self, Self::Dictionary(_))
    }

    /// Returns the width of what it writes.
    fn d_out(&self) -> usize {
        match self {
            Self::Dictionary(sae) => sae.d_out(),
            Self::Lorsa(lorsa) => lorsa.d_out(),
            Self::Temporal(sae) => sae.d_in(),
        }
    }

    /// Computes what it writes at the part of a site that a hook changes.
    fn of(&self, at: &At, positions: Option<&[i64]>, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dictionary(sae) => {
                let wanted = sae.parts().encoder.dtype();
                sae.reconstruct(&dtype::convert(&heads_joined(input, sae.d_in())?, wanted)?)
            }
            Self::Lorsa(lorsa) => {
                of_texts(at, positions, input, lorsa.decoder.device(), |read| lorsa.reconstruct(read, at.gap))
            }
            Self::Temporal(sae) => of_texts(at, positions, input, sae.decoder.device(), |read| {
                let read = without_padding(&heads_joined(read, sae.d_in())?, at.gap)?;
                sae.reconstruct(&read, at.gap)
            }),
        }
    }
}

/// Computes what texts become, read from their first token on, at the part of a site that a hook changes.
fn of_texts(
    at: &At,
    positions: Option<&[i64]>,
    input: &Tensor,
    device: &Device,
    reconstruct: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if input.dim(1)? != at.columns.end {
        return Err(err!(Argument, "expected a pass that reads its texts from their first token on")
            .hint("codes depend on all tokens before: give the hook to the call, and not to a model that keeps it"));
    }
    let read = dtype::convert(input, DType::F32)?.to_device(device)?;
    let found = reconstruct(&read)?.to_device(input.device())?;
    let found = found.narrow(1, at.columns.start, at.columns.len())?;
    SitePart::new(at, positions, None)?.taken(&found)
}

/// A dictionary of any type that is spliced into a model.
#[derive(Debug, Clone)]
pub struct Splice {
    by: Reconstruction,
    mode: SpliceMode,
    /// Mask of the positions where the reconstruction is spliced in: 1 and 0 in u8, `[batch, pos]`. Elsewhere the
    /// activation stays as it is.
    only: Option<Tensor>,
}

impl Splice {
    pub fn new(by: impl Into<Reconstruction>, rest: ErrorTreatment) -> Self {
        Self { by: by.into(), mode: SpliceMode::InPlace(rest), only: None }
    }

    /// Adds what a dictionary writes to what is there.
    pub fn beside(by: impl Into<Reconstruction>) -> Self {
        Self { by: by.into(), mode: SpliceMode::Beside, only: None }
    }

    /// Returns whether it adds to what is there.
    pub fn is_beside(&self) -> bool {
        self.mode == SpliceMode::Beside
    }

    /// Lists the numbers that it acts with.
    pub fn numbers(&self) -> Vec<Tensor> {
        match &self.by {
            Reconstruction::Dictionary(sae) => sae.numbers(&[]),
            Reconstruction::Lorsa(lorsa) => lorsa.tensors().into_iter().cloned().collect(),
            Reconstruction::Temporal(sae) => sae.tensors().into_iter().map(|(_, tensor)| tensor.clone()).collect(),
        }
    }

    /// Changes only the positions that are marked in a mask `[batch, pos]` of u8.
    pub fn only(self, mask: Tensor) -> Self {
        Self { only: Some(mask), ..self }
    }

    /// Makes the hook that splices the dictionary in at one site.
    pub fn at<'a>(self, config: &Config, site: &str, positions: Option<Vec<i64>>) -> Result<BoundHook<'a>> {
        BoundHook::new(config, site, None, positions, Box::new(self))
    }

    /// Makes the hooks for a dictionary that reads one site and writes it or a later one, as a transcoder does. One that reads the
    /// tokens before reads all positions, whichever it writes.
    pub fn between<'a>(
        self,
        config: &Config,
        reads: &str,
        writes: &str,
        positions: Option<Vec<i64>>,
    ) -> Result<Vec<BoundHook<'a>>> {
        let reads_before = self.by.reads_before();
        if reads == writes && !reads_before {
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
        let reader = ReadHook { held: held.clone(), reads_before };
        let writer = WriteHook { splice: self, held };
        let read_positions = if reads_before { None } else { positions.clone() };
        Ok(vec![
            BoundHook::new(config, reads, None, read_positions, Box::new(reader))?,
            BoundHook::new(config, writes, None, positions, Box::new(writer))?,
        ])
    }

    /// Computes the replacement for the part `x` of a site where `input` is read.
    fn put(&self, at: &At, positions: Option<&[i64]>, input: &Tensor, x: &Tensor) -> Result<Tensor> {
        let found = self.by.of(at, positions, input)?;
        let target = heads_joined(x, self.by.d_out())?;
        if found.dims() != target.dims() {
            let writes = self.by.d_out();
            let site = target.dims();
            return Err(err!(
                Shape,
                "expected a site of the width {writes} that the dictionary writes, found {site:?}"
            ));
        }
        let found = dtype::convert(&found.reshape(x.shape())?, x.dtype())?;
        let found = match self.mode {
            SpliceMode::InPlace(ErrorTreatment::Dropped) => found,
            SpliceMode::InPlace(ErrorTreatment::Kept) => (&found + (x - &found)?.detach())?,
            SpliceMode::Beside => (x + found)?,
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
    fn edit(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        self.put(at, positions, x, x).map(Some).map_err(|error| error.within(format!("at `{place}`")))
    }
}

/// The input of a dictionary, kept until the forward pass reaches the site that it writes.
struct ReadHook {
    held: Rc<RefCell<Option<Tensor>>>,
    /// Whether what earlier steps of a generation have read is kept, too.
    reads_before: bool,
}

impl Edit for ReadHook {
    fn edit(&mut self, at: &At, _place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let before = self.held.borrow_mut().take().filter(|_| self.reads_before && at.columns.start > 0);
        let all = match before {
            Some(before) => Tensor::cat(&[&before, x], 1)?,
            None => x.clone(),
        };
        *self.held.borrow_mut() = Some(all);
        Ok(None)
    }

    fn changes(&self) -> bool {
        false
    }
}

struct WriteHook {
    splice: Splice,
    held: Rc<RefCell<Option<Tensor>>>,
}

impl Edit for WriteHook {
    fn edit(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        // What is read of the tokens before is kept for the next step of a generation.
        let input =
            if self.splice.by.reads_before() { self.held.borrow().clone() } else { self.held.borrow_mut().take() };
        let Some(input) = input else {
            return Err(err!(
                Argument,
                "expected a site before `{place}` for the dictionary to read, found a later one"
            ));
        };
        self.splice.put(at, positions, &input, x).map(Some).map_err(|error| error.within(format!("at `{place}`")))
    }
}

#[cfg(test)]
mod tests;
