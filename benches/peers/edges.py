"""Times of edges by TransformerLens' hooks for benches/edges.rs: a line with a name and seconds for each.

Arguments: threads, runs, and a folder with the model `neox` as transformers loads it and `pair.json`, the ids of both prompts and
of both answers. Writes scores by the names of edges into `peer.json`. For TransformerLens below 4.
"""

import json
import os
import statistics
import sys
import time

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights
from transformers import AutoModelForCausalLM

threads, runs, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)

config = HookedTransformerConfig(
    n_layers=6, d_model=512, n_ctx=2048, d_head=64, n_heads=8, d_mlp=2048, d_vocab=50304, act_fn="gelu", eps=1e-5,
    normalization_type="LN", positional_embedding_type="rotary", rotary_dim=16, rotary_adjacent_pairs=False,
    parallel_attn_mlp=True, device="cpu", seed=0,
)
loaded = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "neox"), dtype=torch.float32)
model = HookedTransformer(config)
model.load_state_dict(convert_neox_weights(loaded, config), strict=False)
model.eval()
model.set_use_split_qkv_input(True)
model.set_use_attn_result(True)
# In a parallel block the MLP reads what attention reads, and needs an input of its own.
model.set_use_hook_mlp_in(True)

with open(os.path.join(folder, "pair.json")) as file:
    pair = json.load(file)
clean, corrupt = torch.tensor([pair["clean"]]), torch.tensor([pair["corrupt"]])
answer, wrong = pair["answer"], pair["wrong"]
layers, heads = config.n_layers, config.n_heads

# Senders in order, each with its hook and head; and for every receiver how many of them come before it.
senders = [("input", "hook_embed", None)]
receivers = []
for layer in range(layers):
    before = len(senders)
    for port in "qkv":
        receivers += [(f"a{layer}.h{head}<{port}>", f"blocks.{layer}.hook_{port}_input", head, before) for head in range(heads)]
    receivers.append((f"m{layer}", f"blocks.{layer}.hook_mlp_in", None, before))
    senders += [(f"a{layer}.h{head}", f"blocks.{layer}.attn.hook_result", head) for head in range(heads)]
    senders.append((f"m{layer}", f"blocks.{layer}.hook_mlp_out", None))
receivers.append(("logits", f"blocks.{layers - 1}.hook_resid_post", None, len(senders)))


def metric(logits):
    return logits[0, -1, answer] - logits[0, -1, wrong]


def seconds(work, runs):
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), found


def at(x, head):
    return x if head is None else x[:, :, head]


def written(tokens):
    with torch.inference_mode():
        _, cache = model.run_with_cache(tokens, names_filter=lambda name: name in {hook for _, hook, _ in senders})
    return torch.stack([at(cache[hook], head) for _, hook, head in senders])


def eap():
    """One corrupt forward pass, one clean one with its backward pass, and a contraction of both."""
    other, kept, gradients = written(corrupt), {}, {}
    hooks = [(hook, lambda x, hook: kept.__setitem__(hook.name, x.detach())) for hook in {hook for _, hook, _ in senders}]
    names = {hook for _, hook, _, _ in receivers}
    back = [(hook, lambda x, hook: gradients.__setitem__(hook.name, x.detach())) for hook in names]
    with model.hooks(fwd_hooks=hooks, bwd_hooks=back):
        metric(model(clean)).backward()
    own = torch.stack([at(kept[hook], head) for _, hook, head in senders])
    shift, found = other - own, {}
    for receiver, hook, head, before in receivers:
        scores = torch.einsum("sbtd,btd->s", shift[:before], at(gradients[hook], head))
        found |= {f"{senders[number][0]}->{receiver}": score for number, score in enumerate(scores.tolist())}
    model.zero_grad()
    return found


# Every hundredth edge, the same forward pass for each.
some = [(number, receiver) for receiver in receivers for number in range(receiver[3])][::100]


def exact():
    found = {}
    with torch.inference_mode():
        shift = written(corrupt) - written(clean)
        before_all = metric(model(clean)).item()
        for number, (receiver, hook, head, _) in some:
            def cut(x, hook, head=head, number=number):
                if head is None:
                    return x + shift[number]
                x[:, :, head] += shift[number]
                return x
            value = metric(model.run_with_hooks(clean, fwd_hooks=[(hook, cut)])).item()
            found[f"{senders[number][0]}->{receiver}"] = value - before_all
    return found


model.requires_grad_(False)
model.embed.W_E.requires_grad_(True)
eap()
time_taken, by_gradient = seconds(eap, max(runs, 5))
print("eap", time_taken)
edges = sum(before for *_, before in receivers)
time_taken, one_by_one = seconds(exact, runs)
print("exact", time_taken * edges / len(some))
with open(os.path.join(folder, "peer.json"), "w") as file:
    json.dump({"eap": by_gradient, "exact": one_by_one}, file)
