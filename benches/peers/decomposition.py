"""Times of steps of parameter decomposition by its authors' code for benches/train.rs: a line with a name and seconds.

Arguments: threads, runs, features, neurons, parts of a matrix, inputs of a step. MICROTOME_SPD names a checkout of
github.com/goodfire-ai/spd at 3f0bb61e, and MICROTOME_SPD_PYTHON a Python 3.13, which that code needs, with torch, jaxtyping, pydantic,
einops, transformers, wandb and what else it imports.
"""

import os
import sys

if sys.version_info < (3, 13):
    python = os.environ["MICROTOME_SPD_PYTHON"]
    os.execv(python, [python, *sys.argv])

import torch
from timing import seconds

sys.path.insert(0, os.environ["MICROTOME_SPD"])

from spd.configs import ImportanceMinimalityLossConfig, StochasticReconLayerwiseLossConfig, StochasticReconLossConfig
from spd.experiments.resid_mlp.configs import ResidMLPModelConfig
from spd.experiments.resid_mlp.models import ResidMLP
from spd.losses import compute_total_loss
from spd.models.component_model import ComponentModel
from spd.utils.module_utils import ModulePathInfo

threads, runs, features, neurons, parts, inputs = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
target = ResidMLP(ResidMLPModelConfig(
    n_features=features, d_embed=features, d_mlp=neurons, n_layers=1, act_fn_name="relu", in_bias=False, out_bias=False,
))
target.requires_grad_(False)
where = [ModulePathInfo(module_path=f"layers.0.{name}", C=parts) for name in ["mlp_in", "mlp_out"]]
model = ComponentModel(target, where, "mlp", [16], "leaky_hard", None)
adam = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=2e-3, weight_decay=0)
losses = [
    ImportanceMinimalityLossConfig(coeff=1e-5, pnorm=2.0, beta=0),
    StochasticReconLayerwiseLossConfig(coeff=1.0),
    StochasticReconLossConfig(coeff=1.0),
]


def step():
    """What the loop of their `optimize` does, without what it logs."""
    adam.zero_grad()
    deltas = model.calc_weight_deltas()
    x = (2 * torch.rand(inputs, features) - 1) * (torch.rand(inputs, features) < 1 / features)
    clean = model(x, cache_type="input")
    importances = model.calc_causal_importances(clean.cache, detach_inputs=False, sampling="continuous")
    total, _ = compute_total_loss(
        loss_metric_configs=losses, model=model, batch=x, ci=importances, target_out=clean.output, weight_deltas=deltas,
        pre_weight_acts=clean.cache, current_frac_of_training=0.5, sampling="continuous", use_delta_component=True,
        n_mask_samples=1, output_loss_type="mse",
    )
    total.backward()
    adam.step()


print("decomposition", seconds(runs, step, 2))
