"""Time of the effects of suppressed sentences by their authors' code for benches/patching.rs: a line with a name and seconds.

Arguments: threads, runs, a folder with a saved model of the shape of Qwen2, `qwen2`, and `sentences.json`, the sentences of a text.
MICROTOME_THOUGHT_ANCHORS names a checkout of github.com/interp-reasoning/thought-anchors at 2a15f77. What it would keep on disk is
computed anew, and its plots and its progress are left out. At that commit it does not run: what it imports and is not there, a progress
bar without an import, a number that is not taken and the count of a tensor are mended here.
"""

import contextlib
import io
import json
import os
import pathlib
import sys
import types

import torch
from authors import package
from timing import seconds
from transformers import AutoTokenizer, Qwen2ForCausalLM

pyplot = types.ModuleType("matplotlib.pyplot")
sys.modules |= {
    "matplotlib": types.SimpleNamespace(pyplot=pyplot),
    "matplotlib.pyplot": pyplot,
    "pkld": types.SimpleNamespace(pkld=lambda work=None, **_: work or (lambda work: work)),
}
source = pathlib.Path(os.environ["MICROTOME_THOUGHT_ANCHORS"]) / "whitebox-analyses"
sys.path.insert(0, str(source))
# The package's own start imports a function that is not there.
package("attention_analysis", source / "attention_analysis")

import pytorch_models.analysis
from attention_analysis import attn_funcs, attn_supp_funcs, logits_funcs

for module in [attn_supp_funcs, logits_funcs]:
    module.tqdm = lambda iterable, **_: iterable
threads, runs, folder = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
torch.set_num_threads(threads)
# Their masks are added to scores that `eager` attention makes.
model = Qwen2ForCausalLM.from_pretrained(folder / "qwen2", dtype=torch.float32, attn_implementation="eager").eval()
tokenizer = AutoTokenizer.from_pretrained(folder / "qwen2")
sentences = json.loads((folder / "sentences.json").read_text())
config = model.config
pytorch_models.analysis.get_deepseek_r1 = lambda *_, **__: (model, tokenizer)
attn_supp_funcs.get_problem_text_sentences = lambda *_: (" ".join(sentences), sentences)
attn_supp_funcs.model2layers_heads = lambda _: (config.num_hidden_layers, config.num_attention_heads)
extracted = pytorch_models.analysis.extract_attention_and_logits


def in_arrays(*given, **named):
    # What follows counts numbers as those of NumPy.
    found = extracted(*given, **named)
    found["attention_weights"] = {layer: weights.numpy() for layer, weights in found["attention_weights"].items()}
    return found


pytorch_models.analysis.extract_attention_and_logits = in_arrays
divergence = attn_supp_funcs.calculate_kl_divergence_sparse
attn_supp_funcs.calculate_kl_divergence_sparse = lambda *given, epsilon, **named: divergence(*given, **named)
for module in [attn_funcs, attn_supp_funcs]:
    module.get_raw_tokens = lambda text, _: tokenizer.encode(text)


def suppressed():
    with contextlib.redirect_stdout(io.StringIO()):
        found = attn_supp_funcs.get_suppression_KL_matrix(0)
    assert found is not None and found.shape == (len(sentences), len(sentences))


print("sentences", seconds(runs, suppressed))
