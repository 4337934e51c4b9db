"""Times of edges by TransformerLens' hooks for benches/edges.rs: a line with a name and seconds for each.

Arguments are those of neox.py. Writes scores by the names of edges into `peer.json`.
"""

import json
import os

import torch
from neox import clean, config, corrupt, folder, metric, model, runs, seconds

model.set_use_split_qkv_input(True)
model.set_use_attn_result(True)
# In a parallel block the MLP reads what attention reads, and needs an input of its own.
model.set_use_hook_mlp_in(True)

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


def at(x, head):
    return x if head is None else x[:, :, head]


def written(tokens):
    with torch.inference_mode():
        _, cache = model.run_with_cache(tokens, names_filter=lambda name: name in {hook for _, hook, _ in senders})
    return torch.stack([at(cache[hook], head) for _, hook, head in senders])


def keep(into, name):
    """A hook that keeps what flows there. The bridge's hooks have other names than it takes, so that the name is said."""
    return name, lambda x, hook: into.__setitem__(name, x.detach())


def eap():
    """One corrupt forward pass, one clean one with its backward pass, and a contraction of both."""
    other, kept, gradients = written(corrupt), {}, {}
    hooks = [keep(kept, hook) for hook in {hook for _, hook, _ in senders}]
    back = [keep(gradients, hook) for hook in {hook for _, hook, _, _ in receivers}]
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
