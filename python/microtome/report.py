"""Reports: the folder that ``report(..).save()`` writes."""

import html
from pathlib import Path

from ._errors import FormatError
from ._files import read_json
from ._needs import needed


class Report:
    """A report on disk; a notebook shows its page."""

    #: The height of the page in a notebook, in pixels.
    height = 640

    def __init__(self, folder):
        self.folder = Path(folder)
        if self.folder.name == "index.html":
            self.folder = self.folder.parent
        self.data = read_json(self.folder / "data.json", "the data of a report")
        items = self.data.get("items")
        if not isinstance(self.data.get("name"), str) or not isinstance(items, list):
            raise FormatError(f"{self.folder / 'data.json'}: expected the name and the items of a report")

    @property
    def name(self):
        return self.data["name"]

    @property
    def items(self):
        """The items as maps: ``type`` says what each is."""
        return self.data["items"]

    @property
    def page(self):
        """The path of the page."""
        return self.folder / "index.html"

    @property
    def pictures(self):
        """The paths of the pictures, in their order."""
        found = self.folder.glob("figure-*.svg")
        return sorted(found, key=lambda path: (len(path.name), path.name))

    def tables(self):
        """Returns the tables of the report, each a ``pyarrow.Table``."""
        pa = needed("pyarrow")
        tables = []
        for item in self.items:
            if item.get("type") == "table":
                columns = {name: [row[i] for row in item["rows"]] for i, name in enumerate(item["columns"])}
                tables.append(pa.table(columns))
        return tables

    def _repr_html_(self):
        # In a frame of its own, with its own styles; without the rights of the notebook, since texts of others stand in it.
        page = html.escape(self.page.read_text(encoding="utf-8"), quote=True)
        return (
            f'<iframe sandbox="allow-scripts" style="width: 100%; height: {self.height}px; border: 0" '
            f'srcdoc="{page}"></iframe>'
        )

    def __repr__(self):
        return f"Report({self.name!r}, {len(self.items)} items, {self.page})"
