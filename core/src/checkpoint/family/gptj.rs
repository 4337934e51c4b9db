//! GPT-J (Wang and Komatsuzaki 2021): attention and MLP share one norm, adjacent coordinates are rotated together.

use super::gpt2;
use super::prelude::*;
use crate::model::config::{Rotary, Scaling};

pub(super) const FAMILY: Family =
    Family { name: "gptj", read, names: &[NAMES, gpt2::STREAM_NAMES], ignored: gpt2::IGNORED };

const COMMON: Common = Common {
    vocab: 50400,
    d_model: ("n_embd", 4096),
    layers: ("n_layer", 28),
    heads: ("n_head", 16),
    context: ("n_positions", 2048),
    tied: false,
    ..gpt2::sized("gptj")
};

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.q", Same("transformer.h.*.attn.q_proj")),
    ("blocks.*.attn.k", Same("transformer.h.*.attn.k_proj")),
    ("blocks.*.attn.v", Same("transformer.h.*.attn.v_proj")),
    ("blocks.*.attn.o", Same("transformer.h.*.attn.out_proj")),
    ("blocks.*.mlp.up", Same("transformer.h.*.mlp.fc_in")),
    ("blocks.*.mlp.down", Same("transformer.h.*.mlp.fc_out")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("n_ctx", config.context)?;
    keys.only("rotary", true)?;
    keys.only("scale_attn_weights", true)?;
    let dims = keys.size("rotary_dim", 64)?;
    Ok(Config {
        order: Order::ParallelShared,
        positions: Positions::Rotary,
        rotary: Some(Rotary { dims, theta: 1e4, neighbours: true, scaling: Scaling::None }),
        mlp_bias: true,
        unembed_bias: true,
        ..config
    })
}
