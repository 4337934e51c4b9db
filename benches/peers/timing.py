"""How long work of peers takes."""

import statistics
import time


def seconds(runs, work):
    """The median of this many runs, after one that does not count."""
    work()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
