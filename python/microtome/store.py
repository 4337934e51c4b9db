"""Stores of activations: those that ``data::harvest`` writes, and the way to SAELens and others and back."""

import hashlib
import json
import re
from pathlib import Path

from . import _datasets
from ._errors import FormatError
from ._files import Tensors, as_floats, read_json, write_whole
from ._needs import needed

#: The kind of a manifest.
KIND = "microtome activations, 1"

#: The tensors of a shard beside those of the sites: of each row its token, the row of tokens, and the position in that.
ORIGINS = ("tokens", "rows", "positions")

#: The largest number of rows of which an order is drawn at a time.
WINDOW = 1 << 16


class Store:
    """A store in a folder: ``store["resid_post.3"]`` has its activations, row after row, mapped from the files."""

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / "manifest.json"
        self.manifest = read_json(path, "the manifest of a store of activations")
        if self.manifest.get("kind") != KIND:
            raise FormatError(
                f"{path}: expected a store of activations (`{KIND}`), found {self.manifest.get('kind')!r}"
            )
        try:
            is_complete = self.manifest["complete"]
            self._widths = {site["site"]: site["width"] for site in self.manifest["made"]["sites"]}
            listed = [shard["rows"] for shard in self.manifest["shards"]]
        except (KeyError, TypeError):
            raise FormatError(
                f"{path}: expected the manifest of a store of activations, found one without its fields"
            ) from None
        if not is_complete:
            raise FormatError(f"{self.folder}: this store is not complete: run the same harvest into it again")
        self._shards = []
        for number, rows in enumerate(listed):
            shard = Tensors(self.folder / f"shard-{number:05}.safetensors")
            wanted = {site: (rows, width) for site, width in self._widths.items()}
            wanted.update((name, (rows,)) for name in ORIGINS)
            for name, shape in wanted.items():
                if name not in shard or shard.shape(name) != shape:
                    found = shard.shape(name) if name in shard else "none"
                    raise FormatError(
                        f"{shard.path}: expected `{name}` as {list(shape)}, as the manifest says, found {found}"
                    )
            self._shards.append((rows, shard))

    @property
    def sites(self):
        return list(self._widths)

    @property
    def dtype(self):
        """The type of the numbers in the files; they are read as 32-bit floats."""
        return self.manifest["made"]["dtype"]

    @property
    def model(self):
        return self.manifest["made"]["model"]["origin"]

    def __len__(self):
        return sum(rows for rows, _ in self._shards)

    def width(self, site):
        return self._widths[self._site(site)]

    def statistics(self, site):
        """Returns the count, the mean, the mean square norm and the largest number of a site."""
        return self.manifest["progress"]["statistics"][self.sites.index(self._site(site))]

    def __getitem__(self, site):
        return Rows(self, self._site(site))

    def shards(self, site):
        """Yields the activations of each shard as an array; f32 and f16 are mapped, and read where they are used."""
        site = self._site(site)
        for _, shard in self._shards:
            mapped = shard.mapped(site)
            yield as_floats(mapped, True) if shard.is_bf16(site) else mapped

    def origins(self, name):
        """Returns ``tokens``, ``rows`` or ``positions`` of all rows."""
        np = needed("numpy")
        found = [shard.mapped(name) for _, shard in self._shards]
        return np.concatenate(found) if found else np.zeros(0, np.int32)

    def batches(self, site, size, *, seed=None, epochs=1):
        """Yields batches of rows, ``[size, width]`` in 32-bit floats; what is left at the end is no batch.

        With a ``seed`` the order is drawn: of the shards, and of the rows within 65,536. ``epochs=None`` never ends.
        """
        np = needed("numpy")
        site = self._site(site)
        if size < 1 or size > len(self):
            raise ValueError(f"expected batches of 1 to {len(self)} rows, found {size}")
        draw = None if seed is None else np.random.default_rng(seed)
        epoch = 0
        while epochs is None or epoch < epochs:
            left = np.zeros((0, self.width(site)), np.float32)
            for rows in self._windows(site, draw):
                left = np.concatenate([left, rows])
                whole = len(left) // size * size
                yield from left[:whole].reshape(-1, size, left.shape[1])
                left = left[whole:]
            epoch += 1

    def torch_batches(self, site, size, *, seed=0, epochs=None, device="cpu"):
        """Yields tensors of torch, without an end: what ``trainSAE(data=..)`` of dictionary_learning takes."""
        torch = needed("torch")
        for batch in self.batches(site, size, seed=seed, epochs=epochs):
            yield torch.tensor(batch, device=device)

    def _windows(self, site, draw):
        np = needed("numpy")
        order = range(len(self._shards)) if draw is None else draw.permutation(len(self._shards))
        for number in order:
            rows, shard = self._shards[number]
            mapped = shard.mapped(site)
            starts = np.arange(0, rows, WINDOW)
            for start in starts if draw is None else draw.permutation(starts):
                found = as_floats(mapped[start : start + WINDOW], shard.is_bf16(site))
                yield found if draw is None else found[draw.permutation(len(found))]

    def _site(self, site):
        if site not in self._widths:
            raise KeyError(f"the store does not hold `{site}`: it holds {', '.join(self._widths)}")
        return site

    # What other libraries train from, and theirs here.

    def contexts(self):
        """Returns the tokens as rows, ``[rows, positions]``; all rows must have kept the same positions."""
        np = needed("numpy")
        rows, positions = self.origins("rows"), self.origins("positions")
        width = int((rows == rows[0]).sum()) if len(rows) else 0
        if width == 0 or len(rows) % width:
            raise ValueError(_UNEVEN)
        rows, positions = rows.reshape(-1, width), positions.reshape(-1, width)
        if (rows != rows[:, :1]).any() or (positions != positions[:1]).any() or len(np.unique(rows[:, 0])) != len(rows):
            raise ValueError(_UNEVEN)
        return self.origins("tokens").reshape(-1, width)

    def to_saelens(self, folder, site, *, hook_name=None):
        """Writes one site as the cached activations of SAELens (``cached_activations_path``). Returns the folder.

        They are a data set of Hugging Face with one row for each context, ``[context, width]``, in 32-bit floats.
        ``hook_name`` is the name of TransformerLens unless it is given.
        """
        np = needed("numpy")
        tokens = self.contexts()
        hook_name = hook_name or hook_name_of(self._site(site))
        context, width = tokens.shape[1], self.width(site)
        features = {hook_name: _datasets.matrix(context, width), "token_ids": _datasets.integers("int32", context)}

        def parts():
            held, done = np.zeros((0, width), np.float32), 0
            for rows in self._windows(self._site(site), None):
                held = np.concatenate([held, rows])
                whole = len(held) // context
                if whole:
                    matrices = held[: whole * context].reshape(whole, context, width)
                    yield {hook_name: matrices, "token_ids": tokens[done : done + whole]}
                held, done = held[whole * context :], done + whole

        return _datasets.write(folder, features, parts())

    def to_sparsify(self, path):
        """Writes the tokens as sparsify reads them: it runs the model itself, and stores no activations.

        Returns the path. A name that ends in .bin is that of a file of 16-bit integers for ``MemmapDataset``; any other
        that of a data set of Hugging Face with ``input_ids``.
        """
        np = needed("numpy")
        tokens = self.contexts()
        if Path(path).suffix == ".bin":
            if tokens.max() > np.iinfo(np.uint16).max:
                raise ValueError("expected tokens below 65,536 for a .bin file: write a folder instead")
            return write_whole(path, tokens.astype("<u2").tobytes())
        features = {"input_ids": _datasets.integers("int64", tokens.shape[1])}
        return _datasets.write(path, features, [{"input_ids": tokens.astype(np.int64)}])

    @classmethod
    def from_saelens(cls, cached, folder, *, model="", sites=None):
        """Makes a store of the cached activations of SAELens, which ``data::store`` opens. Returns it.

        ``sites`` maps names of hooks to those of sites; without it the names of TransformerLens become ours.
        """
        np = needed("numpy")
        data = _datasets.read(cached)
        hooks = [name for name, shape in data.shapes.items() if len(shape) == 2]
        if not hooks:
            raise FormatError(
                f"{cached}: expected cached activations of SAELens, found {', '.join(data.shapes) or 'nothing'}"
            )
        names = {hook: (sites or {}).get(hook) or site_of(hook) for hook in hooks}
        context = data.shapes[hooks[0]][0]

        def parts():
            done = 0
            for part in data.parts([*hooks, *(["token_ids"] if "token_ids" in data.shapes else [])]):
                count = len(part[hooks[0]])
                tokens = part.get("token_ids", np.full((count, context), -1, np.int32))
                rows = np.repeat(np.arange(done, done + count, dtype=np.int32), context)
                positions = np.tile(np.arange(context, dtype=np.int32), count)
                done += count
                yield (
                    {names[hook]: part[hook].reshape(count * context, -1) for hook in hooks},
                    tokens.ravel(),
                    rows,
                    positions,
                )

        return cls.write(folder, parts(), context=context, model=model, text=f"the cached activations {cached}")

    @classmethod
    def write(cls, folder, parts, *, context, model="", text="", dtype="f32"):
        """Writes a store, a shard for each part. Returns it.

        A part is a map of sites and their activations, ``[rows, width]``, and the tokens, the rows of tokens and the
        positions of these; ``context`` is the number of tokens of a row. The program knows the model by its name only,
        and so does not refuse another one.
        """
        np = needed("numpy")
        numpy = needed("safetensors.numpy")
        kinds = {"f32": np.float32, "f16": np.float16}
        if dtype not in kinds:
            raise ValueError(f"expected {' or '.join(kinds)} as `dtype`, found {dtype!r}")
        folder = Path(folder)
        if (folder / "manifest.json").exists():
            raise FileExistsError(f"{folder} has a store already")
        shards, moments, hashed, kept, read = [], {}, hashlib.sha256(), 0, 0
        for activations, tokens, rows, positions in parts:
            origins = [np.ascontiguousarray(x, np.int32) for x in (tokens, rows, positions)]
            count = len(origins[0])
            if count == 0:
                continue
            tensors = {site: np.ascontiguousarray(x, kinds[dtype]) for site, x in activations.items()}
            if moments and set(tensors) != set(moments):
                raise ValueError(f"expected the sites {', '.join(moments)} in each part, found {', '.join(tensors)}")
            for site, x in tensors.items():
                if x.ndim != 2 or len(x) != count or any(len(origin) != count for origin in origins):
                    raise ValueError(f"expected {count} rows at `{site}`, found the shape {list(x.shape)}")
                if not np.isfinite(x).all():
                    raise ValueError(f"expected finite activations at `{site}`")
                moments.setdefault(site, Moments(x.shape[1])).take(x)
            tensors.update(zip(ORIGINS, origins))
            content = numpy.save(tensors, {"format": "pt"})
            write_whole(folder / f"shard-{len(shards):05}.safetensors", content)
            shards.append({"rows": count, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
            hashed.update(origins[0].tobytes())
            kept += count
            read = max(read, int(origins[1].max()) + 1)
        if not shards:
            raise ValueError("expected a part with rows, found none")
        made = {
            "by": "microtome in Python",
            "model": {"origin": model, "weights": "", "dtype": dtype, "config": None},
            "sites": [{"site": site, "width": len(of.mean)} for site, of in moments.items()],
            "text": {"name": text},
            "context": context,
            "at_once": 1,
            "keep": {"without_bos": False, "without_first": 0, "without_ids": [], "without_labels": {}},
            "dtype": dtype,
            "shard_rows": max(shard["rows"] for shard in shards),
        }
        statistics = [of.written() for of in moments.values()]
        progress = {"read": read, "kept": kept, "tokens": hashed.hexdigest(), "statistics": statistics}
        manifest = {"kind": KIND, "made": made, "complete": True, "shards": shards, "progress": progress}
        # Written last: before it there is no store.
        write_whole(folder / "manifest.json", (json.dumps(manifest) + "\n").encode())
        return cls(folder)

    def __repr__(self):
        return f"Store({len(self)} rows at {', '.join(self.sites)}, {self.dtype}, of {self.model or 'a model without a name'})"


_UNEVEN = (
    "expected rows of tokens that have kept the same positions, found others: harvest without skipping tokens, "
    "since these libraries store whole contexts"
)


class Rows:
    """The rows of a site: ``rows[i]`` is one, ``rows[a:b]`` several, in 32-bit floats.

    A data set for torch's ``DataLoader``.
    """

    def __init__(self, store, site):
        self.store = store
        self.site = site
        self._mapped = [(rows, shard.mapped(site), shard.is_bf16(site)) for rows, shard in store._shards]

    @property
    def shape(self):
        return (len(self.store), self.store.width(self.site))

    def __len__(self):
        return len(self.store)

    def __getitem__(self, which):
        np = needed("numpy")
        if not isinstance(which, slice):
            place = range(len(self))[which]
            return self._range(place, place + 1)[0]
        start, stop, step = which.indices(len(self))
        if step < 0:
            raise ValueError("expected a slice that goes forward")
        return self._range(start, max(start, stop))[:: step or 1] if len(self) else np.zeros(self.shape, np.float32)

    def _range(self, start, stop):
        np = needed("numpy")
        found, begin = [np.zeros((0, self.shape[1]), np.float32)], 0
        for rows, mapped, is_bf16 in self._mapped:
            part = mapped[max(0, start - begin) : max(0, stop - begin)]
            found.append(as_floats(part, is_bf16))
            begin += rows
        return np.concatenate(found)

    def __array__(self, dtype=None, copy=None):
        return self[:].astype(dtype or "float32")


class Moments:
    """The statistics of a site, part after part."""

    def __init__(self, width):
        np = needed("numpy")
        self.count, self.mean, self.square, self.max = 0, np.zeros(width), 0.0, 0.0

    def take(self, rows):
        np = needed("numpy")
        rows = rows.astype(np.float64)
        self.count += len(rows)
        share = len(rows) / self.count
        self.mean += (rows.mean(0) - self.mean) * share
        self.square += ((rows**2).sum(1).mean() - self.square) * share
        self.max = max(self.max, float(np.abs(rows).max()))

    def written(self):
        return {"count": self.count, "mean": self.mean.tolist(), "mean_square_norm": self.square, "max": self.max}


#: Names of sites, and those that TransformerLens has for them.
HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_post": "mlp.hook_post",
    "z": "attn.hook_z",
}


def hook_name_of(site):
    """Returns the name that TransformerLens has for a site; another name stays as it is."""
    kind, _, layer = site.rpartition(".")
    return f"blocks.{layer}.{HOOKS[kind]}" if kind in HOOKS and layer.isdigit() else site


def site_of(hook_name):
    """Returns the site of a name of TransformerLens; another name stays as it is."""
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook_name)
    kinds = {hook: kind for kind, hook in HOOKS.items()}
    return f"{kinds[found[2]]}.{found[1]}" if found and found[2] in kinds else hook_name
