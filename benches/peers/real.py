"""Reading and writing by llama.cpp and by transformers for benches/real.rs, which asks for one run after the other.

Arguments: threads, the folder (a GGUF file, and the same weights in `hf`), tokens of the prompt, tokens to write.
"""

import sys
from pathlib import Path

import llama_cpp
import torch
from timing import took, turns
from transformers import AutoModelForCausalLM

threads, folder, prompt, written = int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:5])
ids = [2] + [1000 + 977 * i % 200000 for i in range(prompt - 1)]


def of_llama():
    (path,) = folder.glob("*q4_k_m.gguf")
    model = llama_cpp.Llama(str(path), n_ctx=4096, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)

    def read():
        model.reset()
        model.eval(ids)

    def write():
        for _ in range(written):
            model.eval([model.sample(temp=0.0)])

    def written_behind():
        read()
        return took(write) / written

    return {
        "llama_load": lambda: took(lambda: llama_cpp.Llama(str(path), n_ctx=4096, verbose=False)),
        "llama_read": lambda: took(read),
        "llama_write": written_behind,
    }


def of_transformers():
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32).eval()
    start = torch.tensor([ids])
    mask = torch.ones_like(start)

    def generate(tokens):
        model.generate(start, attention_mask=mask, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False, use_cache=True)

    def write():
        first = took(lambda: generate(1))
        return (took(lambda: generate(written)) - first) / (written - 1)

    return {"transformers_read": lambda: took(lambda: model(start, logits_to_keep=1)), "transformers_write": write}


with torch.inference_mode():
    turns(of_llama() | of_transformers())
