//! Parts of the bindings of Lorsas and of temporal dictionaries, which read texts whole.

use crate::model::padding::blanked;
use crate::sae::SitePair;
use crate::sae::metrics::JudgedRowsOptions;
use crate::sae::splice::{ErrorTreatment, Splice};
use crate::sae::text_rows::dictionary::TextDictionary;
use crate::script::model::input::Input;
use crate::script::model::{Hook, HookAction};
use crate::script::prelude::*;
use crate::training::losses_table;

crate::options! {
    /// A control with random weights.
    pub struct TextRandomOptions {
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(crate::base::random::OF_CALL);
        with rows: JudgedRowsOptions;
    }

    /// A dictionary that reads texts, spliced into a model.
    pub struct TextSpliceOptions {
        /// Whether the reconstruction error is added, without a gradient.
        error: bool = false;
    }
}

/// Returns a tensor of all texts with NaN after the ends of shorter ones, or of the one that was given.
pub fn of_texts(input: &Input, found: &Tensor) -> Result<Tensor> {
    let found = blanked(&found.to_device(&Device::Cpu)?, &input.batch.lengths(), &[1])?;
    Ok(if input.several { found } else { found.squeeze(0)? })
}

/// Makes the hook that puts the reconstruction in the place of the activations.
pub fn splice(dictionary: &impl TextDictionary, given: Options) -> Result<Hook> {
    let mut read = options(given);
    let TextSpliceOptions { error } = read.declared()?;
    let rest = if error { ErrorTreatment::Kept } else { ErrorTreatment::Dropped };
    let SitePair { reads, writes } = dictionary.sites()?;
    let what = HookAction::Splice(Splice::new(dictionary.clone(), rest));
    let hook = Hook::new(what, writes, &mut read)?.reading(Some(reads.into()));
    read.finish()?;
    Ok(hook)
}

/// Builds the table of the losses of a fit.
pub fn history(losses: &[f64]) -> Table {
    let losses: Vec<[f64; 1]> = losses.iter().map(|loss| [*loss]).collect();
    losses_table(["unexplained"], &losses)
}
