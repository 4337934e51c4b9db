"""Time of transformers to draw text from the model inside the binary, for benches/workbench.rs: a line `draw SECONDS`.

Arguments: threads, texts, tokens of each.
"""

import pathlib
import sys
import time

import torch
from transformers import GPTNeoXForCausalLM

threads, texts, length = map(int, sys.argv[1:4])
torch.set_num_threads(threads)
torch.manual_seed(0)
folder = pathlib.Path(__file__).resolve().parents[2] / "core" / "assets" / "tiny"
model = GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
start = torch.zeros((texts, 1), dtype=torch.long)
options = dict(max_new_tokens=length, min_new_tokens=length, do_sample=True, temperature=0.85, top_k=200, pad_token_id=0)
with torch.inference_mode():
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        model.generate(start, attention_mask=torch.ones_like(start), **options)
        times.append(time.perf_counter() - begin)
print("draw", min(times))
