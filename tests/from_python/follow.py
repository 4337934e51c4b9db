"""Runs the blocks of a library on docs/from-python.md as one script, and compares what they bind with values of ours.

    python follow.py blocks.json LIBRARY FIXTURES

runs in the folder where the lines of ours ran. Each block is at its lines of the page, so that an error names these. Prints a line
for each value: the first line of its block, its name, and the largest difference, of the largest absolute value of ours.
"""

import json
import pathlib
import shutil
import sys
import warnings

import numpy as np
import torch

TOLERANCE = 1e-4

# What stands in for what only the hub has, or for what takes long.
STAND_INS = {
    "sae_lens": {"d_in=512, d_sae=4096": "d_in=192, d_sae=384", "2_000_000": "8_192"},
    "circuit_tracer": {'"google/gemma-2-2b", "gemma"': '"gpt2", "local/transcoders"'},
}

# Folders of fixtures, and the names under which the blocks open them.
FOLDERS = {
    "dictionary_learning": {
        "saes/dictionary_learning-AutoEncoderTopK": "tests/fixtures/saes/dictionary_learning-AutoEncoderTopK",
    },
    "circuit_tracer": {"graphs/gpt2-relu/model": "gpt2", "graphs/gpt2-relu/transcoder": "local/transcoders"},
}

# What HookedTransformer reads in the config of a model, and transformers does without.
READ = {
    "sae_lens": ("EleutherAI/pythia-70m", {"architectures": ["GPTNeoXForCausalLM"]}),
    "circuit_tracer": ("gpt2", {"n_ctx": 64}),
}


def prepare(library, fixtures):
    for fixture, name in FOLDERS.get(library, {}).items():
        shutil.copytree(fixtures / fixture, name)
    if library in READ:
        model, more = READ[library]
        config = pathlib.Path(model) / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | more))
    if library == "sae_lens":
        texts = pathlib.Path("monology/pile-uncopyrighted")
        texts.mkdir(parents=True)
        text = "The committee (which had met in March) was older than the Eastern Music Fund. " * 20
        (texts / "train.jsonl").write_text(f"{json.dumps({'text': text})}\n" * 200)
    if library == "circuit_tracer":
        # It takes transcoders from the hub alone; this hub is the folder.
        import huggingface_hub

        huggingface_hub.hf_hub_download = lambda repo_id, filename, **_: str(pathlib.Path(repo_id) / filename)
        huggingface_hub.snapshot_download = lambda repo_id, *_, **__: repo_id


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().float().numpy()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def is_words(value):
    return isinstance(value, str) or isinstance(value, list) and any(is_words(item) for item in value)


def compare(line, values, found):
    for name, ours in values.items():
        theirs = plain(found[name])
        if is_words(ours) or is_words(theirs):
            assert ours == theirs, f"line {line}: {name} is {ours} here, {theirs} there"
            print(f"line {line} {name} same words")
            continue
        ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
        assert ours.shape == theirs.shape, f"line {line}: {name} has the shape {ours.shape} here, {theirs.shape} there"
        # Not a number is the mark of what a mask leaves out, on both sides or on none.
        difference = np.abs(ours - theirs)[np.isfinite(ours) | np.isfinite(theirs)]
        worst = difference.max(initial=0.0) / max(np.abs(ours[np.isfinite(ours)]).max(initial=0.0), 1e-30)
        assert worst <= TOLERANCE, f"line {line}: {name} differs by {worst:.1e}"
        print(f"line {line} {name} {worst:.1e}")


def main(blocks, library, fixtures):
    blocks = [block for block in json.loads(pathlib.Path(blocks).read_text()) if block["library"] == library]
    page = "".join(block["code"] for block in blocks)
    assert all(published in page for published in STAND_INS.get(library, {})), "a stand-in is for nothing on the page"
    lines = []
    for index, block in enumerate(blocks):
        code = block["code"]
        for published, stand_in in STAND_INS.get(library, {}).items():
            code = code.replace(published, stand_in)
        lines += [""] * (block["first"] - 1 - len(lines)) + code.splitlines() + [f"_compare({index})"]
    script = pathlib.Path(f"{library}.py").resolve()
    script.write_text("\n".join(lines) + "\n")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    prepare(library, pathlib.Path(fixtures))
    found = {"__name__": "__main__", "__file__": str(script)}
    found["_compare"] = lambda index: compare(blocks[index]["first"], blocks[index]["values"], found)
    exec(compile(script.read_text(), script, "exec"), found)


main(*sys.argv[1:])
