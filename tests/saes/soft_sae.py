#!/usr/bin/env python3
"""What the authors' SoftSAE makes of rows: estimates, codes, and the loss with its gradients, of soft and of hard steps.

Usage: soft_sae.py REPOSITORY OUT.safetensors   (needs torch, einops, ninja, safetensors and a C++ compiler)

The repository is a checkout of github.com/St0pien/SoftSAE (the fixture is of commit 833a85f). Only its trainer, what that
imports, and the soft top-k for processors are loaded, which is compiled.
"""
import importlib
import pathlib
import sys
import types

import torch
from safetensors.torch import save_file
from torch.utils import cpp_extension

WIDTH, FEATURES, ROWS, STEPS, K = 6, 16, 24, 100, 3
ALPHA = 0.3

# Their names, whether theirs is transposed, and ours.
NAMES = {
    "encoder.weight": ("encoder", False), "encoder.bias": ("encoder_bias", False),
    "decoder.weight": ("decoder", True), "b_dec": ("decoder_bias", False),
    "k_estimator.0.weight": ("k_encoder", False), "k_estimator.0.bias": ("k_bias", False),
    "k_estimator.2.weight": ("k_weight", False), "k_estimator.2.bias": ("k_logit", False),
}


def package(name, path, **members):
    """A package whose own start, which imports much more, is left out."""
    made = types.ModuleType(name)
    made.__path__ = [str(path)]
    made.__dict__.update(members)
    sys.modules[name] = made


def theirs(repository):
    learning = repository / "dictionary_learning/dictionary_learning"
    lapsum = repository / "lapsum/lapsum"
    package("dictionary_learning", learning)
    package("dictionary_learning.trainers", learning / "trainers")
    compiled = cpp_extension.load("soft_topk_cpu", [str(lapsum / "topk/cpu/soft_topk.cpp")])
    package("lapsum", lapsum)
    package("lapsum.topk", lapsum / "topk")
    package("lapsum.topk.extension", lapsum / "topk/extension", soft_topk_cpu=compiled, soft_topk_cuda=None)
    sys.modules["lapsum.topk"].soft_topk = importlib.import_module("lapsum.topk.extension.soft_topk").soft_topk
    return importlib.import_module("dictionary_learning.trainers.soft_sae").SoftSAETrainer


def named(kind, tensors):
    found = {}
    for name, tensor in tensors:
        ours, turned = NAMES[name]
        tensor = (tensor.T if turned else tensor).contiguous().clone()
        found[f"{kind}.{ours}"] = tensor.flatten() if ours == "k_weight" else tensor
    return found


def main(repository, out):
    torch.manual_seed(0)
    trainer = theirs(pathlib.Path(repository))(
        steps=STEPS, activation_dim=WIDTH, dict_size=FEATURES, k=K, layer=0, lm_name="none", soft_topk_alpha=ALPHA,
        hard_topk_steps=10, warmup_steps=1,
        device="cpu")
    ae = trainer.ae
    with torch.no_grad():
        for parameter in ae.parameters():
            parameter.add_((torch.rand(parameter.shape) - 0.3) * 0.2)
        # Rows differ in the number of codes that they get.
        ae.k_estimator[2].weight.copy_(0.1 + 0.5 * torch.randn(1, FEATURES))
    x = torch.randn(ROWS, WIDTH) * torch.linspace(0.3, 1.5, WIDTH) + 0.2
    result = {"x": x.clone()} | named("weight", ae.named_parameters())
    for kind, step in [("soft", STEPS // 2), ("hard", STEPS - 1)]:
        codes, _, _, estimate = ae.encode(x.clone(), return_active=True, use_hard_top_k=kind == "hard")
        ae.zero_grad()
        loss = trainer.loss(x.clone(), step=step)
        loss.backward()
        result |= {f"{kind}.codes": codes, f"{kind}.k": estimate, f"{kind}.loss": loss.reshape(1)}
        gradients = [(name, p.grad) for name, p in ae.named_parameters() if p.grad is not None]
        result |= named(f"{kind}.gradient", gradients)
        print(kind, loss.item(), estimate.tolist())
    save_file({key: value.detach().float() for key, value in result.items()}, out)


main(*sys.argv[1:])
