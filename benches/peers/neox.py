"""The model of Pythia-70M's shape in TransformerLens, and a pair of prompts with its metric, for edges.py and patching.py.

Arguments of the script: threads, runs, and a folder with the model `neox` as transformers loads it and `pair.json`, the ids of
both prompts and of both answers.
"""

import json
import os
import statistics
import sys
import time

import torch
from lens import bridge
from transformers import AutoModelForCausalLM

threads, runs, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)

path = os.path.join(folder, "neox")
model = bridge(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval())
config = model.cfg

with open(os.path.join(folder, "pair.json")) as file:
    pair = json.load(file)
clean, corrupt = torch.tensor([pair["clean"]]), torch.tensor([pair["corrupt"]])


def metric(logits):
    return logits[0, -1, pair["answer"]] - logits[0, -1, pair["wrong"]]


def seconds(work, runs):
    """The median time of some runs, and what the last one returned."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), found
