//! The adversary: sources of masks that make the reconstruction worst, by projected gradient ascent (the authors' code,
//! `pgd_masked_recon_loss_update`; sources start at random and move by the signs of their gradients).

use rand::Rng;

use super::loss::{LossStep, MaskedTarget, deltas, importances, sources};
use super::masks::{self, Sources};
use super::parts::MatrixParts;
use super::target::Target;
use crate::common::*;
use crate::tensor::derivative::value_and_gradients;

impl<T: Target> LossStep<'_, T> {
    /// Draws the sources at which the adversary begins.
    pub fn begun(&self, parts: &[MatrixParts], random: &mut impl Rng) -> Result<Vec<Sources>> {
        let inputs = self.clean.count();
        let mut drawn = sources(parts, inputs, self.options.delta, random)?;
        if self.options.adversary.routed {
            drawn = masks::routed(drawn, inputs, random)?;
        }
        masks::on(&drawn, self.clean.output.device())
    }

    /// Chooses sources by moving given ones up the gradient of the divergence. The parts are constants.
    pub fn worst(&self, parts: &[MatrixParts], sources: Vec<Sources>, task: &Task) -> Result<Vec<Sources>> {
        let options = &self.options.adversary;
        let mut sources = sources;
        if options.common {
            sources = sources.into_iter().map(first).collect::<Result<_>>()?;
        }
        let deltas = deltas(self.target, parts)?;
        let deltas = self.options.delta.then_some(deltas.as_slice());
        let masked = MaskedTarget { target: self.target, parts, deltas, batch: self.batch };
        let importances = importances(parts, self.clean)?;
        for _ in 0..options.ascent {
            let at = listed(&sources);
            let mut divergence = |at: &[Tensor]| {
                let given = like(&sources, at);
                let masks = given.iter().zip(&importances).map(|(sources, found)| sources.masks(&found.lower));
                masked.divergence(&self.clean.output, masks.collect::<Result<_>>()?, task)
            };
            let found = value_and_gradients(&mut divergence, &at, task)?;
            let moved = |(source, gradient): (&Tensor, &Tensor)| -> Result<Tensor> {
                Ok((source + (gradient.sign()? * options.ascent_size)?)?.clamp(0f64, 1f64)?)
            };
            let moved = at.iter().zip(&found.gradients).map(moved).collect::<Result<Vec<_>>>()?;
            sources = like(&sources, &moved);
        }
        Ok(sources)
    }
}

/// Keeps the sources of the first input, for all inputs that are masked.
fn first(sources: Sources) -> Result<Sources> {
    let first = |t: &Tensor| -> Result<Tensor> { Ok(t.narrow(0, 0, 1)?.contiguous()?) };
    Ok(Sources {
        parts: first(&sources.parts)?,
        delta: sources.delta.as_ref().map(first).transpose()?,
        route: sources.route.clone(),
    })
}

/// Lists all tensors of sources.
fn listed(sources: &[Sources]) -> Vec<Tensor> {
    sources.iter().flat_map(|sources| [Some(sources.parts.clone()), sources.delta.clone()]).flatten().collect()
}

/// Returns sources of the same form with other tensors.
fn like(sources: &[Sources], tensors: &[Tensor]) -> Vec<Sources> {
    let mut tensors = tensors.iter().cloned();
    let one = |sources: &Sources| {
        let parts = tensors.next().unwrap_or_else(|| sources.parts.clone());
        let delta = sources.delta.as_ref().and_then(|_| tensors.next());
        Sources { parts, delta, route: sources.route.clone() }
    };
    sources.iter().map(one).collect()
}
