"""Time of a map of directions by umap-learn for benches/sae.rs: a line with a name and seconds.

Arguments: threads, directions, their width, epochs.
"""

import statistics
import sys
import time

import numba
import numpy
from umap import UMAP

threads, count, width, epochs = map(int, sys.argv[1:])
numba.set_num_threads(threads)
directions = numpy.random.default_rng(0).standard_normal((count, width), dtype=numpy.float32)
times = []
# The first run compiles.
for _ in range(4):
    begin = time.perf_counter()
    UMAP(n_neighbors=15, metric="cosine", n_epochs=epochs, init="pca", n_jobs=threads).fit_transform(directions)
    times.append(time.perf_counter() - begin)
print("map", statistics.median(times[1:]))
