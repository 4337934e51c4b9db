"""Times of the steps of a toy model and of DAS, and of gradients through a model, in torch for benches/gradients.rs: a line with a
name and seconds for each kind.

Arguments: threads, runs, steps of a run, rows, features, dimensions; of DAS: steps, pairs, pairs of a step, tokens of a text; and of
gradients: passes.
"""

import pathlib
import sys

import torch
from timing import seconds
from transformers import GPTNeoXForCausalLM

threads, runs, steps, rows, features, dims, das_steps, pairs, batch, length, passes = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)


def stepper(draw):
    w = (torch.randn(features, dims) * 0.3).requires_grad_()
    b = torch.zeros(features, requires_grad=True)
    optimizer = torch.optim.AdamW([w, b], lr=1e-3, weight_decay=0.01)

    def step():
        x = draw()
        loss = (((x @ w @ w.T + b).relu() - x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def drawn():
    return torch.rand(rows, features) * (torch.rand(rows, features) >= 0.9)


def each(calls, work):
    """The seconds of one of some calls in a row."""

    def in_a_row():
        for _ in range(calls):
            work()

    return seconds(runs, in_a_row) / calls


fixed = torch.rand(rows, features)
for name, draw in [("fixed", lambda: fixed), ("drawn", drawn)]:
    print(name, each(steps, stepper(draw)))


def tiny():
    folder = pathlib.Path(__file__).resolve().parents[2] / "core" / "assets" / "tiny"
    return GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


def das():
    """The seconds of a step: 2 dimensions of the stream behind block 2 at the last position."""
    model = tiny()
    layer = model.gpt_neox.layers[2]
    ids = torch.arange(pairs)[:, None]
    base = (ids * 31 + torch.arange(length) * 97) % 4000
    source = (ids * 53 + torch.arange(length) * 89 + 7) % 4000
    answers = torch.arange(pairs) % 4000
    width = model.config.hidden_size
    rotation = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(width, 2, bias=False))
    optimizer = torch.optim.Adam(rotation.parameters(), lr=0.01)

    def stream(output):
        return output[0] if isinstance(output, tuple) else output

    found = []
    handle = layer.register_forward_hook(lambda module, given, output: found.append(stream(output)[:, -1].clone()))
    with torch.no_grad():
        model(source, use_cache=False)
    handle.remove()
    (sources,) = found

    def step():
        chosen = torch.randperm(pairs)[:batch]
        basis = rotation.weight

        def interchange(module, given, output):
            x = stream(output)
            last = x[:, -1]
            changed = last + (sources[chosen] - last) @ basis.T @ basis
            x = torch.cat([x[:, :-1], changed[:, None]], 1)
            return (x, *output[1:]) if isinstance(output, tuple) else x

        handle = layer.register_forward_hook(interchange)
        logits = model(base[chosen], use_cache=False, logits_to_keep=1).logits[:, -1]
        handle.remove()
        loss = torch.nn.functional.cross_entropy(logits, answers[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return each(das_steps, step)


class Norm(torch.nn.Module):
    """A layer norm whose divisor is a constant, the LN-rule of RelP."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + self.norm.eps).sqrt().detach()
        return centred / scale * self.norm.weight + self.norm.bias


class Activation(torch.nn.Module):
    """An activation function as a product with a constant, the identity rule of RelP."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return x * (self.act(x) / x).detach()


def by_relevance(model):
    model.gpt_neox.final_layer_norm = Norm(model.gpt_neox.final_layer_norm)
    for layer in model.gpt_neox.layers:
        layer.input_layernorm = Norm(layer.input_layernorm)
        layer.post_attention_layernorm = Norm(layer.post_attention_layernorm)
        layer.mlp.act = Activation(layer.mlp.act)
    return model


def gradients(model):
    """The seconds of a pass forward and back, with gradients at the input of every layer."""
    ids = (torch.arange(batch)[:, None] * 31 + torch.arange(length) * 97) % 4000

    def once():
        x = model.gpt_neox.embed_in(ids).requires_grad_()
        found = model(inputs_embeds=x, use_cache=False, output_hidden_states=True, logits_to_keep=1)
        return torch.autograd.grad(found.logits[:, -1, 0].sum(), found.hidden_states[:-1])

    return each(passes, once)


print("das", das())
print("derivatives", gradients(tiny()))
print("relp", gradients(by_relevance(tiny())))
