"""Times of low-rank sparse attention by its authors' code for benches/train.rs: a line with a name and seconds for each kind.

Arguments: threads, runs, texts, tokens of a text, heads, heads that are active. MICROTOME_LORSA names a checkout of
github.com/OpenMOSS/Language-Model-SAEs at 95281ac7, whose packages' own starts, which import much more, are left out.
"""

import os
import pathlib
import sys

import torch
from authors import package
from timing import seconds

threads, runs, texts, length, heads, active = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
source = pathlib.Path(os.environ["MICROTOME_LORSA"]) / "src" / "llamascopium"
for name in ["", ".models", ".utils", ".backend"]:
    package(f"llamascopium{name}", source.joinpath(*name.split(".")))
package("llamascopium.backend.language_model", source, LanguageModelConfig=object)

from llamascopium.models.lorsa import LorsaConfig, LowRankSparseAttention

# The shape of the first layer of `tiny`: 192 dimensions, 6 heads of 32, a quarter of them rotated.
WIDTH = 192
READS, WRITES = "blocks.0.ln1.hook_normalized", "blocks.0.hook_attn_out"
lorsa = LowRankSparseAttention(LorsaConfig(
    d_model=WIDTH, hook_point_in=READS, hook_point_out=WRITES, n_ctx=length, device="cpu", dtype=torch.float32,
    expansion_factor=heads / WIDTH, n_qk_heads=6, d_qk_head=32, rotary_dim=8, act_fn="topk", top_k=active,
))
lorsa.init_parameters(
    encoder_uniform_bound=WIDTH**-0.5, decoder_uniform_bound=WIDTH**-0.5, init_log_jumprelu_threshold_value=0.0,
)
lorsa.set_dataset_average_activation_norm({READS: WIDTH**0.5, WRITES: WIDTH**0.5})
adam = torch.optim.Adam(lorsa.parameters(), lr=2e-3)


def activations():
    drawn = lambda: torch.randn(texts, length, WIDTH)
    return {READS: drawn(), WRITES: drawn(), "tokens": torch.zeros(texts, length, dtype=torch.long)}


def step():
    lorsa.train()
    batch = lorsa.normalize_activations(activations())
    lorsa.compute_loss(batch)["loss"].backward()
    torch.nn.utils.clip_grad_norm_(lorsa.parameters(), 1.0)
    adam.step()
    adam.zero_grad()


@torch.no_grad()
def codes(x):
    lorsa.eval()
    lorsa.encode(lorsa.normalize_activations(x)[READS])


print("lorsa", seconds(runs, step, 2))
read = activations()
print("lorsa_codes", seconds(runs, lambda: codes(read), 2))
