"""Passes of transformers for benches/passes.rs, which asks for one run after the other.

Arguments: threads, the folder of the weights, tokens of a prompt, tokens of each of several texts.
"""

import sys

import torch
from timing import took, turns
from torch.nn.functional import kl_div, log_softmax
from transformers import AutoModelForCausalLM

threads, folder = int(sys.argv[1]), sys.argv[2]
tokens, text = map(int, sys.argv[3:5])
torch.set_num_threads(threads)


def row_of(row, n):
    return [2] + [1000 + (977 * (i - 1) + 7919 * row) % 200000 for i in range(1, n)]


class Stop(Exception):
    pass


def load(dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    model.requires_grad_(False)
    return model


def one_layer(model, ids, layer):
    """What a layer gives, without what lies above it."""
    found = []

    def hook(_, __, output):
        found.append(output[0] if isinstance(output, tuple) else output)
        raise Stop

    handle = model.model.layers[layer].register_forward_hook(hook)
    try:
        model(ids, logits_to_keep=1)
    except Stop:
        pass
    finally:
        handle.remove()
    return found[0]


def gradients(model, ids):
    """Gradients of one logit behind the last token at what all layers read."""
    start = model.get_input_embeddings()(ids).detach().requires_grad_(True)
    output = model(inputs_embeds=start, logits_to_keep=1, output_hidden_states=True)
    return torch.autograd.grad(output.logits[:, -1, 5].sum(), output.hidden_states[:-1])


def lens(model, ids, layers):
    states = model(ids, logits_to_keep=1, output_hidden_states=True).hidden_states
    return [model.lm_head(model.model.norm(states[layer + 1])).topk(10) for layer in layers]


def patching(model, clean, corrupt):
    """Logit differences with each position of each layer's input from the clean prompt, a layer's positions in one batch."""
    states = model(clean, logits_to_keep=1, output_hidden_states=True).hidden_states
    length = clean.shape[1]
    batch = corrupt.expand(length, -1)
    places = torch.arange(length)
    effects = []
    for layer, block in enumerate(model.model.layers):

        def hook(_, arguments, layer=layer):
            changed = arguments[0].clone()
            changed[places, places] = states[layer][0]
            return (changed, *arguments[1:])

        handle = block.register_forward_pre_hook(hook)
        logits = model(batch, logits_to_keep=1).logits[:, -1]
        handle.remove()
        effects.append(logits[:, 5] - logits[:, 6])
    return torch.stack(effects)


def ablations(model, texts):
    """The divergence, a mean over positions, from the run without each layer's attention."""
    found = []
    for ids in texts:
        plain = log_softmax(model(ids).logits[0], -1)
        for block in model.model.layers:
            handle = block.post_attention_layernorm.register_forward_hook(lambda _, __, output: output * 0)
            changed = log_softmax(model(ids).logits[0], -1)
            handle.remove()
            found.append(kl_div(changed, plain, log_target=True, reduction="batchmean").item())
    return found


model, narrow = load(torch.float32), load(torch.bfloat16)
ids = torch.tensor([row_of(0, tokens)])
clean = torch.tensor([row_of(1, 16)])
corrupt = torch.tensor([row_of(1, 8) + row_of(2, 16)[8:]])
texts = [torch.tensor([row_of(n, n)]) for n in [9, 14, 18, 23]]
batches = {count: torch.tensor([row_of(row, text) for row in range(count)]) for count in [1, 8, 64]}
factors = torch.randn(2, 2048, 2048)

passes = {
    "product": lambda: factors[0] @ factors[1],
    "all_logits": lambda: model(ids),
    "last_logits": lambda: model(ids, logits_to_keep=1),
    "one_layer": lambda: one_layer(model, ids, 8),
    "lens": lambda: lens(model, ids, [4, 9, 14]),
    "patching": lambda: patching(model, clean, corrupt),
    "ablations": lambda: ablations(model, texts),
    "all_logits_bf16": lambda: narrow(ids),
    "last_logits_bf16": lambda: narrow(ids, logits_to_keep=1),
    "one_layer_bf16": lambda: one_layer(narrow, ids, 8),
}
works = {name: torch.inference_mode()(work) for name, work in passes.items()}
works["gradients"] = lambda: gradients(model, ids)
works |= {f"gradients_{count}": lambda batch=batch: gradients(model, batch) for count, batch in batches.items()}
turns({name: lambda work=work: took(work) for name, work in works.items()})
