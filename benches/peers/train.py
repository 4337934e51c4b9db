"""Times of training steps in torch for benches/train.rs: a line with a name and seconds for each shape.

Arguments: threads, runs, then texts and tokens of each for every shape.
"""

import sys

import torch
from timing import seconds
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

threads, runs, *sizes = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)

VOCAB = 4096
config = GPTNeoXConfig(
    vocab_size=VOCAB, hidden_size=192, num_hidden_layers=6, num_attention_heads=6, intermediate_size=768,
    max_position_embeddings=256, rotary_pct=0.25, use_parallel_residual=True, tie_word_embeddings=True,
)


def trainer(texts, length):
    model = GPTNeoXForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    ids = torch.randint(0, VOCAB, (texts, length + 1))

    def step():
        logits = model(ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), ids[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


for texts, length in zip(sizes[::2], sizes[1::2]):
    step = trainer(texts, length)
    print(f"step_{texts}x{length}", seconds(runs, step, 2))
