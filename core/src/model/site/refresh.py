"""Writes the table of names that other libraries give sites, names.txt, from the libraries themselves.

    pip install transformer-lens interp-engine safetensors
    python refresh.py MICROTOME

MICROTOME is the program. Both libraries and the program run the models of tests/fixtures/models on the same ids. A name is one of our
sites where the tensors are the same, but for the order of their axes, and where a change of the one does to the logits what a change
of the other does; interp-engine's are compared by their values alone. The grammar of the table is in foreign.rs. A name that is
neither one of our sites nor in REFUSED ends the script, so that none is missed.
"""

import contextlib
import importlib.metadata
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"

import interp_engine
import torch
from interp_engine import points
from safetensors.torch import load_file
from transformer_lens import TransformerBridge
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parents[3] / "tests/fixtures/models"

LENS, ENGINE = "transformer-lens", "interp-engine"

# What a tensor may differ by, of its norm, from rounding in f32.
CLOSE = 2e-5
# Logits behind a change, through all layers.
CLOSE_BEHIND = 2e-4

# Hooks of TransformerLens that are there when they are switched on.
SWITCHED = ["set_use_attn_result", "set_use_hook_mlp_in", "set_use_attn_in", "set_use_split_qkv_input"]

OURS = """
    let root = arg("models");
    for name in arg("names").split(" ") {
        let m = model::load(`${root}/${name}`);
        let v = m.config.vocab;
        let ids = [[17 % v, 203 % v, 5 % v, 88 % v], [301 % v, 44 % v, 44 % v, 7 % v]];
        let sites = m.sites();
        let run = m.run(ids, #{ sites: sites });
        let seen = #{};
        let edited = #{};
        for site in sites {
            seen[site] = run[site];
            if site == "logits" { continue; }
            let more = hooks::edit(site, |x, at| x + x.relu() / 2);
            edited[site] = m.logits(ids, #{ hooks: more });
        }
        tensor::save(`${name}.seen.safetensors`, seen);
        tensor::save(`${name}.edited.safetensors`, edited);
        run::save_json(`${name}.json`, m.config);
    }
    let kinds = model::load(`${root}/gpt2`).site_table();
"""

# Names that are our sites in some models only: the sites, and what of the config has to hold, `!` before what must not. A word
# that is none of a config is a family.
IN_SOME = {
    "blocks.{}.attn.hook_hidden_states": [("attn_out.{}", "!bloom"), ("resid_mid.{}", "bloom")],
    "blocks.{}.attn.hook_out": [("attn_out.{}", "!post_norm !write_scale !bloom"), ("resid_mid.{}", "bloom")],
    "blocks.{}.attn.k.hook_out": [("k.{}", "!values_are_keys")],
    "blocks.{}.attn.o.hook_out": [("attn_out.{}", "!post_norm !write_scale")],
    "blocks.{}.attn.q.hook_out": [("q.{}", "!gated_heads")],
    "blocks.{}.attn.v.hook_out": [("v.{}", "!value_norm")],
    "blocks.{}.ln1.hook_out": [("attn_in.{}", "!shared_norm")],
    "blocks.{}.mlp.hook_out": [
        ("mlp_out.{}", "!post_norm !write_scale !bloom !mpt"), ("resid_post.{}", "bloom"), ("resid_post.{}", "mpt"),
    ],
    "blocks.{}.mlp.in.hook_in": [("mlp_in.{}", "!gated")],
    "blocks.{}.mlp.in.hook_out": [("mlp_up.{}", "gated"), ("mlp_pre.{}", "!gated")],
    "blocks.{}.mlp.out.hook_out": [("mlp_out.{}", "!post_norm !write_scale")],
    "embed.hook_out": [("embed", "!embed_norm")],
    "embeddings": [("embed", "!embed_norm !granite !granitemoehybrid")],
    "hook_unembed": [("logits", "!logit_cap !logit_scale")],
    "lm_head": [("logits", "!logit_cap !logit_scale")],
    "unembed.hook_out": [("logits", "!logit_cap !logit_scale")],
}
# Names that are none of our sites, or in some models only: patterns, the sites that are near, and what they are.
REFUSED = [
    (r"embed\.hook_in", "embed", "ids of tokens"),
    (r"pos_embed\.hook_in", "pos_embed", "numbers of positions"),
    (r"embed\.hook_out|embeddings", "embed", "the embeddings before they are normed or scaled"),
    (r"embed_ln\..*", "embed", "a part of the norm of the embeddings"),
    (r"(rotary_emb|blocks\.{}\.attn)\.hook_(cos|sin)", "q_rot.{},k_rot.{}", "cosines or sines of rotary angles"),
    (r"rotary_emb\.hook_in", "embed", "the embeddings as an argument of the rotary embedding, which takes their dtype alone"),
    (r"(hook_unembed|unembed\.hook_out|lm_head)", "logits", "the logits before their soft cap or scale"),
    (r"ln_final\.hook_normalized", "final_norm", "the output of the last norm before its weights"),
    (r"ln_final\.hook_in", "resid_post.-1", "the residual stream as the last norm reads it"),
    (r"blocks\.{}\.(ln1|norm)\.hook_normalized", "attn_in.{}", "the output of a norm before its weights"),
    (r"blocks\.{}\.ln2\.hook_normalized", "mlp_in.{}", "the output of a norm before its weights"),
    (r"blocks\.{}\.ln1_post\.hook_(in|normalized)", "attn_out.{}", "what attention writes before the norm behind it, or its weights"),
    (r"blocks\.{}\.ln2_post\.hook_(in|normalized)", "mlp_out.{}", "what the MLP writes before the norm behind it, or its weights"),
    (r"blocks\.{}\.(ln1|norm)\.hook_in", "resid_pre.{}", "the residual stream as one norm alone reads it"),
    (r"blocks\.{}\.ln2\.hook_in", "resid_mid.{},resid_pre.{}", "the residual stream as one norm alone reads it"),
    (r"blocks\.{}\.ln1\.hook_out", "attn_in.{},mlp_in.{}", "the input of attention and MLP together"),
    (r"blocks\.{}\.hook_mlp_in", "resid_mid.{},resid_pre.{},mlp_in.{}", "the un-normed input of the MLP"),
    (r"blocks\.{}\.(attn\.)?hook_(attn_in|[qkv]_input)", "resid_pre.{},attn_in.{}", "the un-normed input of attention, a copy for each head"),
    (r"blocks\.{}\.attn\.[qkv]\.hook_in", "attn_in.{}", "the input of one of the maps to queries, keys and values"),
    (r"blocks\.{}\.attn\.k\.hook_out", "k.{},v.{}", "the keys that values are made of, too"),
    (r"blocks\.{}\.attn\.q\.hook_out|attn_gate\.{}", "q.{},head_gate.{}", "queries and gates in one"),
    (r"blocks\.{}\.attn\.v\.hook_out|blocks\.{}\.attn\.v_norm\.hook_in", "v.{}", "the values before their norm"),
    (r"blocks\.{}\.attn\.(q_norm\.hook_out|hook_q_normed)|q_norm_out\.{}", "q.{},q_rot.{}", "the queries between their norm and their rotation"),
    (r"blocks\.{}\.attn\.(k_norm\.hook_out|hook_k_normed)|k_norm_out\.{}", "k.{},k_rot.{}", "the keys between their norm and their rotation"),
    (r"blocks\.{}\.attn\.q_norm\.hook_(scale|normalized)", "q.{},q_rot.{}", "a part of the norm of the queries"),
    (r"blocks\.{}\.attn\.k_norm\.hook_(scale|normalized)", "k.{},k_rot.{}", "a part of the norm of the keys"),
    (r"blocks\.{}\.attn\.(o\.)?hook_out|blocks\.{}\.attn\.hook_hidden_states", "attn_out.{}", "what attention writes before the norm or the scale behind it"),
    (r"blocks\.{}\.mlp\.(out\.)?hook_out", "mlp_out.{}", "what the MLP writes before the norm or the scale behind it"),
    (r"blocks\.{}\.mlp\.(dense_)?(in|gate)\.hook_in", "mlp_in.{}", "the input of one of the maps of the MLP"),
    (r"blocks\.{}\.mlp\.(experts|router|shared_expert|shared_expert_gate)(\.(gate|in))?\.hook_(in|pre)", "mlp_in.{}", "the input of a part of the mixture of experts"),
    (r"blocks\.{}\.mlp\.shared_expert.*", "mlp_out.{}", "a part of the shared expert"),
    (r"blocks\.{}\.mlp\.experts\.hook_(out|post)", "mlp_out.{}", "what routed experts write without the shared one"),
    (r"blocks\.{}\.mlp\.(router|gate)\.hook_out|router_logits\.{}", "router.{}", "the router's scores before the softmax"),
    (r"blocks\.{}\.mlp\.(gate|router)\.hook_expert_weights|blocks\.{}\.mlp\.hook_router_scores|expert_weights\.{}", "router.{}", "weights of experts as one family has them"),
    (r"blocks\.{}\.mlp\.((gate|router)\.)?hook_expert_indices|expert_indices\.{}", "router.{}", "numbers of the chosen experts"),
    (r"blocks\.{}\.(router|pre_feedforward_layernorm_2)\.hook_in", "resid_mid.{}", "the residual stream as the router or the norm of experts alone reads it"),
    (r"blocks\.{}\.experts\.hook_out|blocks\.{}\.post_feedforward_layernorm_2\.hook_in", "experts_out.{}", "what experts beside an MLP write before their norm"),
    (r"blocks\.{}\.post_feedforward_layernorm_1\.hook_in", "mlp_own.{}", "what an MLP beside experts writes before its norm"),
    (r"blocks\.{}\.per_layer_input_gate\.hook_in", "resid_post.{}", "the residual stream behind the MLP, which the gate of the layer's input reads"),
    (r"blocks\.{}\.per_layer_projection\.hook_out|blocks\.{}\.post_per_layer_input_norm\.hook_in", "layer_out.{}", "what comes of the layer's input before its norm"),
    (r"blocks\.{}\.linear_attn\.hook_[qkv]_pre_conv", "delta_q.{},delta_k.{},delta_v.{}", "queries, keys or values of a delta net before the convolution"),
    (r"blocks\.{}\.linear_attn\.hook_beta_logit", "delta_beta.{}", "the strength of writing before its sigmoid"),
    (r"blocks\.{}\.mixer\.(hook_in_proj|in_proj\.hook_out)", "ssm_x.{},ssm_gate.{}", "inputs and gates of a state space in one, before the convolution"),
    (r"blocks\.{}\.mixer\.x_proj\.hook_in", "ssm_x.{}", "the inputs of a state space as the map to its step, B and C alone reads them"),
    (r"blocks\.{}\.mixer\.(hook_x_proj|x_proj\.hook_out)", "ssm_dt.{},ssm_b.{},ssm_c.{}", "the step, B and C of a state space in one, before the step's own map"),
    (r"blocks\.{}\.mixer\.(hook_inner_norm|inner_norm\.hook_out|out_proj\.hook_in)", "ssm_read.{},attn_out.{}", "what is read of the state times its gate"),
]

# Properties of a config that conditions may name; foreign.rs has the same ones.
PROPERTIES = {
    "embed_norm": lambda c: c.get("embed_norm", False),
    "gated": lambda c: c["gated"],
    "gated_heads": lambda c: c["gated_heads"],
    "logit_cap": lambda c: c["logit_cap"] is not None,
    "logit_scale": lambda c: c["logit_scale"] is not None,
    "post_norm": lambda c: c["post_norm"],
    "shared_norm": lambda c: c["order"] == "parallel_shared",
    "value_norm": lambda c: c["value_norm"],
    "values_are_keys": lambda c: c["global_heads"] is not None and c["global_heads"]["values_are_keys"],
    "write_scale": lambda c: c["write_scale"] is not None,
}


def holds(condition, config):
    word = condition.lstrip("!")
    has = PROPERTIES[word](config) if word in PROPERTIES else config["family"] == word
    return bool(has) != condition.startswith("!")


def changed(x):
    """Makes what is above 0 half as large again, which no order of axes alters and no norm undoes."""
    return x + x.relu() / 2


def template(name):
    """Returns a name with `{}` in place of its layer, and the layer."""
    for pattern, whole in [(r"blocks\.(\d+)\.(.*)", "blocks.{{}}.{}"), (r"([a-z_]+)\.(\d+)", None)]:
        if found := re.fullmatch(pattern, name):
            return (whole.format(found[2]), int(found[1])) if whole else (f"{found[1]}.{{}}", int(found[2]))
    return name, None


def arranged(theirs, ours):
    """Yields their tensor with the axes of ours, in each way that fits."""
    if theirs.dim() == 4 and theirs.transpose(1, 2).shape == ours.shape:
        yield theirs.transpose(1, 2)
    if theirs.numel() == ours.numel():
        yield theirs.reshape(ours.shape)


def apart(theirs, ours):
    """Returns the distance of two tensors in norms of ours, where theirs is not masked."""
    seen = theirs > -1e30
    norm = ours[seen].norm()
    return float((theirs[seen] - ours[seen]).norm() / norm) if norm > 0 else float("inf")


class Ours:
    """What the program computes of a model."""

    def __init__(self, folder, name):
        self.config = json.loads((folder / f"{name}.json").read_text())
        self.seen = load_file(folder / f"{name}.seen.safetensors")
        self.edited = load_file(folder / f"{name}.edited.safetensors")
        last = self.config["layers"] - 1
        self.seen["resid_post.-1"], self.edited["resid_post.-1"] = self.seen[f"resid_post.{last}"], self.edited[f"resid_post.{last}"]
        self.edited["logits"] = changed(self.seen["logits"])
        words = self.config["vocab"]
        self.ids = torch.tensor([[17, 203, 5, 88], [301, 44, 44, 7]]) % words

    def equal(self, theirs, layer):
        """Returns the sites of a layer, or outside of layers, whose tensor is theirs."""
        found = set()
        for site, ours in self.seen.items():
            kind, own = template(site)
            if own in (layer, None) and any(apart(x.float(), ours) < CLOSE for x in arranged(theirs, ours)):
                found.add(kind)
        return found


def run_ours(program, names, folder):
    script = folder / "ours.rhai"
    script.write_text(OURS)
    command = [program, "run", "ours.rhai", "--models", str(MODELS), "--names", " ".join(names)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return {name: Ours(folder / "out", name) for name in names}


def tokenizer():
    return PreTrainedTokenizerFast(tokenizer_file=str(MODELS / "tokenizer.json"))


def of_lens(name, ours, found):
    """Adds what TransformerLens records of a model, and which of our sites it is by value and by effect."""
    bridge = TransformerBridge.boot_transformers(str(MODELS / name), dtype=torch.float32, device="cpu", tokenizer=tokenizer())
    true = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)(ours.ids).logits
    logits, cache = bridge.run_with_cache(ours.ids)
    if apart(logits, true) > CLOSE_BEHIND:
        raise ValueError("the bridge computes other logits than transformers")
    seen = {hook: (value, None) for hook, value in cache.items()}
    for switch in SWITCHED:
        try:
            getattr(bridge, switch)(True)
            for hook, value in bridge.run_with_cache(ours.ids)[1].items():
                seen.setdefault(hook, (value, switch))
        except (NotImplementedError, ValueError, RuntimeError):
            continue
        finally:
            with contextlib.suppress(NotImplementedError):
                getattr(bridge, switch)(False)
    for hook, (value, switch) in seen.items():
        if not torch.is_tensor(value):
            continue
        kind, layer = template(hook)
        same = set()
        sites = ours.equal(value, layer) if value.is_floating_point() else set()
        if sites:
            if switch:
                getattr(bridge, switch)(True)
            try:
                behind = bridge.run_with_hooks(ours.ids, fwd_hooks=[(hook, lambda x, hook: changed(x))])
                same = {site for site in sites if apart(behind, ours.edited[site.format(layer)]) < CLOSE_BEHIND}
            except ValueError:
                pass
            if switch:
                getattr(bridge, switch)(False)
        found.setdefault((LENS, kind), {})[name, layer] = same


def of_engine(name, ours, found):
    """Adds what interp-engine captures of a model, and which of our sites it is by value."""
    model = interp_engine.EagerModel(str(MODELS / name), device="cpu", dtype="float32", tokenizer=tokenizer())
    for point in points.POINTS:
        for layer in range(ours.config["layers"]) if point.scope is points.Scope.LAYER else [None]:
            address = interp_engine.Address(point.name, layer)
            try:
                value = interp_engine.capture(model, ours.ids, [address])[address]
            except Exception:  # Each kind of model refuses what it has not in its own way.
                continue
            kind = point.name if layer is None else f"{point.name}.{{}}"
            sites = ours.equal(value, layer) if value.is_floating_point() else set()
            found.setdefault((ENGINE, kind), {})[name, layer] = sites


def own_names():
    """Returns our names of sites, and those that are TransformerLens' own, from mod.rs."""
    text = (HERE / "mod.rs").read_text()
    rows = re.findall(r'row\(\s*SiteKind::\w+,\s*"(\w+)",\s*"([^"]+)"', text)
    assert len(rows) > 50, rows
    return {name if "{}" not in lens else f"{name}.{{}}" for name, lens in rows}, {lens: name for name, lens in rows}


def rows_of(name, instances, models):
    """Returns the lines of a name: those of what it is, and one of what it is where it is none of these."""
    has = lambda model, layer, site: site.format(layer) in models[model].seen
    holds_all = lambda conditions, model: all(holds(one, models[model].config) for one in conditions.split())
    lines, rest = [], instances
    if name in IN_SOME:
        for place, (site, conditions) in enumerate(IN_SOME[name]):
            fits = lambda model: holds_all(conditions, model)
            there = {key: site in same for key, same in instances.items() if has(*key, site)}
            wrong = sorted(model for (model, _), same in there.items() if fits(model) and not same)
            assert not wrong, f"{name} is not {site} in {wrong}"
            others = {model for model, _ in there if not fits(model)}
            needless = [one for one in others if all(same for (model, _), same in there.items() if model == one)]
            rows = [more for other, (_, more) in enumerate(IN_SOME[name]) if other != place]
            needless = [model for model in needless if not any(holds_all(more, model) for more in rows)]
            assert not needless, f"{name} is {site} in {needless}, too"
            lines.append(f"= {name} {site} {conditions}")
            rest = {key: same for key, same in rest.items() if not fits(key[0])}
    else:
        known = set().union(*instances.values())
        always = [site for site in known if all(site in same for (model, layer), same in instances.items() if has(model, layer, site))]
        # A site that fewer models have is the same one by chance: `q_rot` is `q` where nothing is rotated.
        always.sort(key=lambda site: (-sum(has(*key, site) for key in instances), site))
        if always:
            return [f"= {name} {always[0]}"]
    if rest:
        words = [(near, what) for pattern, near, what in REFUSED if re.fullmatch(pattern, name)]
        assert words, f"{name} is none of our sites in {sorted({model for model, _ in rest})}, where it is {sorted(set().union(*rest.values()))}; say what it is"
        near, what = words[0]
        lines.append(f"- {name} {near} {what}")
    return lines


def exceptions(name, site, instances, models):
    """Returns the models in which a name that is read as one of our sites is another tensor, or a change of it does otherwise."""
    differ = {model for (model, layer), same in instances.items() if site.format(layer) in models[model].seen and site not in same}
    return sorted(differ)


def main():
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_grad_enabled(False)
    program = str(pathlib.Path(sys.argv[1]).resolve())
    names = sorted(folder.name for folder in MODELS.iterdir() if (folder / "config.json").exists())
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        models = run_ours(program, names, pathlib.Path(folder))
    for name, ours in models.items():
        for library, read in ((LENS, of_lens), (ENGINE, of_engine)):
            try:
                read(name, ours, found)
            except Exception as error:  # A model that a library cannot load tells nothing of its names.
                print(f"{name} is not compared with {library}: {str(error).splitlines()[0][:100]}")
    ours, lens = own_names()
    versions = ", ".join(f"{library} {importlib.metadata.version(library)}" for library in (LENS, ENGINE))
    text = [f"# Names of other libraries for sites, by {versions}. Written by refresh.py; foreign.rs has the grammar."]
    count = 0
    for library in (LENS, ENGINE):
        text.append(f"# {library}")
        for (of, name), instances in sorted(found.items()):
            if of != library:
                continue
            own = name if name in ours else f"{lens[name]}.{{}}" if name in lens and "{}" in name else lens.get(name)
            if own is None:
                text.extend(line.rstrip() for line in rows_of(name, instances, models))
                count += 1
            elif differ := exceptions(name, own, instances, models):
                text.append(f"# {name} is read as {own}, and differs from it in {' '.join(differ)}")
    (HERE / "names.txt").write_text("\n".join(text) + "\n")
    print(f"{count} names, of {len(models)} models, {sum(map(len, found.values()))} comparisons")


main()
