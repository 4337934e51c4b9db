"""How long work of peers takes."""

import statistics
import time


def seconds(runs, work, first=1):
    """The median of this many runs, after the first ones, which do not count."""
    for _ in range(first):
        work()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
