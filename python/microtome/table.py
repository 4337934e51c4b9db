"""Tables: what ``t.save`` writes and ``data::table`` reads, as tables of pyarrow."""

import json
from pathlib import Path

from ._errors import FormatError
from ._files import write_whole
from ._needs import needed

#: The endings of the files of tables.
ENDINGS = ("arrow", "arrows", "feather", "parquet", "csv", "json", "jsonl")


def read_table(path):
    """Reads a table, by the ending of the file's name, as a ``pyarrow.Table``, which pandas and polars take."""
    pa = needed("pyarrow")
    path = Path(path)
    ending = _ending(path)
    # One that is not there is told apart from one that is damaged.
    path.stat()
    try:
        if ending in ("arrow", "arrows", "feather"):
            return read_arrow(path.read_bytes())
        if ending == "parquet":
            return needed("pyarrow.parquet").read_table(path, partitioning=None)
        if ending == "csv":
            # An empty text stands in quotes, and a missing cell is nothing at all.
            csv = needed("pyarrow.csv")
            options = csv.ConvertOptions(null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False)
            return csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=options)
        text = path.read_text(encoding="utf-8")
        rows = (
            [json.loads(line) for line in text.splitlines() if line.strip()] if ending == "jsonl" else json.loads(text)
        )
        names = list(dict.fromkeys(name for row in rows for name in row))
        return pa.table({name: [row.get(name) for row in rows] for name in names})
    except (pa.ArrowException, OSError, ValueError, AttributeError, TypeError) as error:
        raise FormatError(f"{path}: expected a table as .{ending}: {error}") from None


def read_arrow(content):
    """Reads a table of Arrow, in the format of files or in that of streams."""
    ipc = needed("pyarrow.ipc")
    opened = ipc.open_file if content[:6] == b"ARROW1" else ipc.open_stream
    return opened(needed("pyarrow").py_buffer(content)).read_all()


def write_table(table, path):
    """Writes a table: of pyarrow, pandas or polars, or a map of columns. Returns the path."""
    pa = needed("pyarrow")
    path = Path(path)
    ending = _ending(path)
    table = as_arrow(table)
    if ending in ("arrow", "arrows", "feather"):
        ipc = needed("pyarrow.ipc")
        writer = ipc.new_stream if ending == "arrows" else ipc.new_file

        def write(file):
            with writer(file, table.schema) as out:
                out.write_table(table)

        return write_whole(path, write)
    if ending == "parquet":
        return write_whole(path, lambda file: needed("pyarrow.parquet").write_table(table, file))
    if ending == "csv":
        return write_whole(path, lambda file: needed("pyarrow.csv").write_csv(table, file))
    rows = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in _finite(pa, table).to_pylist()]
    text = "".join(row + "\n" for row in rows) if ending == "jsonl" else "[\n  " + ",\n  ".join(rows) + "\n]\n"
    return write_whole(path, text.encode())


def as_arrow(table):
    """Returns a table of any library as one of pyarrow, with the index of pandas left out."""
    pa = needed("pyarrow")
    if isinstance(table, pa.Table):
        return table
    if isinstance(table, dict):
        return pa.table(table)
    if type(table).__module__.partition(".")[0] == "pandas":
        return pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    if hasattr(table, "__arrow_c_stream__"):
        table = pa.table(table)
        # Views of texts, which polars has, are not written as .csv by pyarrow, nor read by older programs.
        plain = [f.with_type(pa.large_string()) if str(f.type) == "string_view" else f for f in table.schema]
        return table.cast(pa.schema(plain))
    raise TypeError(f"expected a table of pyarrow, pandas or polars, or a map of columns, found {type(table).__name__}")


def _finite(pa, table):
    """Returns the table with nothing in place of NaN and infinities, which JSON lacks."""
    compute = needed("pyarrow.compute")
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(place)
            kept = compute.if_else(compute.is_finite(column), column, pa.scalar(None, field.type))
            table = table.set_column(place, field.name, kept)
    return table


def _ending(path):
    ending = path.suffix.lstrip(".")
    if ending == "ndjson":
        return "jsonl"
    if ending not in ENDINGS:
        raise ValueError(f"expected the file of a table, whose name ends in .{', .'.join(ENDINGS)}, found {path}")
    return ending
