"""Times of TransformerLens' patching for benches/patching.rs: a line with a name and seconds for each.

Arguments: threads, runs, and a folder with the model `neox` as transformers loads it and `pair.json`, the ids of both prompts and
of both answers. Writes effects and their places in the grid into `peer.safetensors`.
"""

import functools
import itertools
import json
import os
import statistics
import sys
import time

import pandas
import torch
from safetensors.torch import save_file
from transformer_lens import HookedTransformer, HookedTransformerConfig, patching
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
answer, wrong = pair["answer"], pair["wrong"]


def metric(logits):
    return logits[0, -1, answer] - logits[0, -1, wrong]


def seconds(work, runs):
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), found


patching.tqdm = lambda iterable, *_, **__: iterable
with torch.inference_mode():
    model(corrupt)
    print("forward", seconds(lambda: model(corrupt), 9)[0])
    _, cache = model.run_with_cache(clean)
    before = metric(model(corrupt)).item()
    every = {
        "positions": patching.get_act_patch_resid_pre,
        "heads": patching.get_act_patch_attn_head_out_all_pos,
    }
    found = {}
    for name, patch in every.items():
        time_taken, values = seconds(functools.partial(patch, model, corrupt, cache, metric), runs)
        print(name, time_taken)
        found[name] = (values - before).flatten().contiguous()
        found[f"{name}_places"] = torch.arange(values.numel())
    # Every tenth of 2,400 patches, the same forward pass for each.
    places = list(itertools.product(range(config.n_layers), range(clean.shape[1]), range(config.n_heads)))[::10]
    some = functools.partial(
        patching.get_act_patch_attn_head_out_by_pos, model, corrupt, cache, metric, index_axis_names=None,
        index_df=pandas.DataFrame(places, columns=["layer", "pos", "head"]),
    )
    time_taken, values = seconds(some, 1)
    print("heads_by_position", 10 * time_taken)
    # In the order layer, head, position.
    found["heads_by_position"] = (values - before).contiguous()
    order = [(layer * config.n_heads + head) * clean.shape[1] + position for layer, position, head in places]
    found["heads_by_position_places"] = torch.tensor(order)
save_file(found, os.path.join(folder, "peer.safetensors"))
