"""Times of TransformerLens and transformers for benches/forward.rs: a line with a name and seconds for each.

Arguments: threads, texts, tokens of each, tokens of the prompt, tokens to generate, runs.
"""

import sys
from functools import partial

import timing
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

threads, texts, length, prompt, generated, runs = map(int, sys.argv[1:7])
torch.set_num_threads(threads)
torch.manual_seed(0)

seconds = partial(timing.seconds, runs)


def lens():
    config = HookedTransformerConfig(
        n_layers=6, d_model=512, n_ctx=2048, d_head=64, n_heads=8, d_mlp=2048, d_vocab=50304, act_fn="gelu",
        normalization_type="LN", positional_embedding_type="rotary", rotary_dim=16, parallel_attn_mlp=True, device="cpu",
        seed=0,
    )
    model = HookedTransformer(config).eval()
    tokens = torch.randint(0, 50000, (texts, length))
    site = "blocks.3.hook_resid_post"
    print("forward", seconds(lambda: model(tokens)))
    print("part", seconds(lambda: model.run_with_cache(tokens, names_filter=site, stop_at_layer=4)))
    print("recorded", seconds(lambda: model.run_with_cache(tokens)))


def generation():
    config = GPTNeoXConfig(
        num_hidden_layers=6, hidden_size=512, num_attention_heads=8, intermediate_size=2048, vocab_size=50304,
        max_position_embeddings=2048, rotary_pct=0.25, use_parallel_residual=True, bos_token_id=None, eos_token_id=None,
    )
    model = GPTNeoXForCausalLM(config).eval()
    start = torch.arange(1, prompt + 1)[None]
    options = dict(max_new_tokens=generated, min_new_tokens=generated, do_sample=False, use_cache=True, pad_token_id=0)
    print("token", seconds(lambda: model.generate(start, attention_mask=torch.ones_like(start), **options)) / generated)


with torch.inference_mode():
    lens()
    generation()
