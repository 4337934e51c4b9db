"""Times of Python libraries on a GPU: a line with a name and seconds for each, and one with the peak of memory in bytes.

Arguments: threads, runs, texts, tokens of each, rows of a batch, codes of a row, then pairs of width and features. The
device is "cuda" where there is one. What cannot be measured is left out, with a line that says why. sparsify's forward pass
turns autocast to bf16 on by itself, for f32 too: `f32_without_autocast` is the same step without that.

Rows of dictionaries are random. Where MICROTOME_BENCH_ROWS names a file of numpy, they are its rows, and dictionaries
alone are measured, after as many steps as MICROTOME_BENCH_STEPS says.
"""

import gc
import os
import statistics
import sys
import time
import traceback

import torch

threads, runs, texts, length, rows, k, *pairs = map(int, sys.argv[1:])
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
VOCAB = 4096
os.environ["WANDB_MODE"] = "disabled"
if not CUDA:
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
torch.set_num_threads(threads)
torch.set_float32_matmul_precision("highest")
torch.backends.cuda.matmul.allow_tf32 = False
torch.manual_seed(0)
FOUND = os.environ.get("MICROTOME_BENCH_ROWS")
STEPS_BEFORE = int(os.environ.get("MICROTOME_BENCH_STEPS", 2))


def clock():
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(name, make, *arguments):
    work = None
    try:
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        work = make(*arguments)
        times = []
        for step in range(STEPS_BEFORE + runs):
            begin = clock()
            work(step)
            times.append(clock() - begin)
        print(name, statistics.median(times[STEPS_BEFORE:]), flush=True)
        if CUDA:
            print(f"{name}_memory", torch.cuda.max_memory_allocated(), flush=True)
    except Exception as error:
        print(f"{name} is left out: {traceback.format_exception_only(error)[-1].strip()}", file=sys.stderr, flush=True)
    finally:
        del work
        gc.collect()
        if CUDA:
            torch.cuda.empty_cache()


def autocast(dtype):
    return torch.autocast(DEVICE, torch.bfloat16, enabled=dtype == torch.bfloat16)


def tokens():
    return torch.randint(0, 50000, (texts, length), device=DEVICE)


def lens_forward(dtype):
    import lens

    model, ids = lens.bridge(lens.pythia("eager").to(DEVICE, dtype)), tokens()
    return torch.inference_mode()(lambda step: model(ids))


def lens_harvest(dtype):
    import lens

    model, ids = lens.bridge(lens.pythia("eager").to(DEVICE, dtype)), tokens()
    options = dict(names_filter="blocks.3.hook_resid_post", stop_at_layer=4)
    return torch.inference_mode()(lambda step: model.run_with_cache(ids, **options))


def transformers_forward(dtype):
    import lens

    model, ids = lens.pythia("sdpa").to(DEVICE, dtype), tokens()
    return torch.inference_mode()(lambda step: model(ids, use_cache=False).logits)


def torch_train(texts, length, dtype):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=VOCAB, hidden_size=192, num_hidden_layers=6, num_attention_heads=6, intermediate_size=768,
        max_position_embeddings=256, rotary_pct=0.25, use_parallel_residual=True, tie_word_embeddings=True,
    )
    model = GPTNeoXForCausalLM(config).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    ids = torch.randint(0, VOCAB, (texts, length + 1), device=DEVICE)

    def work(step):
        with autocast(dtype):
            logits = model(ids[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), ids[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return work


def torch_product(dtype):
    size = 8192 if CUDA else 512
    left, right = torch.randn(2, size, size, device=DEVICE, dtype=dtype)
    out = torch.empty_like(left)
    return lambda step: torch.matmul(left, right, out=out)


def torch_copy():
    source = torch.zeros(2**32 if CUDA else 2**26, device=DEVICE, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return lambda step: target.copy_(source)


def batches(width, dtype):
    """Batches of rows, one after the other and again from the first on."""
    if FOUND:
        import numpy

        x = torch.from_numpy(numpy.load(FOUND)).to(DEVICE, dtype)
        found = x[: len(x) // rows * rows].reshape(-1, rows, width)
    else:
        found = torch.randn(4, rows, width, device=DEVICE, dtype=dtype)
    return lambda step: found[step % len(found)]


def dictionary_learning(width, features, dtype):
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=10**6, activation_dim=width, dict_size=features, layer=0, lm_name="none", device=DEVICE, seed=0, k=k
    )
    batch = batches(width, dtype)

    def work(step):
        with autocast(dtype):
            trainer.update(step, batch(step))

    return work


def sae_lens(width, features, dtype):
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=width, d_sae=features, k=k, device=DEVICE))
    config = SAETrainerConfig(
        n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False, total_training_samples=10**8, device=DEVICE,
        autocast=dtype == torch.bfloat16, lr=1e-3, lr_end=1e-4, lr_scheduler_name="constant", lr_warm_up_steps=0,
        adam_beta1=0.9, adam_beta2=0.999, lr_decay_steps=0, n_restart_cycles=1, train_batch_size_samples=rows,
        dead_feature_window=1000, feature_sampling_window=2000, logger=LoggingConfig(log_to_wandb=False),
    )
    batch = batches(width, dtype)
    trainer = SAETrainer(cfg=config, sae=sae, data_provider=iter(lambda: batch(0), None))

    def work(step):
        trainer._train_step(sae=sae, sae_in=batch(step))

    return work


def sparsify(width, features, dtype, autocasts=True):
    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    coder = SparseCoder(width, SparseCoderConfig(num_latents=features, k=k), DEVICE, dtype)
    optimizer = torch.optim.Adam(coder.parameters(), lr=1e-3)
    batch = batches(width, dtype)

    def work(step):
        x = batch(step)
        loss = (coder(x) if autocasts else SparseCoder.forward.__wrapped__(coder, x)).fvu
        optimizer.zero_grad()
        loss.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        coder.set_decoder_norm_to_unit_norm()

    return work


if not FOUND:
    for make in (lens_forward, lens_harvest, transformers_forward, torch_product):
        for name, dtype in DTYPES.items():
            measure(f"{make.__name__}_{name}", make, dtype)
    measure("torch_copy", torch_copy)
    for shape in ((32, 128), (16, 256)):
        for name, dtype in DTYPES.items():
            measure(f"torch_train_{shape[0]}x{shape[1]}_{name}", torch_train, *shape, dtype)
for width, features in zip(pairs[::2], pairs[1::2]):
    for make in (dictionary_learning, sae_lens, sparsify):
        for name, dtype in DTYPES.items():
            measure(f"{make.__name__}_topk_{width}_{features}_{name}", make, width, features, dtype)
    measure(
        f"sparsify_topk_{width}_{features}_f32_without_autocast", sparsify, width, features, torch.float32, False
    )
