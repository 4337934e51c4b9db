"""Parameters of notebooks for papermill: ``papermill in.ipynb out.ipynb -p seed 3`` defines ``seed`` behind the cell whose tag
is ``parameters``.

papermill has no entry point for languages. It loads its engines when it is imported, so the wheel names one of this module,
which is papermill's own engine under another name; what counts is that the language is registered by then.
"""

import math
import re

from papermill.engines import NBClientEngine as Engine
from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

__all__ = ["Engine", "Rhai"]

_DEFINITION = re.compile(r"^\s*let\s+(?P<name>\w+)\s*=\s*(?P<value>.*?)\s*;\s*(//\s*(?P<help>.*?)\s*)?$")


class Rhai(Translator):
    """Python's values as Rhai's."""

    @classmethod
    def translate_none(cls, val):
        return "()"

    @classmethod
    def translate_int(cls, val):
        if not -(2**63) <= val < 2**63:
            raise OverflowError(f"expected an integer of 64 bits, found {val}")
        return str(val)

    @classmethod
    def translate_float(cls, val):
        if math.isfinite(val):
            return repr(val)
        if math.isnan(val):
            return "0.0 / 0.0"
        return "1.0 / 0.0" if val > 0 else "-1.0 / 0.0"

    @classmethod
    def translate_list(cls, val):
        return f"[{', '.join(map(cls.translate, val))}]"

    @classmethod
    def translate_dict(cls, val):
        fields = (f"{cls.translate_str(str(name))}: {cls.translate(value)}" for name, value in val.items())
        return f"#{{ {', '.join(fields)} }}"

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}"

    @classmethod
    def assign(cls, name, str_val):
        return f"let {name} = {str_val};"

    @classmethod
    def inspect(cls, parameters_cell):
        """Lists the parameters of a cell, one ``let`` to a line, with the comment behind it as what it means."""
        found = map(_DEFINITION.match, parameters_cell["source"].splitlines())
        return [Parameter(one["name"], "None", one["value"], one["help"] or "") for one in found if one]


papermill_translators.register("rhai", Rhai)
