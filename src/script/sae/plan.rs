//! The options of a fit, from what a script gives: those of all fits, those of its kind, and where it is stored.

use crate::base::Result;
use crate::base::options::Plain;
use crate::base::random::Seed;
use crate::sae::fit::{FitOptions, FitPlan, FitStorage, kinds};
use crate::script::engine::env::Env;
use crate::script::engine::options::OptionReader;
use crate::script::engine::value::plain;
use crate::training::CheckpointOptions;

/// The options of a fit. The plan is made after unknown options have been refused.
pub(super) struct FitWords {
    options: FitOptions,
    own: Vec<(&'static str, Plain)>,
    checkpoints: CheckpointOptions,
}

impl FitWords {
    pub fn read(read: &mut OptionReader) -> Result<Self> {
        let options = read.declared()?;
        Self::with(options, read)
    }

    /// With options that were read before.
    pub fn with(options: FitOptions, read: &mut OptionReader) -> Result<Self> {
        let own = own_options(read, &[options.kind.0])?;
        Ok(Self { options, own, checkpoints: read.declared()? })
    }

    pub fn seed(&self) -> Seed {
        self.options.seed
    }

    /// The same with the seed of the call.
    pub fn seeded(mut self, seed: Seed) -> Self {
        self.options.seed = seed;
        self
    }

    pub fn parts(self) -> (FitOptions, Vec<(&'static str, Plain)>, CheckpointOptions) {
        (self.options, self.own, self.checkpoints)
    }

    pub fn plan(self) -> Result<(FitPlan, CheckpointOptions)> {
        Ok((FitPlan::named(self.options, &self.own)?, self.checkpoints))
    }
}

/// The options that these kinds have of their own. Those of other kinds are noted for the hint of the error.
pub(super) fn own_options(read: &mut OptionReader, of: &[&str]) -> Result<Vec<(&'static str, Plain)>> {
    let mut own: Vec<(&'static str, Plain)> = Vec::new();
    for kind in kinds::NAMES {
        for field in kinds::options_of(kind)? {
            if !of.contains(&kind) {
                read.of_other(field.name, format!("the kind \"{kind}\""));
            } else if !own.iter().any(|(name, _)| *name == field.name)
                && let Some(value) = read.value(field.name)
            {
                own.push((field.name, plain(&value)));
            }
        }
    }
    Ok(own)
}

/// Where the dictionaries of a call are fitted and stored.
pub(super) fn storage(checkpoints: CheckpointOptions, env: &Env) -> FitStorage<'_> {
    FitStorage {
        files: &env.files,
        device: env.device.clone(),
        checkpoints,
        cache: env.settings.cache.clone(),
        fresh: env.settings.fresh,
    }
}
