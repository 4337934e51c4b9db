"""Reads with SAELens, dictionary_learning and sparsify what we wrote for them, and keeps the codes that they compute.

To be run after `cargo test saes::write_for_the_other_libraries -- --ignored`:

    pip install sae-lens==6.54.12 dictionary-learning==0.1.0 eai-sparsify==1.3.3
    python tests/saes/with_libraries.py [tests/fixtures/written_saes]

Each folder gets an `expected.safetensors` with `x`, `codes` and `recon`; the tests compare ours with these.
"""

import json
import os
import sys
from pathlib import Path

# sparsify's kernels want a GPU unless it is told otherwise before it is imported.
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"

import torch
from dictionary_learning.dictionary import AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from sae_lens import SAE
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder


def with_saelens(folder, x):
    sae = SAE.load_from_disk(folder)
    codes = sae.encode(x)
    # A transcoder's own `forward` adds its linear map, which `decode` cannot know.
    return codes, sae(x)


def with_dictionary_learning(folder, x):
    trainer = json.loads((folder / "config.json").read_text())["trainer"]
    tensors = load_file(folder / "ae.safetensors")
    sizes = (trainer["activation_dim"], trainer["dict_size"])
    name = trainer["dict_class"]
    if name in ("AutoEncoderTopK", "BatchTopKSAE"):
        sae = {"AutoEncoderTopK": AutoEncoderTopK, "BatchTopKSAE": BatchTopKSAE}[name](*sizes, trainer["k"])
    elif name == "MatryoshkaBatchTopKSAE":
        sae = MatryoshkaBatchTopKSAE(*sizes, trainer["k"], tensors["group_sizes"].tolist())
    else:
        plain = [AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder]
        sae = {kind.__name__: kind for kind in plain}[name](*sizes)
    # Strict: every tensor of theirs is there and there are no others.
    sae.load_state_dict(tensors)
    codes = sae.encode(x)
    return codes, sae.decode(codes)


def with_sparsify(folder, x):
    sae = SparseCoder.load_from_disk(folder)
    found = sae.encode(x)
    codes = torch.zeros(len(x), sae.num_latents).scatter(1, found.top_indices, found.top_acts)
    return codes, sae(x).sae_out


READERS = {"saelens": with_saelens, "dictionary_learning": with_dictionary_learning, "sparsify": with_sparsify}


def main():
    here = Path(__file__).resolve().parent.parent
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "fixtures" / "written_saes"
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    torch.manual_seed(0)
    for folder in folders:
        x = torch.randn(16, 8) + 0.3
        with torch.no_grad():
            codes, recon = READERS[folder.name.split("-")[0]](folder, x)
        kept = {"x": x, "codes": codes, "recon": recon}
        save_file({name: tensor.detach().contiguous() for name, tensor in kept.items()}, folder / "expected.safetensors")
        print(f"{folder.name}: {(codes != 0).sum(1).float().mean():.1f} codes a row")


if __name__ == "__main__":
    main()
