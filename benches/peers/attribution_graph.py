"""The time of circuit-tracer's attribution for benches/attribution_graph.rs: a line with a name and seconds for each.

Arguments: threads, a folder, and how many features are computed. In the folder are the model `neox` as transformers loads it,
`transcoders` in circuit-tracer's layout, and `prompt.json`, the ids of the prompt. Writes the graph into `peer.safetensors`.
"""

import json
import os
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from circuit_tracer.attribution.attribute import attribute
from circuit_tracer.graph import prune_graph
from circuit_tracer.replacement_model.replacement_model_transformerlens import TransformerLensReplacementModel
from circuit_tracer.transcoder.single_layer_transcoder import load_transcoder_set
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

threads, folder, nodes = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
VOCABULARY = 50304

with tempfile.TemporaryDirectory() as place:
    # It wants a tokenizer, if only to name tokens; the first token begins texts.
    words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(VOCABULARY)}, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="t0", eos_token="t0").save_pretrained(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    config = HookedTransformerConfig(
        n_layers=6, d_model=512, n_ctx=2048, d_head=64, n_heads=8, d_mlp=2048, d_vocab=VOCABULARY, act_fn="gelu", eps=1e-5,
        normalization_type="LN", positional_embedding_type="rotary", rotary_dim=16, rotary_adjacent_pairs=False,
        parallel_attn_mlp=True, device="cpu", seed=0, model_name="neox", tokenizer_name=place, default_prepend_bos=False,
    )
    loaded = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "neox"), torch_dtype=torch.float32)
    transcoders = load_transcoder_set(
        {layer: os.path.join(folder, "transcoders", f"layer_{layer}.safetensors") for layer in range(config.n_layers)},
        feature_input_hook="mlp.hook_in", feature_output_hook="hook_mlp_out", scan="random",
        dtype=torch.float32, device=torch.device("cpu"), lazy_encoder=False, lazy_decoder=True,
    )
    model = TransformerLensReplacementModel(config, tokenizer=tokenizer)
    model.load_and_process_state_dict(
        convert_neox_weights(loaded, config), fold_ln=False, center_writing_weights=False, center_unembed=False,
        fold_value_biases=False,
    )
    model._configure_replacement_model(transcoders)
    model.eval()

with open(os.path.join(folder, "prompt.json")) as file:
    prompt = torch.tensor(json.load(file))
begin = time.perf_counter()
graph = attribute(prompt, model, max_feature_nodes=nodes, batch_size=256, update_interval=4)
print("graph", time.perf_counter() - begin)
begin = time.perf_counter()
prune_graph(graph)
print("prune", time.perf_counter() - begin)
features = graph.active_features[graph.selected_features].to(torch.int64).contiguous()
save_file({"features": features, "adjacency": graph.adjacency_matrix.float().contiguous()}, os.path.join(folder, "peer.safetensors"))
