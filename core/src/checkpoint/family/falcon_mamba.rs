//! Falcon Mamba (Zuo et al. 2024): as Mamba, with norms of what steps are made of, of writes and of reads.

use super::mamba::{self, StreamDefaults};
use super::prelude::*;
use crate::model::config::StateSpaces;

pub(super) const FAMILY: Family =
    Family { name: "falcon_mamba", read, names: &[mamba::NAMES, mamba::STREAM_NAMES], ignored: &[] };

fn read(keys: &mut Keys) -> Result<Config> {
    let config = mamba::read_of(keys, &StreamDefaults { family: "falcon_mamba", ..mamba::DEFAULTS })?;
    let eps = keys.number("mixer_rms_eps", 1e-6)?;
    let ssm = config.ssm.map(|ssm| StateSpaces { inner_norm_eps: Some(eps), ..ssm });
    Ok(Config { ssm, ..config })
}
