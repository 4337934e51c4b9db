//! Floor 9: checkpoints. Models from files and into files: families and third-party formats, the hub, loading, saving,
//! configs that users describe, second opinions by another implementation, and models that describe vectors.

pub mod adapter;
pub mod described;
pub mod family;
pub mod formats;
pub mod hub;
pub mod load;
pub mod save;
pub mod second_opinion;
pub mod verbaliser;
