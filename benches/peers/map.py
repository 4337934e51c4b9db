"""Time of a map of directions by umap-learn for benches/sae.rs: a line with a name and seconds.

Arguments: threads, directions, their width, epochs.
"""

import sys

import numba
import numpy
from timing import seconds
from umap import UMAP

threads, count, width, epochs = map(int, sys.argv[1:])
numba.set_num_threads(threads)
directions = numpy.random.default_rng(0).standard_normal((count, width), dtype=numpy.float32)


def fitted():
    UMAP(n_neighbors=15, metric="cosine", n_epochs=epochs, init="pca", n_jobs=threads).fit_transform(directions)


# The run before the others compiles.
print("map", seconds(3, fitted))
