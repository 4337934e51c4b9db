//! Floor 9: checkpoints. Models from files and into files: families and third-party formats, the hub, loading, saving,
//! configs that users describe, second opinions by another implementation, and models that put vectors into words and back.

pub mod adapter;
pub mod described;
pub mod family;
pub mod formats;
pub mod hub;
pub mod load;
mod nla_meta;
pub mod oracle;
pub mod reconstructor;
pub mod save;
#[cfg_attr(not(feature = "second_opinion"), path = "no_second_opinion.rs")]
pub mod second_opinion;
mod sidecar;
pub mod verbaliser;
#[cfg_attr(not(feature = "yaml"), path = "no_yaml.rs")]
mod yaml;
