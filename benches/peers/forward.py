"""Passes of TransformerLens and transformers for benches/forward.rs, which asks for one run after the other.

Arguments: threads, texts, tokens of each, tokens of the prompt, tokens to generate.
"""

import sys

import torch
from lens import bridge, pythia
from timing import took, turns

threads, texts, length, prompt, generated = map(int, sys.argv[1:6])
torch.set_num_threads(threads)
torch.manual_seed(0)


# What TransformerLens below 4 records of this model by default; its bridge has no `hook_rot_q` and `hook_rot_k` here.
OF_A_LAYER = [
    "hook_resid_pre", "ln1.hook_scale", "ln1.hook_normalized", "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_rot_q",
    "attn.hook_rot_k", "attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_z", "hook_attn_out", "ln2.hook_scale",
    "ln2.hook_normalized", "mlp.hook_pre", "mlp.hook_post", "hook_mlp_out", "hook_resid_post",
]
SITES = {"hook_embed", "ln_final.hook_scale", "ln_final.hook_normalized"}
SITES |= {f"blocks.{layer}.{name}" for layer in range(6) for name in OF_A_LAYER}


def lens():
    model = bridge(pythia("eager"))
    tokens = torch.randint(0, 50000, (texts, length))
    site = "blocks.3.hook_resid_post"
    some = dict(names_filter=lambda name: name in SITES)
    assert len(SITES & set(model.run_with_cache(tokens, **some)[1])) == 99, "the bridge has other sites than 99 of the 111"
    return {
        "forward": lambda: took(lambda: model(tokens)),
        "stopped": lambda: took(lambda: model.run_with_cache(tokens, names_filter=site, stop_at_layer=4)),
        "recorded": lambda: took(lambda: model.run_with_cache(tokens, **some)),
    }


def generation():
    model = pythia("sdpa")
    start = torch.arange(1, prompt + 1)[None]
    options = dict(max_new_tokens=generated, min_new_tokens=generated, do_sample=False, use_cache=True, pad_token_id=0)
    whole = lambda: model.generate(start, attention_mask=torch.ones_like(start), **options)
    return {"token": lambda: took(whole) / generated}


with torch.inference_mode():
    turns(lens() | generation())
