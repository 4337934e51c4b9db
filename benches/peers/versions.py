"""The packages that scripts of this folder import, with their versions, in one line: `TransformerLens 3.9.0, torch 2.9.1`."""

import ast
import sys
from importlib.metadata import packages_distributions, version

imported = set()
for path in sys.argv[1:]:
    for node in ast.walk(ast.parse(open(path).read())):
        if isinstance(node, ast.Import):
            imported.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
known = packages_distributions()
named = {known[name][0] for name in imported if name in known}
print(", ".join(f"{name} {version(name)}" for name in sorted(named, key=str.lower)))
