"""The model of Pythia-70M's shape in TransformerLens, and a pair of prompts with its metric, for edges.py and patching.py.

Arguments of the script: threads, runs, and a folder with the model `neox` as transformers loads it and `pair.json`, the ids of
both prompts and of both answers.
"""

import json
import os
import statistics
import sys
import time

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights
from transformers import AutoModelForCausalLM

threads, runs, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)

config = HookedTransformerConfig(
    n_layers=6, d_model=512, n_ctx=2048, d_head=64, n_heads=8, d_mlp=2048, d_vocab=50304, act_fn="gelu", eps=1e-5,
    normalization_type="LN", positional_embedding_type="rotary", rotary_dim=16, rotary_adjacent_pairs=False,
    parallel_attn_mlp=True, device="cpu", seed=0,
)
loaded = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "neox"), dtype=torch.float32)
model = HookedTransformer(config)
model.load_state_dict(convert_neox_weights(loaded, config), strict=False)
model.eval()

with open(os.path.join(folder, "pair.json")) as file:
    pair = json.load(file)
clean, corrupt = torch.tensor([pair["clean"]]), torch.tensor([pair["corrupt"]])


def metric(logits):
    return logits[0, -1, pair["answer"]] - logits[0, -1, pair["wrong"]]


def seconds(work, runs):
    """The median time of some runs, and what the last one returned."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), found
