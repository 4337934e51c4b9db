"""Circuits: the nodes and edges that ``c.save("c.json")`` writes, of causal trees as of all others."""

import json

from ._errors import FormatError
from ._files import read_json, write_whole
from ._needs import needed

#: The keys of a file, and the type of each.
KEYS = {"title": str, "model": str, "sites": list, "nodes": list, "edges": list, "is_whole": bool, "made": list}


class Graph:
    """A circuit: ``nodes`` and ``edges`` are lists of maps, as the file has them."""

    def __init__(self, data):
        for key, kind in KEYS.items():
            if not isinstance(data.get(key), kind):
                raise FormatError(f"expected a circuit with `{key}`, found {data.get(key)!r}")
        for node in data["nodes"]:
            if not isinstance(node, dict) or not isinstance(node.get("site"), str):
                raise FormatError(f"expected nodes with `site`, found {node!r}")
        count = len(data["nodes"])
        for edge in data["edges"]:
            ends = [edge.get("from"), edge.get("to")] if isinstance(edge, dict) else [None]
            if not all(isinstance(end, int) and 0 <= end < count for end in ends):
                raise FormatError(f"expected edges between {count} nodes, found {edge!r}")
        self.data = data

    @classmethod
    def read(cls, path):
        """Reads the file of a circuit."""
        try:
            return cls(read_json(path, "the file of a circuit"))
        except FormatError as error:
            message = str(error)
            raise FormatError(message if message.startswith(str(path)) else f"{path}: {message}") from None

    def write(self, path):
        """Writes the circuit as ``circuit::load`` reads it. Returns the path."""
        return write_whole(path, (json.dumps(self.data, indent=2, ensure_ascii=False) + "\n").encode())

    @property
    def title(self):
        return self.data["title"]

    @property
    def nodes(self):
        return self.data["nodes"]

    @property
    def edges(self):
        return self.data["edges"]

    @property
    def target(self):
        """The first node, which of a tree is its target."""
        return self.nodes[0]

    def children(self, node=0):
        """Returns the edges that end at a node, strongest first: of a tree, those of its children."""
        return sorted((edge for edge in self.edges if edge["to"] == node), key=lambda edge: -abs(edge["effect"]))

    def name(self, node):
        """Returns the name of a node, such as ``resid_post.3/7``, with its position where it has one."""
        node = self.nodes[node]
        part = (
            "error" if node.get("error") else next((node[k] for k in ("feature", "head", "token") if k in node), None)
        )
        position = f" at {node['position']}" if "position" in node else ""
        return node["site"] + ("" if part is None else f"/{part}") + position

    def node_table(self):
        """Returns the nodes as a ``pyarrow.Table``, with their names."""
        rows = [{"name": self.name(place), **node} for place, node in enumerate(self.nodes)]
        return _table(rows)

    def edge_table(self):
        """Returns the edges as a ``pyarrow.Table``, with the names of the nodes that they join."""
        rows = [{"sender": self.name(e["from"]), "receiver": self.name(e["to"]), **e} for e in self.edges]
        return _table(rows)

    def __repr__(self):
        return f"Graph({self.title!r}, {len(self.nodes)} nodes, {len(self.edges)} edges)"


def _table(rows):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return needed("pyarrow").table({key: [row.get(key) for row in rows] for key in columns})


#: A causal tree is a circuit whose first node is the target.
Tree = Graph
