"""Makes small dictionaries in the layouts of Gemma Scope 2, reads them with SAELens' own loader, and keeps what it computes.

    pip install sae-lens==6.54.12
    python tests/saes/gemma_scope_2.py [tests/fixtures/saes]

The loader asks the hub for files and for the shapes in their headers: both questions are answered from the folder. Each
folder gets an `expected.safetensors` with `x`, `codes` and `recon`. SAELens has no cross-layer transcoders, only their
layers with all decoders summed up; of `clt` it keeps the codes of each layer, and what DeepMind's tutorial makes of
them, whose formula is in `recon_of`.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as loaders

D, F, LAYERS, ROWS = 16, 24, 3, 6
REPO = "google/gemma-scope-2-270m-pt"
NORMS = "model.layers.{}.{}_feedforward_layernorm.output"


def config(kind, reads, writes, affine, l0):
    return {
        "hf_hook_point_in": reads,
        "hf_hook_point_out": writes,
        "width": F,
        "model_name": "google/gemma-3-270m-pt",
        "architecture": "jump_relu",
        "l0": l0,
        "affine_connection": affine,
        "type": kind,
    }


def tensors(affine, layers=None, layer=0):
    decoder = torch.randn(F, D) if layers is None else torch.randn(F, layers, D)
    if layers is not None:
        decoder[:, :layer] = 0
    made = {
        "w_enc": torch.randn(D, F) / D**0.5,
        "b_enc": torch.randn(F) / 4,
        "threshold": torch.rand(F) / 2,
        "w_dec": decoder / D**0.5,
        "b_dec": torch.randn(D) / 4,
    }
    if affine:
        made["affine_skip_connection"] = torch.randn(D, D) / D**0.5
    return {name: tensor.contiguous() for name, tensor in made.items()}


def answer_from(folder):
    """The loader's questions to the hub, answered from a folder in place of the repository's path."""

    def place(filename, subfolder=None):
        return str(folder / filename.split("/")[-1])

    def shapes(_repo, filename):
        with safe_open(place(filename), "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}

    loaders.hf_hub_download = lambda repo_id, filename, subfolder=None, **_: place(filename, subfolder)
    loaders.get_safetensors_tensor_shapes = shapes


def loaded(folder, path):
    answer_from(folder)
    cfg, state, _ = loaders.gemma_3_sae_huggingface_loader(REPO, path)
    cfg = loaders.handle_config_defaulting(cfg)
    of = SAE.get_sae_config_class_for_architecture(cfg["architecture"]).from_dict(cfg)
    sae = SAE.get_sae_class_for_architecture(of.architecture())(of)
    sae.process_state_dict_for_loading(state)
    sae.load_state_dict(state)
    # Heads are folded only where a hook of TransformerLens is read.
    if sae.cfg.reshape_activations == "hook_z":
        sae.turn_off_forward_pass_hook_z_reshaping()
    return sae, cfg


def recon_of(x, codes, all_tensors):
    """The sum over the layers that are read of codes and decoders, as the tutorial of Gemma Scope 2 has it."""
    written = []
    for out in range(LAYERS):
        sums = [codes[layer] @ all_tensors[layer]["w_dec"][:, out] for layer in range(LAYERS)]
        skip = x[out] @ all_tensors[out]["affine_skip_connection"]
        written.append(sum(sums) + all_tensors[out]["b_dec"] + skip)
    return torch.stack(written)


def main(root):
    torch.manual_seed(0)
    norms = [NORMS.format(12, side) for side in ("pre", "post")]
    output, heads = "model.layers.12.output", "model.layers.12.self_attn.o_proj.input"
    layer = "layer_12_width_16k_l0_medium"
    cases = {
        "gemma-scope-2-resid_post": (f"resid_post/{layer}", config("sae", output, output, False, 60)),
        "gemma-scope-2-attn_out": (f"attn_out/{layer}", config("sae", heads, heads, False, 60)),
        "gemma-scope-2-mlp_out": (f"mlp_out/{layer}", config("sae", norms[1], norms[1], False, 60)),
        "gemma-scope-2-transcoder": (f"transcoder_all/{layer}", config("transcoder", *norms, False, 60)),
        "gemma-scope-2-transcoder-affine": (
            f"transcoder_all/{layer}_affine",
            config("transcoder", *norms, True, 60),
        ),
    }
    for name, (path, said) in cases.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors(said["affine_connection"]), folder / "params.safetensors")
        (folder / "config.json").write_text(json.dumps(said, indent=1) + "\n")
        sae, cfg = loaded(folder, path)
        x = torch.randn(ROWS, D)
        with torch.no_grad():
            codes, recon = sae.encode(x), sae(x)
        said = cfg["metadata"]
        print(name, cfg["architecture"], said["hook_name"], said.get("hook_name_out"), said["model_name"])
        print("  L0", float((codes > 0).sum(1).float().mean()))
        save_file({"x": x, "codes": codes.contiguous(), "recon": recon.contiguous()}, folder / "expected.safetensors")

    folder = root.parent / "transcoders" / "gemma-scope-2-clt"
    folder.mkdir(parents=True, exist_ok=True)
    said = config("clt", NORMS.format("{all}", "pre"), NORMS.format("{all}", "post"), True, 50)
    (folder / "config.json").write_text(json.dumps({**said, "width": F * LAYERS}, indent=1) + "\n")
    x, codes = torch.randn(LAYERS, ROWS, D), []
    for layer in range(LAYERS):
        name = f"params_layer_{layer}.safetensors"
        save_file(tensors(True, LAYERS, layer), folder / name)
        sae, _ = loaded(folder, f"clt/width_72_l0_medium_affine/params_layer_{layer}")
        with torch.no_grad():
            codes.append(sae.encode(x[layer]))
    found = [load_file(folder / f"params_layer_{layer}.safetensors") for layer in range(LAYERS)]
    recon = recon_of(x, codes, found)
    save_file({"x": x, "codes": torch.stack(codes), "recon": recon.contiguous()}, folder / "expected.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/saes"))
