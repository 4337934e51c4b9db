"""Notebooks by nbclient, and the first by papermill: all cells run, none fails, and values have the forms that clients draw."""

import sys
import time

import nbformat
import papermill
from nbclient import NotebookClient

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
print("run")
