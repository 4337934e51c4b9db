"""Times of the steps of a toy model in torch for benches/gradients.rs: a line with a name and seconds for each kind.

Arguments: threads, runs, steps of a run, rows, features, dimensions.
"""

import statistics
import sys
import time

import torch

threads, runs, steps, rows, features, dims = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)


def stepper(draw):
    w = (torch.randn(features, dims) * 0.3).requires_grad_()
    b = torch.zeros(features, requires_grad=True)
    optimizer = torch.optim.AdamW([w, b], lr=1e-3, weight_decay=0.01)

    def step():
        x = draw()
        loss = (((x @ w @ w.T + b).relu() - x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def drawn():
    return torch.rand(rows, features) * (torch.rand(rows, features) >= 0.9)


fixed = torch.rand(rows, features)
for name, draw in [("fixed", lambda: fixed), ("drawn", drawn)]:
    step = stepper(draw)
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        times.append((time.perf_counter() - begin) / steps)
    print(name, statistics.median(times[1:]))
