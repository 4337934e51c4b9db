"""Files that are written whole or not at all, and tensors that are read where they lie."""

import json
import os
import struct
import tempfile
from pathlib import Path

from ._errors import FormatError
from ._needs import needed

#: The longest header of a safetensors file.
LONGEST = 100 << 20

#: Types of numbers by their names in safetensors; bf16, which numpy lacks, is read as the bits of 16-bit integers.
TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def write_whole(path, content):
    """Writes a file beside its place, synced and renamed, so that a reader finds all of it or none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content) if isinstance(content, (bytes, bytearray)) else content(file)
            file.flush()
            os.fsync(file.fileno())
        # As any new file has them: those of temporary files are the owner's alone.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    return path


def read_json(path, what):
    """Reads a file of JSON, which is to be a map."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: expected {what}: {error}") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: expected {what}, found other JSON")
    return found


class Tensors:
    """The tensors of a safetensors file, each mapped into memory when it is asked for."""

    def __init__(self, path):
        self.path = Path(path)
        with open(self.path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            beginning = file.read(8)
            if len(beginning) < 8:
                raise FormatError(f"{path}: expected a safetensors file, found {length} bytes")
            (size,) = struct.unpack("<Q", beginning)
            if size > min(LONGEST, length - 8):
                raise FormatError(
                    f"{path}: expected a safetensors file, found a header of {size} bytes in a file of {length}"
                )
            try:
                header = json.loads(file.read(size))
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{path}: its header is damaged: {error}") from None
        if not isinstance(header, dict):
            raise FormatError(f"{path}: its header is no map")
        self.metadata = header.pop("__metadata__", {})
        self.start = 8 + size
        self.header = header
        for name, about in header.items():
            self._check(name, about, length - self.start)

    def _check(self, name, about, room):
        try:
            kind, shape, (begin, end) = about["dtype"], about["shape"], about["data_offsets"]
            count = 1
            for size in shape:
                count *= size
            numbers = [begin, end, *shape]
            right = all(isinstance(number, int) and number >= 0 for number in numbers)
        except (TypeError, KeyError, ValueError):
            raise FormatError(f"{self.path}: the tensor `{name}` is not described as tensors are") from None
        if kind not in TYPES:
            raise FormatError(f"{self.path}: expected the tensor `{name}` in one of {', '.join(TYPES)}, found {kind}")
        width = 1 if kind == "BOOL" else int(TYPES[kind][-1])
        if not right or end > room or end - begin != count * width:
            raise FormatError(
                f"{self.path}: the tensor `{name}` is not as long as its shape says, or lies beyond the end"
            )

    def __contains__(self, name):
        return name in self.header

    def names(self):
        return sorted(self.header)

    def shape(self, name):
        return tuple(self.header[name]["shape"])

    def mapped(self, name):
        """Returns a tensor as it lies in the file, without reading it; one of bf16 as 16-bit integers."""
        np = needed("numpy")
        about = self.header[name]
        shape = tuple(about["shape"])
        kind = np.dtype(TYPES[about["dtype"]])
        if 0 in shape:
            return np.zeros(shape, kind)
        place = self.start + about["data_offsets"][0]
        # An offset need not be a multiple of the size of a number.
        raw = np.memmap(self.path, np.uint8, "r", place, (about["data_offsets"][1] - about["data_offsets"][0],))
        return raw.view(kind).reshape(shape) if place % kind.itemsize == 0 else raw.copy().view(kind).reshape(shape)

    def is_bf16(self, name):
        return self.header[name]["dtype"] == "BF16"

    def floats(self, name):
        """Returns a tensor in 32-bit floats."""
        return as_floats(self.mapped(name), self.is_bf16(name))


def as_floats(numbers, is_bf16):
    """Returns numbers in 32-bit floats; a bf16 number is the upper half of one."""
    np = needed("numpy")
    if is_bf16:
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(numbers, np.float32)
