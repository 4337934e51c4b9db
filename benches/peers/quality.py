"""Dictionaries of Python libraries for benches/quality.rs: each is fitted on the same rows and saved in its library's own format.

Arguments: threads, a safetensors file with `train` rows, or whole texts `[texts, tokens, width]`, and, for transcoders, their `target`, the folder to
save to, how many features, rows of a batch, the seed, then jobs such as `topk:32:400:dictionary_learning:1e-3`: kind, number of codes (or penalty, as `l1=0.05`),
steps, library, rate. Rows are brought to a root mean square length of 1, as the libraries recommend, and what is saved is
for rows as they come. The rate rises for a fiftieth of the
steps and falls over the last fifth. Prints a line for each job: its words, the folder, the seconds of processor time.
"""

import json
import os
import sys
import time

import authors
import torch
from safetensors.torch import load_file

threads, data, out, features, batch, seed, *jobs = sys.argv[1:]
features, batch, seed = int(features), int(batch), int(seed)
os.environ["WANDB_MODE"] = "disabled"
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
torch.set_num_threads(int(threads))
said = load_file(data)
rows, target = said["train"], said.get("target")
d = rows.shape[-1]
if rows.dim() == 3:
    batch //= rows.shape[1]
scale = 1 / rows.pow(2).sum(-1).mean().sqrt().item()
rows *= scale
if target is not None:
    scale_of_target = 1 / target.pow(2).sum(1).mean().sqrt().item()
    target *= scale_of_target
BIASES = ("bias", "b_enc", "b_dec", "threshold", "b_gate", "b_mag", "gate_bias", "mag_bias", "decoder_bias")


def unscaled(module):
    """The same dictionary for rows as they come: codes are homogeneous, so only biases and thresholds change."""
    with torch.no_grad():
        for name, numbers in [*module.named_parameters(), *module.named_buffers()]:
            if name.split(".")[-1] in BIASES and (numbers.numel() > 1 or numbers.item() > 0):
                numbers /= scale
    return module


def unscaled_transcoder(coder):
    """The same for one that reads rows of one scale and writes rows of another."""
    with torch.no_grad():
        coder.encoder.bias /= scale
        coder.W_dec *= scale / scale_of_target
        coder.b_dec /= scale_of_target
    return coder


def batches(steps):
    """The rows, with what a transcoder writes, in another order in every pass."""
    order = torch.Generator().manual_seed(seed)
    places = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(places) < batch:
            places = torch.cat([places, torch.randperm(len(rows), generator=order)])
        yield rows[places[:batch]], None if target is None else target[places[:batch]]
        places = places[batch:]


def prefixes():
    return [features // 8, features // 2, features]


def of_dictionary_learning(kind, codes, steps, rate):
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
    from dictionary_learning.trainers.gdm import GatedSAETrainer
    from dictionary_learning.trainers.jumprelu import JumpReluTrainer
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
    from dictionary_learning.trainers.p_anneal import PAnnealTrainer
    from dictionary_learning.trainers.standard import StandardTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer

    more = dict(warmup_steps=max(1, steps // 50), decay_start=steps - steps // 5)
    sparse = dict(more, sparsity_warmup_steps=max(1, steps // 20))
    top = dict(more, k=int(codes or 1), threshold_start_step=steps // 4, threshold_beta=0.99)
    make = {
        "topk": lambda: TopKTrainer(**top, **common),
        "batch_topk": lambda: BatchTopKTrainer(**top, **common),
        "matryoshka": lambda: MatryoshkaBatchTopKTrainer(
            group_fractions=[1 / 8, 3 / 8, 1 / 2], **top, **common
        ),
        "relu": lambda: StandardTrainer(l1_penalty=codes, **sparse, **common),
        "gated": lambda: GatedSAETrainer(l1_penalty=codes, **sparse, **common),
        "p_anneal": lambda: PAnnealTrainer(
            initial_sparsity_penalty=codes, anneal_start=steps // 10, p_end=0.2, **sparse, **common
        ),
        "jumprelu": lambda: JumpReluTrainer(target_l0=codes, **sparse, **common),
    }
    common = dict(
        steps=steps, activation_dim=d, dict_size=features, layer=0, lm_name="none", device="cpu", seed=seed, lr=rate
    )
    trainer = make[kind]()

    def save(folder):
        torch.save(unscaled(trainer.ae).state_dict(), f"{folder}/ae.pt")
        said = dict(dict_class=type(trainer.ae).__name__, activation_dim=d, dict_size=features, layer=0, lm_name="none")
        if kind in ("topk", "batch_topk", "matryoshka"):
            said["k"] = int(codes)
        with open(f"{folder}/config.json", "w") as file:
            json.dump(dict(trainer=said), file)

    return lambda step, x, _: trainer.update(step, x), save


def of_sae_lens(kind, codes, steps, rate):
    import sae_lens
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    name, more = {
        "topk": ("TopK", dict(k=int(codes or 1))),
        "batch_topk": ("BatchTopK", dict(k=float(codes))),
        "matryoshka": ("MatryoshkaBatchTopK", dict(k=float(codes), matryoshka_widths=prefixes())),
        "relu": ("Standard", dict(l1_coefficient=codes)),
        "gated": ("Gated", dict(l1_coefficient=codes)),
        "jumprelu": ("JumpReLU", dict(jumprelu_sparsity_loss_mode="quadratic", target_l0=codes)),
    }[kind]
    config = getattr(sae_lens, f"{name}TrainingSAEConfig")(d_in=d, d_sae=features, **more)
    torch.manual_seed(seed)
    sae = getattr(sae_lens, f"{name}TrainingSAE")(config)
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False, total_training_samples=steps * batch,
            device="cpu", autocast=False, lr=rate, lr_end=0.0, lr_scheduler_name="constant",
            lr_warm_up_steps=max(1, steps // 50), adam_beta1=0.9, adam_beta2=0.999, lr_decay_steps=steps // 5,
            n_restart_cycles=1, train_batch_size_samples=batch, dead_feature_window=max(1, steps // 8),
            feature_sampling_window=10**6, logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=iter(lambda: rows[:batch], None),
    )

    def step(index, x, _):
        trainer._train_step(sae=sae, sae_in=x)
        trainer.n_training_steps += 1
        trainer.n_training_samples += batch

    return step, lambda folder: unscaled(sae).save_inference_model(folder)


def of_sparsify(optimizer):
    def make(kind, codes, steps, rate):
        from sparsify.config import SparseCoderConfig
        from sparsify.sign_sgd import SignSGD
        from sparsify.sparse_coder import SparseCoder

        if kind != "topk":
            raise KeyError(kind)
        torch.manual_seed(seed)
        transcodes = target is not None
        coder = SparseCoder(d, SparseCoderConfig(num_latents=features, k=int(codes), transcode=transcodes))
        with torch.no_grad():
            # As its own trainer begins, and keeps directions.
            coder.b_dec.copy_((target if transcodes else rows)[: 4 * batch].mean(0))
            if transcodes:
                coder.encoder.bias.copy_(-coder.encoder.weight @ rows[: 4 * batch].mean(0))
        warm, fall = max(1, steps // 50), steps // 5
        if optimizer == "adam":
            steppers = [torch.optim.Adam(coder.parameters(), lr=rate)]
            height = lambda i: min((i + 1) / warm, 1.0, (steps - i) / max(1, fall))
            schedules = [torch.optim.lr_scheduler.LambdaLR(steppers[0], height)]
        else:
            from schedulefree import ScheduleFreeWrapper

            steppers = [ScheduleFreeWrapper(SignSGD(coder.parameters(), lr=rate), momentum=0.95)]
            steppers[0].train()
            schedules = []
        silent = torch.zeros(features, dtype=torch.long)

        def step(index, x, y):
            dead = silent > len(rows) // 4
            found = coder(x, y, dead_mask=dead if dead.any() else None)
            loss = found.fvu + found.auxk_loss / 32
            for stepper in steppers:
                stepper.zero_grad()
            loss.backward()
            if not transcodes:
                coder.remove_gradient_parallel_to_decoder_directions()
            for stepper in steppers + schedules:
                stepper.step()
            if not transcodes:
                coder.set_decoder_norm_to_unit_norm()
            silent.add_(len(x))
            silent[found.latent_indices.flatten().unique()] = 0

        def save(folder):
            if optimizer != "adam":
                steppers[0].eval()
            (unscaled_transcoder if transcodes else unscaled)(coder).save_to_disk(folder)

        return step, save

    return make


def of_authors(kind, codes, steps, rate):
    return authors.KINDS[kind](authors.Data(d, features, seed, scale), codes, steps, rate)


LIBRARIES = {
    "authors": of_authors,
    "dictionary_learning": of_dictionary_learning,
    "sae_lens": of_sae_lens,
    "sparsify": of_sparsify("adam"),
    "sparsify_signum": of_sparsify("signum"),
}

for job in jobs:
    kind, codes, steps, library, rate = job.split(":")
    steps, rate = int(steps), float(rate)
    folder = os.path.join(out, job.replace(":", "_"))
    os.makedirs(folder, exist_ok=True)
    # Hours of fits go on where they were stopped.
    ended = os.path.join(folder, "seconds")
    if os.path.exists(ended):
        print(job, folder, open(ended).read(), flush=True)
        continue
    try:
        if target is not None and not library.startswith("sparsify"):
            raise KeyError("transcoders")
        if rows.dim() == 3 and kind != "temporal":
            raise KeyError("texts")
        step, save = LIBRARIES[library](kind, float(codes), steps, rate)
    except (ImportError, KeyError) as error:
        print(f"{job} is left out: {error!r}", file=sys.stderr)
        continue
    begin = time.process_time()
    for index, (x, y) in enumerate(batches(steps)):
        step(index, x, y)
    took = time.process_time() - begin
    save(folder)
    with open(ended, "w") as file:
        file.write(str(took))
    print(job, folder, took, flush=True)
