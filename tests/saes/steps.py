#!/usr/bin/env python3
"""What dictionary_learning's trainers make of small dictionaries, step by step.

Usage: steps.py OUT.safetensors   (needs dictionary-learning 0.1.0, torch, safetensors)

For each case: the batches, the weights before the first step and after the last, the loss of each step, the
threshold that was followed, and where features were resampled, which ones and by which rows. The schedule is one step ahead of the library's own, whose first step has a rate of 0.
"""
import sys

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.p_anneal import PAnnealTrainer
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from dictionary_learning.trainers.trainer import get_lr_schedule
from safetensors.torch import save_file

WIDTH, FEATURES, ROWS, STEPS = 6, 16, 24, 8
COMMON = dict(steps=STEPS + 1, activation_dim=WIDTH, dict_size=FEATURES, layer=0, lm_name="none", device="cpu",
              warmup_steps=3, decay_start=6, lr=3e-3)
TOPK = dict(COMMON, k=3, threshold_start_step=-1)

CASES = {
    "topk": (TopKTrainer, TOPK, None),
    "topk_dead": (TopKTrainer, TOPK, 48),
    "batch_topk": (BatchTopKTrainer, TOPK, None),
    "batch_topk_dead": (BatchTopKTrainer, TOPK, 48),
    "matryoshka": (MatryoshkaBatchTopKTrainer, dict(TOPK, group_fractions=[0.25, 0.25, 0.5]), None),
    "relu": (StandardTrainer, dict(COMMON, l1_penalty=0.2, sparsity_warmup_steps=4), None),
    "gated": (GatedSAETrainer, dict(COMMON, l1_penalty=0.2, sparsity_warmup_steps=4), None),
    "jumprelu": (JumpReluTrainer, dict(COMMON, bandwidth=0.2, sparsity_penalty=0.5, target_l0=4.0,
                                       sparsity_warmup_steps=4), None),
    "p_anneal": (PAnnealTrainer, dict(COMMON, sparsity_function="Lp^p", initial_sparsity_penalty=0.1, anneal_start=2,
                                      anneal_end=STEPS, p_end=0.4, n_sparsity_updates=4, sparsity_warmup_steps=4), None),
    "resample": (StandardTrainer, dict(COMMON, l1_penalty=0.2, sparsity_warmup_steps=4, decay_start=None,
                                       resample_steps=4), None),
}

# Their names, whether theirs is transposed, and ours.
NAMES = {
    "encoder.weight": ("encoder", False), "encoder.bias": ("encoder_bias", False),
    "decoder.weight": ("decoder", True), "b_dec": ("decoder_bias", False), "bias": ("decoder_bias", False),
    "decoder_bias": ("decoder_bias", False), "W_enc": ("encoder", True), "b_enc": ("encoder_bias", False),
    "W_dec": ("decoder", False), "mag_bias": ("encoder_bias", False), "gate_bias": ("gate", False),
    "r_mag": ("log_scale", False),
}


def weights(ae):
    found = {}
    for name, tensor in ae.state_dict().items():
        if name == "threshold":
            if tensor.dim() == 1:
                found["threshold"] = tensor.clone()
        elif name in NAMES:
            ours, turned = NAMES[name]
            found[ours] = (tensor.T if turned else tensor).contiguous().clone()
    return found


def noted(trainer, losses):
    """Has a trainer that does not say its loss note it; asking for it again may change the trainer."""
    loss = trainer.loss

    def said(*given, **more):
        found = loss(*given, **more)
        losses.append(found.item())
        return found
    trainer.loss = said


def drawn(trainer, result):
    """Has a trainer note which features begin anew, and by which rows."""
    resample, multinomial = trainer.resample_neurons, torch.multinomial

    def draw(*given, **more):
        rows = multinomial(*given, **more)
        result["resample.rows"] = rows.clone()
        return rows

    def begin(dead, x):
        if dead.any():
            result["resample.features"] = dead.nonzero()[:, 0].clone()
        resample(dead, x)
    torch.multinomial, trainer.resample_neurons = draw, begin


def main(out):
    result = {}
    for number, (name, (Trainer, options, dead_after)) in enumerate(CASES.items()):
        torch.manual_seed(number)
        trainer = Trainer(**options)
        if dead_after is not None:
            trainer.dead_feature_threshold = dead_after
        ae = trainer.ae
        with torch.no_grad():
            for parameter in ae.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.rand(parameter.shape) * 0.1)
            if name == "jumprelu":
                ae.threshold.copy_(0.1 + 0.3 * torch.rand(ae.threshold.shape))
            if dead_after is not None or name == "resample":
                # Some features that cannot fire.
                ae.encoder.bias[:5] = -3.0
        x = torch.randn(STEPS, ROWS, WIDTH) * torch.linspace(0.3, 1.5, WIDTH) + 0.2
        if name == "resample":
            # Theirs gives encoders the length of the row, ours that of the living.
            x = x / x.norm(dim=-1, keepdim=True)
            schedule = get_lr_schedule(COMMON["steps"], COMMON["warmup_steps"], COMMON["decay_start"])
            trainer.scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, schedule)
            drawn(trainer, result)
        for key, value in weights(ae).items():
            result[f"{name}.before.{key}"] = value
        trainer.scheduler.step()
        losses = []
        if Trainer in (StandardTrainer, GatedSAETrainer, PAnnealTrainer):
            noted(trainer, losses)
        for step in range(STEPS):
            said = trainer.update(step, x[step])
            if said is not None:
                losses.append(said)
        for key, value in weights(ae).items():
            result[f"{name}.after.{key}"] = value
        result[f"{name}.x"] = x
        result[f"{name}.losses"] = torch.tensor(losses)
        threshold = ae.state_dict().get("threshold")
        if threshold is not None and threshold.dim() == 0:
            result[f"{name}.followed"] = threshold.reshape(1).clone()
        print(name, [round(loss, 4) for loss in losses], "dead", getattr(trainer, "dead_features", None))
    save_file({key: value.detach().float() for key, value in result.items()}, out)


main(sys.argv[1])
