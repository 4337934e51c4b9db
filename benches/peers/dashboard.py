"""The time of SAEDashboard for benches/dashboard.rs: a line `dashboard SECONDS`. Needs sae-dashboard.

Arguments: threads, a folder, the number of features, how many of them are computed at a time, and by how many times ours reads
more tokens. In the folder are the model `neox` as transformers loads it, the dictionary `sae` in SAELens' format, and the rows
of tokens in `rows.safetensors`.
"""

import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from sae_dashboard.components_config import (
    ActsHistogramConfig, FeatureTablesConfig, LogitsHistogramConfig, LogitsTableConfig, SequencesConfig,
)
from sae_dashboard.layout import Column, SaeVisLayoutConfig
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import SAE, HookedSAETransformer
from safetensors.torch import load_file
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights
from transformers import AutoModelForCausalLM

threads, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
features, at_once, times = map(int, sys.argv[3:6])
torch.set_num_threads(threads)

loaded = AutoModelForCausalLM.from_pretrained(folder / "neox", torch_dtype=torch.float32)
shape = loaded.config
config = HookedTransformerConfig(
    n_layers=shape.num_hidden_layers, d_model=shape.hidden_size, n_ctx=shape.max_position_embeddings,
    d_head=shape.hidden_size // shape.num_attention_heads, n_heads=shape.num_attention_heads, d_mlp=shape.intermediate_size,
    d_vocab=shape.vocab_size, act_fn="gelu", eps=shape.layer_norm_eps, normalization_type="LN",
    positional_embedding_type="rotary", rotary_dim=shape.hidden_size // shape.num_attention_heads // 4,
    rotary_adjacent_pairs=False, parallel_attn_mlp=True, device="cpu", seed=0,
)
model = HookedSAETransformer(config)
model.load_state_dict(convert_neox_weights(loaded, config), strict=False)
model.eval()
sae = SAE.load_from_disk(str(folder / "sae"), device="cpu")
tokens = load_file(folder / "rows.safetensors")["tokens"].long()

layout = SaeVisLayoutConfig(columns=[Column(
    SequencesConfig(stack_mode="stack-all", buffer=None, compute_buffer=True, n_quantiles=5, top_acts_group_size=20, quantile_group_size=5),
    ActsHistogramConfig(), LogitsHistogramConfig(), LogitsTableConfig(n_rows=10), FeatureTablesConfig(n_rows=3),
)])


def seconds(chosen, cache):
    run = SaeVisConfig(
        hook_point="blocks.3.hook_resid_post", features=chosen, minibatch_size_features=at_once, minibatch_size_tokens=64,
        quantile_feature_batch_size=at_once, device="cpu", dtype="float32", feature_centric_layout=layout, cache_dir=cache,
    )
    begin = time.perf_counter()
    SaeVisRunner(run).run(encoder=sae, model=model, tokens=tokens)
    return time.perf_counter() - begin


with tempfile.TemporaryDirectory() as place:
    first = seconds(list(range(at_once)), pathlib.Path(place))
    second = seconds(list(range(at_once, 2 * at_once)), pathlib.Path(place))
print("dashboard", times * (first + (features // at_once - 1) * second))
