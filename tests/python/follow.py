"""Follows a page line by line in an empty folder: writes its scripts, types its commands, and runs its lines of Python.

    python follow.py PAGE

A block of rhai that begins with the comment `// NAME.rhai` is written to that file. A block of console has commands behind `$ `, and
below each what it prints. What a line of Python comes to stands behind `# =>`: its value, or the first line of what it prints.
"""

import ast
import contextlib
import io
import pathlib
import re
import subprocess
import sys


def blocks(page):
    """Yields each fenced block of a page: its language, the number of its first line, and its lines."""
    found = None
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("```"):
            if found:
                found[2].append(line)
        elif found:
            yield found
            found = None
        else:
            found = (line[3:].split(" ")[0], number + 1, [])


def write(lines):
    name = re.fullmatch(r"// (\w+\.rhai)", lines[0])
    if name:
        pathlib.Path(name[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")


def type_in(start, lines):
    commands = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    for at, end in zip(commands, [*commands[1:], len(lines)]):
        done = subprocess.run(lines[at][2:], shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        said = done.stdout.decode(errors="replace").splitlines()
        assert said == lines[at + 1 : end], (
            f"line {start + at}: {lines[at]}\n  expected {lines[at + 1 : end]}\n  found {said}"
        )


def evaluate(start, lines, names):
    text = "\n".join(lines)
    for statement in ast.parse(text).body:
        code = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        _, mark, expected = lines[statement.end_lineno - 1].partition("  # => ")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if isinstance(statement, ast.Expr):
                value = eval(
                    compile(ast.Expression(statement.value), f"line {start + statement.lineno - 1}", "eval"), names
                )
                found = None if value is None else repr(value)
            else:
                exec(compile(code, f"line {start + statement.lineno - 1}", "exec"), names)
                found = None
        found = found if found is not None else (printed.getvalue().splitlines() or [""])[0]
        assert not mark or found == expected, (
            f"line {start + statement.lineno - 1}: {code}\n  expected {expected}\n  found {found}"
        )


def main():
    page = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    names = {}
    count = 0
    for language, start, lines in blocks(page):
        if language == "rhai":
            write(lines)
        elif language == "console":
            type_in(start, lines)
        elif language == "python":
            evaluate(start, lines, names)
        else:
            raise AssertionError(f"line {start}: a block of {language}")
        count += 1
    assert count > 3, f"{sys.argv[1]}: only {count} blocks"
    print("followed")


main()
