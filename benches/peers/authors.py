"""Dictionaries by the code of their authors, for quality.py: of kinds that no library trains. Checkouts are named by variables.

MICROTOME_SOFT_SAE: github.com/St0pien/SoftSAE at 833a85f, whose soft top-k is compiled (needs einops, ninja and a C++ compiler).
MICROTOME_TEMPORAL: github.com/eslubana/temporalSAEs at 6bd3827.
"""

import importlib
import json
import os
import pathlib
import sys
import types
from dataclasses import dataclass

import torch
from safetensors.torch import save_file


@dataclass
class Data:
    """What is fitted to: rows of this width, which were multiplied by a scale, and how many features are wanted."""

    width: int
    features: int
    seed: int
    scale: float


def package(name, path, **members):
    """A package whose own start, which imports much more, is left out."""
    made = types.ModuleType(name)
    made.__path__ = [str(path)]
    made.__dict__.update(members)
    sys.modules[name] = made


def soft_trainer():
    from torch.utils import cpp_extension

    repository = pathlib.Path(os.environ["MICROTOME_SOFT_SAE"])
    learning = repository / "dictionary_learning/dictionary_learning"
    lapsum = repository / "lapsum/lapsum"
    for name in [name for name in sys.modules if name.split(".")[0] == "dictionary_learning"]:
        del sys.modules[name]
    package("dictionary_learning", learning)
    package("dictionary_learning.trainers", learning / "trainers")
    compiled = cpp_extension.load("soft_topk_cpu", [str(lapsum / "topk/cpu/soft_topk.cpp")])
    package("lapsum", lapsum)
    package("lapsum.topk", lapsum / "topk")
    package("lapsum.topk.extension", lapsum / "topk/extension", soft_topk_cpu=compiled, soft_topk_cuda=None)
    sys.modules["lapsum.topk"].soft_topk = importlib.import_module("lapsum.topk.extension.soft_topk").soft_topk
    return importlib.import_module("dictionary_learning.trainers.soft_sae").SoftSAETrainer


def soft_topk(data, codes, steps, rate):
    """Their trainer; its scale falls in a tenth of the steps and the last fifth is hard, since theirs are for 240,000 steps."""
    trainer = soft_trainer()(
        steps=steps, activation_dim=data.width, dict_size=data.features, k=int(codes), layer=0, lm_name="none",
        device="cpu", seed=data.seed, lr=rate, warmup_steps=max(1, steps // 50), decay_start=steps - steps // 5,
        alpha_anneal_steps=max(1, steps // 10), hard_topk_steps=steps // 5,
    )

    def save(folder):
        # Their own factor for rows as they come.
        trainer.ae.scale_biases(1 / data.scale)
        torch.save(trainer.ae.state_dict(), f"{folder}/ae.pt")
        with open(f"{folder}/config.json", "w") as file:
            json.dump(dict(trainer=trainer.config), file)

    return lambda step, x, _: trainer.update(step, x), save


def temporal(data, codes, steps, rate):
    """Their model, loss and AdamW, by the schedule of all; rows are texts, and are scaled to a variance of about 1."""
    package("sae", pathlib.Path(os.environ["MICROTOME_TEMPORAL"]) / "sae")
    model = importlib.import_module("sae.saeTemporal").TemporalSAE
    torch.manual_seed(data.seed)
    times = data.width**0.5
    sae = model(
        dimin=data.width, width=data.features, n_heads=4, sae_diff_type="topk", kval_topk=int(codes), bottleneck_factor=1
    )
    adam = torch.optim.AdamW(sae.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=1e-4)
    warm, fall = max(1, steps // 50), steps // 5
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda i: min((i + 1) / warm, 1.0, (steps - i) / max(1, fall)))

    def step(_, x, __):
        x = x * times
        adam.zero_grad()
        found, _ = sae(x)
        loss = (found - x).pow(2).sum() / (x.shape[0] * x.shape[1])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        adam.step()
        schedule.step()

    def save(folder):
        settings = dict(
            sae_type="temporal", sae_diff_type="topk", tied_weights=True, exp_factor=data.features / data.width,
            kval_topk=int(codes), n_heads=4, n_attn_layers=1, bottleneck_factor=1, scaling_factor=data.scale * times,
        )
        sections = dict(llm=dict(model_hf_name="none", dimin=data.width), sae=settings)
        lines = []
        for name, section in sections.items():
            lines += [f"{name}:"] + [f"  {key}: {value}" for key, value in section.items()]
        pathlib.Path(f"{folder}/conf.yaml").write_text("\n".join(lines) + "\n")
        weights = {name: tensor.contiguous() for name, tensor in sae.state_dict().items()}
        save_file(weights, f"{folder}/latest_ckpt.safetensors")

    return step, save


KINDS = {"soft_topk": soft_topk, "temporal": temporal}
