"""Files of microtome in Python: tables, stores of activations, dictionaries, circuits, records of runs and reports.

``pip install microtome`` brings the program and this package; ``pip install "microtome[data]"`` also numpy, pyarrow and
safetensors, on which the package stands. Nothing here computes what the program computes: scripts do, and ``run`` starts them.
"""

from ._errors import FormatError, MicrotomeError
from ._needs import lazy

__all__ = [
    "Dictionary",
    "FormatError",
    "Graph",
    "MicrotomeError",
    "Report",
    "Run",
    "Store",
    "Tree",
    "read_table",
    "run",
    "write_table",
]

# Loaded when they are first named, so that running scripts needs no further package.
__getattr__ = lazy(
    __name__,
    {
        "Dictionary": "dictionary",
        "Graph": "graph",
        "Report": "report",
        "Run": "record",
        "Store": "store",
        "Tree": "graph",
        "read_table": "table",
        "run": "record",
        "write_table": "table",
    },
)


def __dir__():
    return __all__
