"""Times of llama.cpp for benches/quantised.rs: a line with a name and seconds for each.

Arguments: threads, the GGUF file, tokens of the prompt, tokens to generate, tokens to read, runs.
"""

import sys
from functools import partial

import timing
from llama_cpp import Llama

threads, place = int(sys.argv[1]), sys.argv[2]
prompt, generated, read, runs = map(int, sys.argv[3:7])
model = Llama(place, n_ctx=512, n_threads=threads, n_threads_batch=threads, logits_all=False, verbose=False)

seconds = partial(timing.seconds, runs)


def tokens(count):
    """Greedy generation as the binding does it: evaluate, then choose."""
    model.reset()
    model.eval(list(range(1, prompt + 1)))
    for _ in range(count - 1):
        model.eval([model.sample(temp=0.0)])
    model.sample(temp=0.0)


def reading():
    model.reset()
    model.eval(list(range(1, read + 1)))


print("token", (seconds(lambda: tokens(generated + 1)) - seconds(lambda: tokens(1))) / generated)
print("read", seconds(reading))
