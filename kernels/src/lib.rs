//! The element-wise work of models, fused: norms, activations, softmax, rotary positions, attention, linear maps.
//!
//! Each function takes the fused loops for tensors in CPU memory, and else its reference implementation in candle's
//! operations (`.._plain`), which also runs on a GPU. In f32 the fused loops have their own backward passes; other dtypes,
//! and operations without one, take the reference implementation where gradients are needed.
//!
//! ```rust,no_run
//! use candle_core::{Device, Tensor};
//! use microtome_kernels::{Activation, Error, activate};
//!
//! let x = Tensor::new(&[-1f32, 0.0, 2.0], &Device::Cpu)?;
//! assert_eq!(activate(&x, Activation::Relu)?.to_vec1::<f32>()?, [0.0, 0.0, 2.0]);
//! # Ok::<(), Error>(())
//! ```

mod arguments;
mod attention;
mod base;
pub mod device;
mod linear;
mod losses;
mod norm;
mod numbers;
mod optimiser;
mod recurrence;
mod rows;
pub mod sparse;
mod tape;

pub use arguments::activation::Activation;
pub use arguments::adam::AdamW;
pub use arguments::alibi::Alibi;
pub use arguments::norm::NormKind;
pub use arguments::reach::{Gap, Reach};
pub use arguments::rotation::Rotation;
pub use attention::rotary::rotate;
pub use attention::{attention, mix, pattern, pattern_with_sinks, scores};
pub use base::error::{Error, Kind, Result};
pub use base::instructions::{InstructionSet, arch};
pub use base::{clock, error, memory, parallel, simulated_threads};
pub use linear::activation::{activate, activate_gated};
pub use linear::columns::column_networks;
pub use linear::packed::{PackedMatrix, Packing, Rounding, linear_packed};
pub use linear::rounded::Bf16Rows;
pub use linear::{add, linear, linear_activated, linear_rounded};
pub use losses::by_words::{
    ComparedRow, GoesOn, LikeliestWords, LogitsBeside, RowsBeside, UnembeddedRows, Unembedding, UnembeddingMatrix,
    WORDS, compared_of, divergences_of, each_block_beside, likeliest_of, token_losses_of, totals_of,
};
pub use losses::cross_entropy::cross_entropy;
pub use losses::divergence::{RowDivergence, divergences};
pub use losses::some_words::{RankedWord, RowWord, logits_of_words, ranks_of};
pub use losses::token_losses;
pub use norm::{norm, norm_gradient, norm_scale, norm_with_scale};
pub use numbers::{FlatNumbers, flat};
pub use optimiser::{adamw_step, global_norm};
pub use recurrence::{
    DeltaRuleInputs, ScanInputs, delta_rule, delta_rule_read, delta_rule_states, scan, scan_states, states_read,
};
pub use rows::chosen_sums::chosen_sums;
pub use rows::embed::look_up;
pub use rows::{centred, largest, picked};
pub use tape::record::{on_tape, with_gradient, with_whole_gradient};
pub use tape::{ArgumentGradients, Gradients, TapedTensor, reshape, without_tape};

#[cfg(test)]
mod tests;
