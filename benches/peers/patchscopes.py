"""Time of a patchscope by its authors' code for benches/patching.rs: a line with a name and seconds.

Arguments: threads, runs, tokens that the model says. MICROTOME_PATCHSCOPES names a checkout of github.com/PAIR-code/interpretability at
db2da0f9. A layer of GPT-NeoX gives a tensor in transformers 5, and the code is for the tuple that it gave before.
"""

import os
import pathlib
import sys

import torch
from timing import seconds
from transformers import AutoTokenizer, GPTNeoXForCausalLM

sys.path.insert(0, f"{os.environ['MICROTOME_PATCHSCOPES']}/patchscopes/code")

from general_utils import ModelAndTokenizer
from patchscopes_utils import inspect, set_hs_patch_hooks_neox

threads, runs, tokens = map(int, sys.argv[1:])
torch.set_num_threads(threads)
tiny = pathlib.Path(__file__).resolve().parents[2] / "core" / "assets" / "tiny"
model = GPTNeoXForCausalLM.from_pretrained(tiny, dtype=torch.float32)
for layer in model.gpt_neox.layers:
    register = layer.register_forward_hook

    def in_tuples(hook, register=register):
        return register(lambda module, given, output: hook(module, given, (output,)))

    layer.register_forward_hook = in_tuples
both = ModelAndTokenizer(model=model, tokenizer=AutoTokenizer.from_pretrained(tiny), device="cpu")
both.set_hs_patch_hooks = set_hs_patch_hooks_neox


def scope():
    """What the last token says, from each layer in the same layer at the end of the prompt."""
    for layer in range(both.num_layers):
        inspect(
            both, "The old house by the sea", "Everybody knows the", layer, layer, -1, -1, generation_mode=True,
            max_gen_len=tokens,
        )


print("patchscopes", seconds(runs, scope))
