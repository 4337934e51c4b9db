"""Writes the table of published dictionaries, names.txt, from SAELens' own.

    pip download --no-deps sae-lens
    python refresh.py sae_lens-VERSION-py3-none-any.whl

Needs PyYAML. The grammar of the table is in table.rs. What is written is expanded again and compared with SAELens' table before
the file is replaced.
"""

import itertools
import pathlib
import re
import sys
import zipfile

import yaml

TOKEN = re.compile(r"\d+|[A-Za-z]+")
PLAIN = "saelens"


def template(rows):
    """Returns the templates of a group of texts with equal punctuation, and for each row the values of their slots."""
    texts = [[TOKEN.findall(text) for text in row] for row in rows]
    columns = list(zip(*[list(itertools.chain(*text)) for text in texts]))
    slots, place = [], []
    for column in columns:
        if len(set(column)) == 1:
            place.append(column[0])
        else:
            if column not in slots:
                slots.append(column)
            place.append("{" + "abcdefghijklmnop"[slots.index(column)] + "}")
    parts = iter(place)
    templates = [TOKEN.sub(lambda _: next(parts), text) for text in rows[0]]
    return templates, list(zip(*slots)) if slots else [() for _ in rows]


def merged(tuples):
    """Returns products of sets whose union is a set of tuples, few of them."""
    best = None
    for order in itertools.permutations(range(len(tuples[0]))):
        products = [tuple((value,) for value in values) for values in tuples]
        for axis in order:
            groups = {}
            for product in products:
                key = product[:axis] + product[axis + 1 :]
                groups.setdefault(key, []).extend(product[axis])
            products = [key[:axis] + (tuple(values),) + key[axis:] for key, values in groups.items()]
        written = " ".join(":".join(listed(values) for values in product) for product in products)
        if best is None or len(written) < len(best):
            best = written
    return best


def listed(values):
    """Writes values with runs of numbers as ranges."""
    numbers = sorted(int(value) for value in values if value.isdigit() and str(int(value)) == value)
    words = sorted(value for value in values if not (value.isdigit() and str(int(value)) == value))
    runs = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join([str(a) if a == b else f"{a}-{b}" for a, b in runs] + words)


def lines(mark, rows):
    """Returns the lines of pairs of texts."""
    groups = {}
    for row in sorted(set(rows)):
        shape = tuple(TOKEN.sub(lambda found: "0" if found[0].isdigit() else "a", text) for text in row)
        groups.setdefault(shape, []).append(row)
    for group in groups.values():
        (key, value), tuples = template(group)
        value = "=" if value == key else value
        products = merged(sorted(set(tuples))) if tuples[0] else ""
        yield f"{mark} {key} {value} {products}".rstrip()


def table(saelens, version):
    """Returns the text of the table."""
    found = [f"# Published dictionaries, by the table of sae-lens {version}. Written by refresh.py; table.rs has the grammar."]
    for name, release in sorted(saelens.items()):
        layout = release.get("conversion_func") or PLAIN
        scaling = release.get("config_overrides", {}).get("normalize_activations")
        found.append(f"> {name} {release['repo_id']} {layout} {release['model']}" + (f" {scaling}" if scaling else ""))
        saes = [(sae["id"], str(sae["path"])) for sae in release["saes"]]
        found.extend(lines("-", saes))
        found.extend(lines("@", [(sae["neuronpedia"], sae["id"]) for sae in release["saes"] if "neuronpedia" in sae]))
    return "\n".join(found) + "\n"


def expanded(text):
    """Reads a table as table.rs does: ids and Neuronpedia's names of each release."""
    found = {}
    for line in text.splitlines()[1:]:
        mark, *words = line.split(" ")
        if mark == ">":
            current = found[words[0]] = {"-": {}, "@": {}}
            continue
        key, value, *products = words
        value = key if value == "=" else value
        for product in products or [""]:
            axes = [list(values(part)) for part in product.split(":")] if product else []
            for choice in itertools.product(*axes):
                fill = lambda template: re.sub(r"\{(.)\}", lambda slot: choice[ord(slot[1]) - ord("a")], template)
                assert current[mark].setdefault(fill(key), fill(value)) == fill(value), line
    return found


def values(part):
    """Yields the values that a list with ranges stands for."""
    for one in part.split(","):
        ends = one.split("-")
        yield from [one] if len(ends) == 1 else map(str, range(int(ends[0]), int(ends[1]) + 1))


def main():
    wheel = pathlib.Path(sys.argv[1])
    saelens = yaml.safe_load(zipfile.ZipFile(wheel).read("sae_lens/pretrained_saes.yaml"))
    text = table(saelens, wheel.name.split("-")[1])
    found = expanded(text)
    for name, release in saelens.items():
        assert found[name]["-"] == {sae["id"]: str(sae["path"]) for sae in release["saes"]}, name
        known = {sae["neuronpedia"]: sae["id"] for sae in release["saes"] if "neuronpedia" in sae}
        assert found[name]["@"] == known, name
    (pathlib.Path(__file__).parent / "names.txt").write_text(text)
    print(f"{len(found)} releases, {sum(len(release['-']) for release in found.values())} dictionaries, "
          f"{sum(len(release['@']) for release in found.values())} names of Neuronpedia, {len(text)} bytes")


main()
