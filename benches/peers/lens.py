"""A model of transformers with the shape of Pythia-70M, and TransformerLens' bridge over one, for forward.py, gpu.py and neox.py.

The bridge of TransformerLens 4 records attention's scores and patterns, for which transformers has to compute them ("eager").
"""

import tempfile

from transformer_lens.model_bridge import TransformerBridge
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM


def pythia(attention):
    config = GPTNeoXConfig(
        num_hidden_layers=6, hidden_size=512, num_attention_heads=8, intermediate_size=2048, vocab_size=50304,
        max_position_embeddings=2048, rotary_pct=0.25, use_parallel_residual=True, bos_token_id=None, eos_token_id=None,
        architectures=["GPTNeoXForCausalLM"], attn_implementation=attention,
    )
    return GPTNeoXForCausalLM(config).eval()


def bridge(model):
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        return TransformerBridge.boot_transformers(folder, hf_model=model, device=model.device, dtype=model.dtype)
