"""Tests of stores with the loaders of the libraries that train from them: SAELens, dictionary_learning, sparsify.

    python loaders.py

runs in an empty folder, with the program on PATH, in a Python that has these libraries.
"""

import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"

import datasets
import numpy as np
import torch
from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer
from dictionary_learning.training import trainSAE
from sae_lens.cache_activations_runner import CacheActivationsRunner
from sae_lens.training.activations_store import ActivationsStore
from sparsify.data import MemmapDataset

import microtome

SITE, HOOK, CONTEXT, WIDTH = "resid_post.1", "blocks.1.hook_resid_post", 8, 16


def harvested():
    pathlib.Path("harvest.rhai").write_text(
        """
        let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
        let m = model::init(#{ layers: 2, d_model: 16, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
        data::harvest(m, "resid_post.1", data::texts((0..20).map(|i| "a b c d d c b a d a b b c a d d")),
            #{ dir: "store", shard_rows: 64, context: 8 });
        """
    )
    assert microtome.run("harvest.rhai").ok
    return microtome.Store("out/store")


def saelens(store):
    cached = store.to_saelens("cached", SITE)
    theirs = ActivationsStore(
        model=None,
        dataset=None,
        streaming=False,
        hook_name=HOOK,
        hook_head_index=None,
        context_size=CONTEXT,
        d_in=WIDTH,
        n_batches_in_buffer=4,
        total_training_tokens=1000,
        store_batch_size_prompts=4,
        train_batch_size_tokens=16,
        prepend_bos=False,
        normalize_activations="none",
        device=torch.device("cpu"),
        dtype="float32",
        cached_activations_path=str(cached),
    )
    rows, tokens = theirs.get_raw_llm_batch()
    assert np.array_equal(rows.numpy(), store[SITE][: 4 * CONTEXT])
    assert np.array_equal(tokens.numpy(), store.origins("tokens")[: 4 * CONTEXT])
    assert theirs.next_batch().shape == (16, WIDTH)
    # A cache as their runner makes it: shards that it puts into one folder.
    features = datasets.Features(
        {
            HOOK: datasets.Array2D(shape=(CONTEXT, WIDTH), dtype="float32"),
            "token_ids": datasets.Sequence(datasets.Value(dtype="int32"), length=CONTEXT),
        }
    )
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((2, 5, CONTEXT, WIDTH)).astype(np.float32)
    tokens = draw.integers(0, 100, (2, 5, CONTEXT)).astype(np.int32)
    folder = pathlib.Path("runner")
    (folder / ".tmp_shards").mkdir(parents=True)
    for shard in range(2):
        columns = {HOOK: torch.tensor(rows[shard]), "token_ids": torch.tensor(tokens[shard])}
        data = datasets.Dataset.from_dict(columns, features=features)
        data.save_to_disk(folder / ".tmp_shards" / f"shard_{shard:05d}", num_shards=1)
    CacheActivationsRunner._consolidate_shards(folder / ".tmp_shards", folder, copy_files=False)
    ours = microtome.Store.from_saelens(folder, "ours")
    assert ours.sites == [SITE] and np.array_equal(ours[SITE][:], rows.reshape(-1, WIDTH))
    assert np.array_equal(ours.origins("tokens"), tokens.ravel())
    pathlib.Path("fit.rhai").write_text(
        'run::check(sae::fit(data::store("ours"), #{ k: 2, d_sae: 32, steps: 3 }).d_in == 16, "fitted");'
    )
    assert microtome.run("fit.rhai").ok


def dictionary_learning(store):
    config = {
        "trainer": TopKTrainer,
        "dict_class": AutoEncoderTopK,
        "activation_dim": WIDTH,
        "dict_size": 32,
        "k": 4,
        "layer": 1,
        "lm_name": "a model",
        "steps": 5,
        "device": "cpu",
        "seed": 0,
        "warmup_steps": 1,
    }
    trainSAE(data=store.torch_batches(SITE, 32), trainer_configs=[config], steps=5, save_dir="trained")
    assert any(pathlib.Path("trained").rglob("ae.pt"))
    trained = next(pathlib.Path("trained").rglob("ae.pt")).parent
    pathlib.Path("theirs.rhai").write_text(f'sae::load("{trained}").save("theirs");')
    assert microtome.run("theirs.rhai").ok
    loader = torch.utils.data.DataLoader(store[SITE], batch_size=10)
    assert np.array_equal(torch.cat(list(loader)).numpy(), store[SITE][:])


def sparsify(store):
    tokens = store.contexts()
    theirs = MemmapDataset(str(store.to_sparsify("tokens.bin")), CONTEXT)
    assert len(theirs) == len(tokens) and np.array_equal(theirs[3]["input_ids"].numpy(), tokens[3])
    theirs = datasets.Dataset.load_from_disk(str(store.to_sparsify("tokens"))).with_format("torch")
    assert np.array_equal(theirs[:]["input_ids"].numpy(), tokens)


store = harvested()
saelens(store)
dictionary_learning(store)
sparsify(store)
print("right")
