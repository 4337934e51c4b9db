"""What a model predicts without a feature, by a plain forward, for benches/circuit.rs.

Arguments: threads, a folder, behind which block the dictionary stands. In the folder are the model `neox` as transformers
loads it, and `task.safetensors`: the directions (`target`), the `contexts` and the `feature`. Prints a line with a name and the
seconds of one forward without the feature, and writes the fall of the tokens' probability into `effects.safetensors`.
"""

import os
import sys

import torch
from safetensors.torch import load_file, save_file
from timing import seconds
from transformers import AutoModelForCausalLM

threads, folder, layer = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
K, RUNS, TOKENS = 32, 3, [11, 264]
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "neox"), dtype=torch.float32).eval()
task = load_file(os.path.join(folder, "task.safetensors"))
directions, contexts, feature = task["target"], task["contexts"], task["feature"].item()


def without(x):
    """The stream less what the feature writes, with the K largest of relu(x D^T) as codes."""
    values, places = torch.relu(x @ directions.T).topk(K, dim=-1)
    code = (values * (places == feature)).sum(-1, keepdim=True)
    return x - code * directions[feature]


def chance(change):
    def hook(module, arguments, output):
        if not change:
            return None
        return (without(output[0]), *output[1:]) if isinstance(output, tuple) else without(output)

    handle = model.gpt_neox.layers[layer].register_forward_hook(hook)
    logits = model(contexts, use_cache=False, logits_to_keep=1).logits[:, -1]
    handle.remove()
    return logits.double().softmax(-1)[:, TOKENS].sum(-1)


with torch.inference_mode():
    fall = (chance(False) - chance(True)).mean()
    print("forward", seconds(RUNS, lambda: chance(True), 0))
save_file({"effects": fall.reshape(1).contiguous()}, os.path.join(folder, "effects.safetensors"))
