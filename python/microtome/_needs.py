"""Imports that wait until they are needed."""

import importlib


def needed(name):
    """Imports a package, and says how it is installed where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(f'this needs {package}: pip install "microtome[data]"') from error


def lazy(package, places):
    """Returns the ``__getattr__`` of a package whose names are in these modules."""

    def find(name):
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{places[name]}"), name)

    return find
