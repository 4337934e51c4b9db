"""Folders of the library datasets of Hugging Face: streams of Arrow, and what says which columns they have."""

import json
import os
from pathlib import Path

from ._errors import FormatError
from ._files import read_json, write_whole
from ._needs import needed

#: The name by which datasets knows a column of matrices in a file of Arrow.
MATRIX = "datasets.features.features.Array2DExtensionType"

#: The largest number of rows of a batch of a file.
BATCH = 64


def matrix(rows, columns):
    return {"shape": [rows, columns], "dtype": "float32", "_type": "Array2D"}


def integers(dtype, length):
    return {"feature": {"dtype": dtype, "_type": "Value"}, "length": length, "_type": "Sequence"}


def write(folder, features, parts):
    """Writes a data set of one file, of parts that are maps of columns and their arrays. Returns the folder."""
    pa, ipc = needed("pyarrow"), needed("pyarrow.ipc")
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    schema = pa.schema([_field(pa, name, feature) for name, feature in features.items()])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    name = "data-00000-of-00001.arrow"

    def fill(file):
        with ipc.new_stream(file, schema) as out:
            for part in parts:
                count = len(next(iter(part.values())))
                for start in range(0, count, BATCH):
                    columns = [_column(pa, field, part[field.name][start : start + BATCH]) for field in schema]
                    out.write_batch(pa.record_batch(columns, schema=schema))

    write_whole(folder / name, fill)
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    write_whole(folder / "dataset_info.json", json.dumps(info, indent=2).encode())
    state = {
        "_data_files": [{"filename": name}],
        "_fingerprint": os.urandom(8).hex(),
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_whole(folder / "state.json", json.dumps(state, indent=2).encode())
    return folder


def _field(pa, name, feature):
    if feature["_type"] == "Array2D":
        extension = {
            "ARROW:extension:name": MATRIX,
            "ARROW:extension:metadata": json.dumps([feature["shape"], "float32"]),
        }
        return pa.field(name, pa.list_(pa.list_(pa.float32())), metadata=extension)
    return pa.field(name, pa.list_(pa.type_for_alias(feature["feature"]["dtype"]), feature["length"]))


def _column(pa, field, array):
    np = needed("numpy")
    if array.ndim == 3:
        count, rows, columns = array.shape
        numbers = pa.array(np.ascontiguousarray(array, np.float32).ravel())
        inner = pa.ListArray.from_arrays(np.arange(0, array.size + 1, columns, dtype=np.int32), numbers)
        return pa.ListArray.from_arrays(np.arange(0, count * rows + 1, rows, dtype=np.int32), inner)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).ravel()), array.shape[1])


class read:
    """A data set in a folder: ``shapes`` has the shape of each column's values, as far as they are numbers in rows."""

    def __init__(self, folder):
        self.folder = Path(folder)
        state = read_json(self.folder / "state.json", "the state of a data set of Hugging Face")
        info = read_json(self.folder / "dataset_info.json", "the description of a data set of Hugging Face")
        try:
            self.files = [self.folder / file["filename"] for file in state["_data_files"]]
            features = info["features"]
            self.shapes = {name: shape for name, feature in features.items() if (shape := _shape(feature)) is not None}
        except (KeyError, TypeError, AttributeError):
            raise FormatError(f"{self.folder}: expected a data set of Hugging Face, found another folder") from None
        if any(file.parent != self.folder for file in self.files):
            raise FormatError(f"{self.folder}: expected files in this folder, found {self.files}")

    def parts(self, names):
        """Yields each batch of the files as a map of columns and their arrays."""
        pa, ipc = needed("pyarrow"), needed("pyarrow.ipc")
        for file in self.files:
            try:
                with pa.memory_map(str(file)) as mapped, ipc.open_stream(mapped) as stream:
                    for batch in stream:
                        if batch.num_rows:
                            yield {name: self._array(batch, name) for name in names}
            except (pa.ArrowException, OSError, KeyError) as error:
                raise FormatError(f"{file}: {error}") from None

    def _array(self, batch, name):
        values = batch.column(name)
        while hasattr(values, "storage"):
            values = values.storage
        if values.null_count:
            raise FormatError(f"{self.folder}: expected a value of `{name}` in each row, found none in some")
        while hasattr(values, "flatten") and not _is_plain(values):
            values = values.flatten()
        array = values.to_numpy(zero_copy_only=False)
        shape = (batch.num_rows, *self.shapes[name])
        count = 1
        for size in shape:
            count *= size
        if array.size != count:
            raise FormatError(
                f"{self.folder}: expected values of `{name}` of the shape {list(shape[1:])}, found others"
            )
        return array.reshape(shape)


def _is_plain(values):
    pa = needed("pyarrow")
    return pa.types.is_primitive(values.type)


def _shape(feature):
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "Array2D":
        return tuple(feature["shape"])
    if (
        feature.get("_type") in ("Sequence", "List")
        and isinstance(feature.get("length"), int)
        and feature["length"] > 0
    ):
        return (feature["length"],)
    return None
