"""Dictionaries: encoding and decoding with numpy what ``s.save("folder")`` wrote."""

import json
from pathlib import Path

from ._errors import FormatError
from ._files import Tensors
from ._needs import needed

#: The kind of file, as its metadata has it.
VERSION = "microtome dictionary, 1"

#: The tensors of each activation function that has some.
NEEDS = {
    "jumprelu": ("threshold",),
    "gated": ("gate", "magnitude", "log_scale"),
    "soft_topk": ("k_encoder", "k_bias", "k_weight", "k_logit"),
}

#: What is added to the standard deviation by which an activation is divided.
EPSILON = 1e-5


class Dictionary:
    """A dictionary in memory, in 32-bit floats: ``encoder`` and ``decoder`` have one row for each feature.

    Any other format is converted by the program: ``sae::load("release/id").save("folder")``.
    """

    def __init__(self, place):
        np = needed("numpy")
        place = Path(place)
        self.path = place / "dictionary.safetensors" if place.is_dir() else place
        tensors = Tensors(self.path)
        try:
            said = json.loads(tensors.metadata["dictionary"])
        except (KeyError, TypeError, ValueError):
            raise FormatError(f"{self.path}: expected a dictionary that microtome saved, found another file") from None
        if not isinstance(said, dict) or said.get("version") != VERSION:
            found = said.get("version") if isinstance(said, dict) else said
            raise FormatError(f"{self.path}: expected the version `{VERSION}`, found {found!r}")
        self.activation = said.get("activation")
        self.k = said.get("k")
        self.centred = said.get("centred", False)
        self.rescaled = said.get("rescaled", False)
        self.scaling = said.get("scaling", "none")
        self.about = said.get("about", {})
        self.parts = {name: tensors.floats(name) for name in tensors.names()}
        needs = ["encoder", "decoder", *NEEDS.get(self.activation, ()), *(["decoder_bias"] if self.centred else [])]
        missing = [name for name in needs if name not in self.parts]
        if missing:
            raise FormatError(f"{self.path}: expected a tensor `{missing[0]}`, found none")
        if self.activation in ("topk", "soft_topk", "matching_pursuit") and not isinstance(self.k, int):
            raise FormatError(f"{self.path}: expected `k`, the number of features that are kept, found {self.k!r}")
        self.encoder = self.parts["encoder"]
        self.decoder = self.parts["decoder"]
        self.d_sae, self.d_in = self.encoder.shape
        # Codes in units of what they write are selected in these units, too.
        self._norms = np.linalg.norm(self.decoder, axis=1) if self.rescaled else None

    @property
    def kind(self):
        return self.about.get("kind")

    @property
    def sites(self):
        return self.about.get("sites", [])

    def encode(self, x):
        """Returns the codes of activations ``[.., d_in]``: ``[.., d_sae]``."""
        np = needed("numpy")
        x = self._given(x)
        offset, divisor, _ = self._normalisation(x)
        x = (x - offset) / divisor
        if self.centred:
            x = x - self.parts["decoder_bias"]
        if self.activation == "matching_pursuit":
            return self._pursued(x)
        pre = x @ self.encoder.T
        if "encoder_bias" in self.parts:
            pre = pre + self.parts["encoder_bias"]
        if self.rescaled:
            pre = pre * self._norms
        relu = np.maximum(pre, 0)
        if self.activation == "relu":
            return relu
        if self.activation == "topk":
            return _largest(relu, relu, self.k)
        if self.activation == "soft_topk":
            hidden = np.maximum(x @ self.parts["k_encoder"].T + self.parts["k_bias"], 0)
            logit = hidden @ self.parts["k_weight"] + self.parts["k_logit"]
            ks = np.maximum(self.k / (1 + np.exp(-logit)), 1)
            return np.where(_ranks(relu) < np.floor(ks)[..., None], relu, np.float32(0))
        if self.activation == "jumprelu":
            return np.where(pre > self.parts["threshold"], relu, np.float32(0))
        if self.activation == "gated":
            size = np.maximum(pre * np.exp(self.parts["log_scale"]) + self.parts["magnitude"], 0)
            return np.where(pre + self.parts["gate"] > 0, size, np.float32(0))
        if self.activation == "linear":
            return pre if self.k is None else _largest(pre, np.abs(pre), self.k)
        raise NotImplementedError(
            f"codes of the activation function `{self.activation}` are computed by the program alone"
        )

    def decode(self, codes, x=None):
        """Returns what codes ``[.., d_sae]`` reconstruct.

        ``x`` is what was encoded: a dictionary that normalises each activation, or has a skip connection, needs it.
        """
        np = needed("numpy")
        codes = np.asarray(codes, np.float32)
        if self.rescaled:
            codes = codes / np.maximum(self._norms, np.finfo(np.float32).tiny)
        found = codes @ self.decoder
        if "decoder_bias" in self.parts:
            found = found + self.parts["decoder_bias"]
        if self.scaling == "none" and "skip" not in self.parts:
            return found
        if x is None:
            raise ValueError("expected the activations that were encoded as `x`: this dictionary reads them again")
        x = self._given(x)
        offset, divisor, factor = self._normalisation(x)
        if "skip" in self.parts:
            found = found + ((x - offset) / divisor) @ self.parts["skip"].T
        return found * factor + offset

    def reconstruct(self, x):
        """Returns what the dictionary makes of activations."""
        return self.decode(self.encode(x), x)

    def code_table(self, x):
        """Returns the codes that are not 0 as a ``pyarrow.Table`` of rows, features and values."""
        np = needed("numpy")
        codes = self.encode(x).reshape(-1, self.d_sae)
        rows, features = np.nonzero(codes)
        return needed("pyarrow").table({"row": rows, "feature": features, "code": codes[rows, features]})

    def _given(self, x):
        np = needed("numpy")
        x = np.asarray(x, np.float32)
        if x.ndim == 0 or x.shape[-1] != self.d_in:
            raise ValueError(f"expected activations of width {self.d_in}, found the shape {list(x.shape)}")
        return x

    def _normalisation(self, x):
        """Returns what is subtracted from each activation, what it is divided by, and the factor of the inverse."""
        np = needed("numpy")
        if self.scaling == "none":
            return np.float32(0), np.float32(1), np.float32(1)
        if self.scaling == "constant_norm":
            norm = np.linalg.norm(x, axis=-1, keepdims=True) / np.sqrt(np.float32(self.d_in))
            return np.float32(0), norm, norm
        if self.scaling == "layer_norm":
            spread = x.std(axis=-1, keepdims=True, ddof=1)
            return x.mean(axis=-1, keepdims=True), spread + np.float32(EPSILON), spread
        raise FormatError(f"{self.path}: expected a known `scaling`, found {self.scaling!r}")

    def _pursued(self, x):
        """Returns codes of k steps, each of the direction that says most of what the steps before have left."""
        np = needed("numpy")
        left = x.reshape(-1, self.d_in).copy()
        codes = np.zeros((len(left), self.d_sae), np.float32)
        each = np.arange(len(left))
        for _ in range(self.k):
            scores = left @ self.decoder.T
            best = scores.argmax(axis=1)
            value = np.maximum(scores[each, best], 0)
            codes[each, best] += value
            left -= value[:, None] * self.decoder[best]
        return codes.reshape(*x.shape[:-1], self.d_sae)

    def __repr__(self):
        return f"Dictionary({self.kind!r}, {self.d_sae} features of width {self.d_in})"


def _ranks(sizes):
    """Returns the place of each number in its row, the largest at 0; of equal ones the first comes before."""
    np = needed("numpy")
    return np.argsort(np.argsort(-sizes, axis=-1, kind="stable"), axis=-1, kind="stable")


def _largest(codes, sizes, k):
    """Returns the codes whose sizes are the k largest of each row; of equal ones the first."""
    np = needed("numpy")
    order = np.argsort(-sizes, axis=-1, kind="stable")[..., :k]
    kept = np.zeros_like(codes)
    np.put_along_axis(kept, order, np.take_along_axis(codes, order, -1), -1)
    return kept
