"""Times of training steps after which the largest weights stay, by the authors' code for benches/train.rs: a line with a name and
seconds.

Arguments: threads, runs, texts of a step, tokens of a text. MICROTOME_CIRCUIT_SPARSITY names a checkout of
github.com/openai/circuit_sparsity at dbf1fe0. What it needs to download models is left out.
"""

import os
import sys
import types

import torch
from timing import seconds

for name in ["blobfile", "tiktoken", "tiktoken.load"]:
    sys.modules[name] = types.ModuleType(name)
sys.modules["tiktoken.load"].read_file_cached = None
sys.path.insert(0, os.environ["MICROTOME_CIRCUIT_SPARSITY"])

from circuit_sparsity.inference.gpt import GPT, GPTConfig
from circuit_sparsity.train import apply_topk_

threads, runs, texts, length = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
# Their step is written for this vocabulary and this number of positions.
VOCAB, POSITIONS = 2048, 1024
model = GPT(GPTConfig(
    block_size=POSITIONS, vocab_size=VOCAB, n_layer=2, n_head=4, d_model=64, d_mlp=256, rms_norm=True, tied_unembed=False,
    activation_type="relu", grad_checkpointing=False,
))
adam = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.95))


def step():
    """What the loop of their `main` does, in f32."""
    ids = torch.randint(0, VOCAB, (texts, length + 1))
    adam.zero_grad()
    logits, _, _ = model(ids, include_resid_mid=True)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, VOCAB), ids[:, 1:].reshape(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()
    apply_topk_(
        model, pfrac=0.1, expansion_factor=1, expansion_factor_mlp=1, achyuta_mixed_neuronwise_v2=True,
        minimum_alive_per_neuron=4, final_pfrac=0.1,
    )


print("sparse", seconds(runs, step, 2))
