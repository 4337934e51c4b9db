#!/usr/bin/env python3
"""Dictionaries of SoftSAE in the authors' own files, and the codes and reconstructions that their code makes of rows.

    python tests/saes/soft_files.py REPOSITORY            # torch 2.15, einops, safetensors; 3 s
    python tests/saes/soft_files.py REPOSITORY FOLDER     # reads a folder that microtome wrote with their class

The repository is a checkout of github.com/St0pien/SoftSAE (the fixtures are of commit 833a85f). Of language models the numbers
are those of the class that the authors evaluate with, which reads rows as they come; of images those of their normalisation,
encoder, decoder and back. The soft top-k, which no trained dictionary computes, is left out.
"""

import importlib
import importlib.util
import json
import pathlib
import sys
import types

import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "saes"
WIDTH, FEATURES, ROWS, K = 8, 24, 16, 4


def package(name, path=None, **members):
    """A package whose own start, which imports much more, is left out."""
    made = types.ModuleType(name)
    made.__path__ = [str(path)] if path else []
    made.__dict__.update(members)
    sys.modules[name] = made


def module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def theirs(repository):
    learning = repository / "dictionary_learning/dictionary_learning"
    package("dictionary_learning", learning)
    package("dictionary_learning.trainers", learning / "trainers")
    package("lapsum")
    package("lapsum.topk", soft_topk=None)
    of_text = importlib.import_module("dictionary_learning.trainers.soft_sae").SoftSAETrainer
    evaluated = module("soft_sae_patched", repository / "softsae_saebench/soft_sae_patched.py").SoftSAEPatched
    of_images = module("soft_sae_of_images", repository / "soft_sae_clip/soft_sae.py").SoftTopKSAE
    return of_text, evaluated, of_images


def drawn(sae):
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
        sae.k_estimator[2].bias.fill_(-0.2)
    return sae


def kept(name, files, x, codes, recon):
    folder = HERE / f"dictionary_learning-{name}"
    folder.mkdir(exist_ok=True)
    for file, content in files.items():
        if file.endswith(".json"):
            (folder / file).write_text(json.dumps(content))
        else:
            torch.save(content, folder / file)
    expected = {"x": x, "codes": codes, "recon": recon}
    save_file({key: tensor.detach().contiguous() for key, tensor in expected.items()}, folder / "expected.safetensors")
    counts = (codes != 0).sum(1)
    print(f"{name}: {counts.float().mean():.1f} codes a row, from {counts.min()} to {counts.max()}")


@torch.no_grad()
def make(repository):
    of_text, evaluated, of_images = theirs(repository)
    torch.manual_seed(0)
    trainer = of_text(
        steps=100, activation_dim=WIDTH, dict_size=FEATURES, k=K, layer=3, lm_name="EleutherAI/pythia-70m-deduped",
        submodule_name="resid_post_layer_3", k_anneal_steps=50, warmup_steps=5, seed=0, device="cpu",
    )
    sae = drawn(trainer.ae)
    sae.scale_biases(2.5)
    config = {"trainer": trainer.config, "buffer": {"d_submodule": WIDTH, "io": "out", "n_ctxs": 100, "ctx_len": 128}}
    place = HERE / "soft.pt"
    torch.save(sae.state_dict(), place)
    patched = evaluated.from_pretrained(place)
    place.unlink()
    x = torch.randn(ROWS, WIDTH) * 2.5 + 0.3
    codes = patched.encode(x.clone())
    kept("SoftSAE", {"ae.pt": sae.state_dict(), "config.json": config}, x, codes, patched.decode(codes))
    # Training of theirs for images writes no config.json, and saves the k of a step in which it is annealed.
    sae = drawn(of_images(WIDTH, FEATURES, WIDTH, 1e-4))
    sae.set_normalization(0.4, torch.randn(WIDTH))
    sae.k.fill_(K)
    x = torch.randn(ROWS, WIDTH) * 0.4 + sae.shift_factor
    codes = sae.encode(sae.normalize(x))
    kept("SoftTopKSAE", {"ae.pt": sae.state_dict()}, x, codes * sae.norm_factor, sae.denormalize(sae.decode(codes)))


@torch.no_grad()
def check(repository, folder):
    _, evaluated, _ = theirs(repository)
    tensors = load_file(folder / "ae.safetensors")
    sae = evaluated(WIDTH, FEATURES, int(tensors["k"]), float(tensors["alpha"]))
    # Strict: every tensor of theirs is there and there are no others.
    sae.load_state_dict(tensors)
    expected = load_file(HERE / "dictionary_learning-SoftSAE/expected.safetensors")
    codes = sae.encode(expected["x"])
    print(f"codes differ by {(codes - expected['codes']).abs().max():.2e} at most")


if len(sys.argv) > 2:
    check(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
else:
    make(pathlib.Path(sys.argv[1]))
