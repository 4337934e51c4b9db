"""Times of llama.cpp and of transformers for benches/real.rs: a line with a name and seconds for each.

Arguments: threads, the folder (a GGUF file, and the same weights in `hf`), tokens of the prompt, tokens to write, runs.
"""

import statistics
import sys
import time
from functools import partial
from pathlib import Path

import llama_cpp
import timing
import torch
from transformers import AutoModelForCausalLM

threads, folder, prompt, written, runs = int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6])
ids = [2] + [1000 + 977 * i % 200000 for i in range(prompt - 1)]

seconds = partial(timing.seconds, runs)


def of_llama():
    (path,) = folder.glob("*q4_k_m.gguf")
    model = llama_cpp.Llama(str(path), n_ctx=4096, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)

    def read():
        model.reset()
        model.eval(ids)

    def write():
        # What the model ends with is written over, so that each run writes as many.
        for _ in range(written):
            model.eval([model.sample(temp=0.0)])

    print("llama_load", seconds(lambda: llama_cpp.Llama(str(path), n_ctx=4096, verbose=False)))
    print("llama_read", seconds(read))
    times = []
    for _ in range(runs):
        read()
        begin = time.perf_counter()
        write()
        times.append(time.perf_counter() - begin)
    print("llama_write", statistics.median(times) / written)


def of_transformers():
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32).eval()
    start = torch.tensor([ids])
    options = dict(min_new_tokens=written, max_new_tokens=written, do_sample=False, use_cache=True)
    attention_mask = torch.ones_like(start)
    with torch.inference_mode():
        print("transformers_read", seconds(lambda: model(start, logits_to_keep=1)))
        past = seconds(lambda: model.generate(start, attention_mask=attention_mask, min_new_tokens=1, max_new_tokens=1))
        whole = seconds(lambda: model.generate(start, attention_mask=attention_mask, **options))
        print("transformers_write", (whole - past) / (written - 1))


of_llama()
of_transformers()
