"""Times of llama.cpp for benches/quantised.rs: a line with a name and seconds for each.

Arguments: threads, the GGUF file, tokens of the prompt, tokens to generate, tokens to read, runs.
"""

import statistics
import sys
import time

from llama_cpp import Llama

threads, place = int(sys.argv[1]), sys.argv[2]
prompt, generated, read, runs = map(int, sys.argv[3:7])
model = Llama(place, n_ctx=512, n_threads=threads, n_threads_batch=threads, logits_all=False, verbose=False)


def seconds(work):
    work()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


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
