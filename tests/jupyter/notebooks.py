"""Notebooks by nbclient, and the first by papermill: all cells run, none fails, and values have the forms that clients draw.
Then parameters that papermill defines."""

import sys
import time

import nbformat
import papermill
from nbclient import NotebookClient
from nbformat import v4

import microtome.papermill  # The wheel has an entry point that does so.

for number, path in enumerate(sys.argv[1:]):
    begun = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="microtome").execute()
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs and all(output.output_type != "error" for output in outputs), outputs
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "check holds" in printed and "FAILED" not in printed, printed
    forms = {form for output in outputs for form in output.get("data", {})}
    assert {"text/plain", "text/html"} <= forms, forms
    middle = time.monotonic()
    print(path, f"nbclient {middle - begun:.1f} s", file=sys.stderr)
    # It runs cells by nbclient, so that others would show nothing more.
    if number > 0:
        continue
    papermill.execute_notebook(path, "papermill.ipynb", kernel_name="microtome", progress_bar=False, log_output=False)
    again = nbformat.read("papermill.ipynb", as_version=4)
    assert all(output.output_type != "error" for cell in again.cells for output in cell.get("outputs", []))
    print(path, f"papermill {time.monotonic() - middle:.1f} s", file=sys.stderr)

values = {
    "nothing": None,
    "text": 'é "quoted" \\ \n😀',
    "flag": True,
    "count": -(2**63),
    "small": 1e-05,
    "missing": float("nan"),
    "least": float("-inf"),
    "tree": {"a b": [1, 2.5, {"c": []}]},
}
defaults = v4.new_code_cell("let count = 2; // How many.\nlet absent = 7;\nlet s = 1 + 1;", metadata={"tags": ["parameters"]})
shown = v4.new_code_cell("print([type_of(nothing), text, flag, count, small, missing, least, tree, absent])")
kernel = {"name": "microtome", "display_name": "microtome", "language": "rhai"}
nbformat.write(v4.new_notebook(cells=[defaults, shown], metadata={"kernelspec": kernel}), "in.ipynb")
defined = papermill.inspect_notebook("in.ipynb")
assert [(one["name"], one["default"], one["help"]) for one in defined.values()] == [
    ("count", "2", "How many."),
    ("absent", "7", ""),
    ("s", "1 + 1", ""),
], defined
found = papermill.execute_notebook("in.ipynb", "out.ipynb", parameters=values, progress_bar=False)
(printed,) = [output.text for cell in found.cells for output in cell.get("outputs", []) if output.output_type == "stream"]
expected = r'''["()", "é \"quoted\" \\ \n😀", true, -9223372036854775808, 0.00001, NaN, -inf, #{"a b": [1, 2.5, #{"c": []}]}, 7]
'''
assert printed == expected, printed
try:
    papermill.execute_notebook("in.ipynb", "out.ipynb", parameters={"count": 2**63}, progress_bar=False)
    raise AssertionError("an integer of more than 64 bits")
except OverflowError as error:
    assert "64 bits" in str(error), error
print("run")
