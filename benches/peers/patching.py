"""Times of TransformerLens' patching for benches/patching.rs: a line with a name and seconds for each.

Arguments are those of neox.py. Writes effects and their places in the grid into `peer.safetensors`.
"""

import functools
import itertools
import os

import pandas
import torch
from neox import clean, config, corrupt, folder, metric, model, runs, seconds
from safetensors.torch import save_file
from transformer_lens import patching

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
