"""Dictionary steps and codes in Python for benches/sae.rs and benches/real.rs, which ask for each library, kind and width.

Arguments: threads, steps of a turn, width of activations, codes of a row, rows. The libraries are dictionary_learning, sae-lens and
eai-sparsify. Activations are random, or those of the file of numpy that MICROTOME_BENCH_ROWS names, of which there have to be
four batches.
"""

import itertools
import os
import sys

import torch
from timing import seconds, turns

threads, steps, d, k, rows = map(int, sys.argv[1:])
os.environ["WANDB_MODE"] = "disabled"
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
torch.set_num_threads(threads)
torch.manual_seed(0)
if "MICROTOME_BENCH_ROWS" in os.environ:
    import numpy

    X = torch.from_numpy(numpy.load(os.environ["MICROTOME_BENCH_ROWS"]))
    assert X.shape == (4 * rows, d), X.shape
else:
    X = torch.randn(4 * rows, d)


def batch(step):
    start = step % 4 * rows
    return X[start : start + rows]


def of_dictionary_learning(name):
    def make(features):
        from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
        from dictionary_learning.trainers.jumprelu import JumpReluTrainer
        from dictionary_learning.trainers.standard import StandardTrainer
        from dictionary_learning.trainers.top_k import TopKTrainer

        trainers = {"topk": TopKTrainer, "batch_topk": BatchTopKTrainer, "relu": StandardTrainer, "jumprelu": JumpReluTrainer}
        more = {"k": k} if "topk" in name else {}
        trainer = trainers[name](
            steps=10**6, activation_dim=d, dict_size=features, layer=0, lm_name="none", device="cpu", seed=0, **more
        )
        return lambda step: trainer.update(step, batch(step))

    return make


def of_sae_lens(name):
    def make(features):
        from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        if name == "topk":
            sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d, d_sae=features, k=k))
        else:
            sae = StandardTrainingSAE(StandardTrainingSAEConfig(d_in=d, d_sae=features, l1_coefficient=1.0))
        config = SAETrainerConfig(
            n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False, total_training_samples=10**8,
            device="cpu", autocast=False, lr=1e-3, lr_end=1e-4, lr_scheduler_name="constant", lr_warm_up_steps=0,
            adam_beta1=0.9, adam_beta2=0.999, lr_decay_steps=0, n_restart_cycles=1, train_batch_size_samples=rows,
            dead_feature_window=1000, feature_sampling_window=2000, logger=LoggingConfig(log_to_wandb=False),
        )
        trainer = SAETrainer(cfg=config, sae=sae, data_provider=iter(lambda: X[:rows], None))
        return lambda step: trainer._train_step(sae=sae, sae_in=batch(step))

    return make


def of_sparsify(features):
    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    coder = SparseCoder(d, SparseCoderConfig(num_latents=features, k=k))
    optimizer = torch.optim.Adam(coder.parameters(), lr=1e-3)

    def step(index):
        loss = coder(batch(index)).fvu
        optimizer.zero_grad()
        loss.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        coder.set_decoder_norm_to_unit_norm()

    return step


def without_gradients(encode):
    def step(index):
        with torch.no_grad():
            encode(batch(index))

    return step


def dictionary_learning_codes(features):
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    return without_gradients(AutoEncoderTopK(d, features, k).encode)


def sae_lens_codes(features):
    from sae_lens import TopKSAE, TopKSAEConfig

    return without_gradients(TopKSAE(TopKSAEConfig(d_in=d, d_sae=features, k=k)).encode)


def sparsify_codes(features):
    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    return without_gradients(SparseCoder(d, SparseCoderConfig(num_latents=features, k=k)).encode)


PEERS = {f"dictionary_learning_{name}": of_dictionary_learning(name) for name in ("topk", "batch_topk", "relu", "jumprelu")}
PEERS |= {f"sae_lens_{name}": of_sae_lens(name) for name in ("topk", "relu")}
PEERS |= {"sparsify_topk": of_sparsify, "dictionary_learning_encode": dictionary_learning_codes}
PEERS |= {"sae_lens_encode": sae_lens_codes, "sparsify_encode": sparsify_codes}


class Works(dict):
    """What is asked for as `NAME_FEATURES`, made when it is asked for first."""

    def __missing__(self, asked):
        name, features = asked.rsplit("_", 1)
        step = PEERS[name](int(features))
        numbers = itertools.count()
        self[asked] = lambda: seconds(steps, lambda: step(next(numbers)), first=0)
        return self[asked]


turns(Works())
