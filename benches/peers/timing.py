"""How long work of peers takes."""

import statistics
import sys
import time


def seconds(runs, work, first=1):
    """The median of this many runs, after the first ones, which do not count."""
    for _ in range(first):
        work()
    return statistics.median(took(work) for _ in range(runs))


def took(work):
    """The seconds of one run."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def turns(works):
    """Does the work that each line of standard input names, and prints the name and the seconds that the work returns.

    Where a library is missing, the answer is what is missing.
    """
    for line in sys.stdin:
        name = line.strip()
        try:
            print(name, works[name](), flush=True)
        except ImportError as error:
            print(name, error, flush=True)
