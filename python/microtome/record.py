"""Runs: starting a script, and the record that each run leaves."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from ._errors import FormatError, MicrotomeError
from ._files import read_json
from .report import Report
from .table import ENDINGS, read_arrow, read_table

#: The exit code of a run in which a check failed.
CHECK_FAILED = 3


def run(script, arguments=None, *, table=None, out="out", cwd=None, options=()):
    """Runs a script, and returns its record.

    ``arguments`` are the script's own, a map of names and values; ``options`` are the program's, as on its command
    line: ``["--seed", "1"]``. ``table`` names a variable of the script that has a table in the end, which is then
    ``.table`` of the record. A check that failed is in the record; any other error is raised, with what the program said.
    """
    command = [program(), "--quiet", "--out", str(out), *map(str, options), "run"]
    if table is not None:
        command += ["--table", table]
    command += [str(script), "--"]
    for name, value in (arguments or {}).items():
        command += [f"--{name}={_word(value)}"]
    # As bytes: a script may print what is no text.
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode not in (0, CHECK_FAILED):
        said = done.stderr.decode(errors="replace").strip()
        raise MicrotomeError(said or f"microtome ended with the exit code {done.returncode}", done.returncode)
    record = Run(Path(cwd or ".") / out / Path(script).stem)
    if table is not None:
        record.table = read_arrow(done.stdout)
    return record


def program():
    """Returns the path of the program: the one that was installed with this package, or one on the path."""
    name = "microtome.exe" if os.name == "nt" else "microtome"
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise MicrotomeError("expected the program microtome beside this Python or on PATH, found none")
    return found


def _word(value):
    """Returns a value as the command line has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Run:
    """The record of a run: the folder ``out/NAME``, or the file ``run.json`` in it."""

    #: The table that was asked for, of a run that was started here.
    table = None

    def __init__(self, place):
        place = Path(place)
        self.folder = place.parent if place.name == "run.json" else place
        path = self.folder / "run.json"
        self.data = read_json(path, "the record of a run")
        for key in ("version", "script", "arguments", "written", "outcome", "checks_failed"):
            if key not in self.data:
                raise FormatError(f"{path}: expected the record of a run, found no `{key}`")

    @property
    def script(self):
        return self.data["script"]

    @property
    def arguments(self):
        return self.data["arguments"]

    @property
    def outcome(self):
        """``done``, or the message of the error."""
        return self.data["outcome"]

    @property
    def checks(self):
        """The checks as pairs of their words and whether each held."""
        return [(check["words"], check["held"]) for check in self.data.get("checks") or []]

    @property
    def ok(self):
        """Whether the run came to its end and all its checks held."""
        return self.outcome == "done" and self.data["checks_failed"] == 0

    @property
    def printed(self):
        return self.data.get("printed_text")

    @property
    def files(self):
        """The files that the run wrote, by their paths below the output folder."""
        return {name: self.folder.parent / name for name in self.data["written"]}

    def tables(self):
        """Returns the tables that the run saved, by their paths below the output folder; other files of JSON are none."""
        endings = tuple(f".{ending}" for ending in ENDINGS if not ending.startswith("json"))
        return {name: read_table(path) for name, path in self.files.items() if name.endswith(endings)}

    def report(self):
        """Returns the report of the run, if it saved one."""
        pages = [path for name, path in self.files.items() if Path(name).name == "index.html"]
        return Report(pages[0]) if pages else None

    def _repr_html_(self):
        report = self.report()
        return report._repr_html_() if report else None

    def __repr__(self):
        held = sum(held for _, held in self.checks)
        return f"Run({self.script!r}, {self.outcome!r}, {held} of {len(self.checks)} checks held, {self.folder})"
