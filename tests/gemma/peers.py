"""What transformers and llama.cpp compute of Gemma 3 270M, for tests/gemma.rs, written into the model's folder.

    python peers.py FOLDER TEXTS

FOLDER has `gemma-3-270m-q4_k_m.gguf`, its weights in f32 as a folder `hf` that transformers loads, and `reference.safetensors`
with the tokens of some texts (`ids0`, ..), transformers' logits for them (`logits0`, ..) and its hidden states (`h0.0`, ..).
TEXTS is a folder of texts, .txt or .md. `peers.safetensors` gets llama.cpp's logits for the same tokens (`llama0`, ..), those of
the file rewritten in f32 (`plain0`, ..), its greedy continuation by 64 tokens (`greedy0`, ..), and of transformers the
continuation of another text by 30 tokens (`capital`) and the hidden states (`long.0`, ..) of one that is longer than a window
(`long`). `texts.json` gets 2,000 pieces of the texts with the tokens that each of the two gives them. Needs
torch, transformers, gguf, llama-cpp-python.
"""

import json
import pathlib
import random
import sys

import torch
from gguf import GGUFReader, GGUFValueType, GGUFWriter, dequantize
from llama_cpp import Llama
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

FILE, NEW, OTHER_NEW, TEXTS, LONGEST, LONG = "gemma-3-270m-q4_k_m.gguf", 64, 30, 2000, 1200, 700
folder, corpora = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder / "hf")


def opened(file):
    return Llama(str(folder / file), n_ctx=256, logits_all=True, verbose=False)


def in_f32(file):
    """The model with all its weights as numbers, in another file."""
    read, made = GGUFReader(folder / FILE), GGUFWriter(str(folder / file), "gemma3")
    for field in read.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            made.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in read.tensors:
        made.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type))
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()
    return file


def logits(model, ids):
    model.reset()
    model.eval(ids)
    return torch.tensor(model.scores[: len(ids)]).contiguous()


def greedy(ids):
    """The text and its continuation by the most likely tokens, the end of the text among them."""
    llama.reset()
    llama.eval(ids)
    for _ in range(NEW):
        best = int(llama.scores[len(ids) - 1].argmax())
        ids = ids + [best]
        llama.eval([best])
    return ids


def pieces():
    """Pieces of all texts, drawn by a seed, that begin and end where a line does or anywhere."""
    random.seed(0)
    files = sorted(path for path in corpora.rglob("*") if path.suffix in (".txt", ".md"))
    whole = [path.read_text(encoding="utf-8", errors="strict") for path in files]
    for turn in range(TEXTS):
        text = random.choice(whole)
        start = random.randrange(len(text))
        if turn % 2:
            start = text.rfind("\n", 0, start) + 1
        yield text[start : start + random.randrange(1, LONGEST)]


found = {}
reference = load_file(folder / "reference.safetensors")
llama, plain = opened(FILE), opened(in_f32("f32.gguf"))
for n in range(sum(name.startswith("ids") for name in reference)):
    ids = reference[f"ids{n}"][0].tolist()
    found[f"llama{n}"], found[f"plain{n}"] = logits(llama, ids), logits(plain, ids)
    found[f"greedy{n}"] = torch.tensor(greedy(ids))
del plain
model = AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32).eval()
ids = tokenizer("The capital of France is", return_tensors="pt")
found["capital"] = model.generate(**ids, max_new_tokens=OTHER_NEW, do_sample=False)[0]
longest = max(corpora.rglob("*.md"), key=lambda path: path.stat().st_size).read_text(encoding="utf-8")[: 8 * LONG]
found["long"] = tokenizer(longest, return_tensors="pt").input_ids[:, :LONG]
with torch.no_grad():
    hidden = model(found["long"], output_hidden_states=True, logits_to_keep=1).hidden_states
found.update((f"long.{layer}", h.contiguous()) for layer, h in enumerate(hidden))
save_file(found, folder / "peers.safetensors")

texts = []
for text in pieces():
    theirs = llama.tokenize(text.encode(), add_bos=True, special=False)
    texts.append({"text": text, "llama": theirs, "transformers": tokenizer(text).input_ids})
(folder / "texts.json").write_text(json.dumps(texts))
differ = sum(text["llama"] != text["transformers"] for text in texts)
print(f"{len(texts)} texts, {sum(len(text['llama']) for text in texts)} tokens of llama.cpp, {differ} texts differ")
