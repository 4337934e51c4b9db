//! Floor 9: checkpoints. Models from files and into files: families and third-party formats, the hub, loading, saving,
//! configs that users describe, and second opinions by another implementation.

pub mod adapter;
pub mod described;
pub mod family;
pub mod formats;
pub mod hub;
pub mod load;
pub mod save;
pub mod second_opinion;
