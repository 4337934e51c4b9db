"""The plain loop of a causal tree for benches/circuit.rs: one full forward for each feature of the previous dictionary.

Arguments: threads, a folder, how many features are timed. In the folder are the model `neox` as transformers loads it, and
`task.safetensors`: the directions of both dictionaries (`target`, `previous`), the `contexts` and the target's `feature`. Prints
a line with a name and the seconds of one forward for the whole model and for the model without logits, and writes the effects
into `effects.safetensors`.
"""

import os
import statistics
import sys
import time

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

threads, folder, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
K = 32
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "neox"), dtype=torch.float32).eval()
task = load_file(os.path.join(folder, "task.safetensors"))
previous, target, contexts, feature = task["previous"], task["target"], task["contexts"], task["feature"].item()
layers = model.gpt_neox.layers


def codes(x, directions):
    """The K largest of relu(x D^T) in each row."""
    pre = torch.relu(x @ directions.T)
    values, places = pre.topk(K, dim=-1)
    return torch.zeros_like(pre).scatter_(-1, places, values)


def stream(output):
    return output[0] if isinstance(output, tuple) else output


def run(whole, change=None):
    """The streams behind the last two blocks, that behind the first of them changed."""
    found = {}

    def before(module, arguments, output):
        found["before"] = stream(output)
        if change is None:
            return None
        changed = change(stream(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def behind(module, arguments, output):
        found["behind"] = stream(output)

    handles = [layers[-2].register_forward_hook(before), layers[-1].register_forward_hook(behind)]
    (model if whole else model.gpt_neox)(contexts, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def read(found):
    return codes(found["behind"][:, -1], target)[:, feature]


def loop(whole):
    """Effects of the first features, and the median time of a forward."""
    clean = run(whole)
    all_codes, original = codes(clean["before"], previous), read(clean)
    effects, times = [], []
    for index in range(count):
        begin = time.perf_counter()
        ablated = read(run(whole, lambda x: x - all_codes[..., index, None] * previous[index]))
        effects.append(((original - ablated + 1e-10) / (original + 1e-10)).mean())
        times.append(time.perf_counter() - begin)
    return torch.stack(effects), statistics.median(times)


with torch.inference_mode():
    effects, seconds = loop(True)
    print("forward", seconds)
    print("stream", loop(False)[1])
save_file({"effects": effects.contiguous()}, os.path.join(folder, "effects.safetensors"))
