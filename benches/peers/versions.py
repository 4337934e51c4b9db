"""The packages that scripts of this folder import, with their versions, in one line: `TransformerLens 3.9.0, torch 2.9.1`."""

import ast
import pathlib
import sys
from importlib.metadata import packages_distributions, version


def imported(path):
    """The modules that a script imports, and those that its neighbours import for it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    beside = [path.with_name(f"{name}.py") for name in found]
    return found.union(*(imported(module) for module in beside if module.exists()))


names = set().union(*(imported(pathlib.Path(path)) for path in sys.argv[1:]))
known = packages_distributions()
named = {known[name][0] for name in names if name in known}
print(", ".join(f"{name} {version(name)}" for name in sorted(named, key=str.lower)))
