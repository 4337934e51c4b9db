"""Times of steps of transcoder adapters by their authors' code for benches/train.rs: a line with a name and seconds.

Arguments: threads, runs, texts of a step, tokens of a text, features of a layer. MICROTOME_TRANSCODER_ADAPTERS names a checkout of
github.com/nathanhu0/transcoder-adapters at a944cd1, which needs wandb and is written for transformers 4: three names of it are others in 5.
"""

import copy
import os
import sys

import torch
from timing import seconds
from transformers import Qwen2Config, Qwen2ForCausalLM, masking_utils

causal_mask = masking_utils.create_causal_mask


def mask(**given):
    given.pop("cache_position", None)
    if "input_embeds" in given:
        given["inputs_embeds"] = given.pop("input_embeds")
    return causal_mask(**given)


masking_utils.create_causal_mask = mask
sys.path.insert(0, os.environ["MICROTOME_TRANSCODER_ADAPTERS"])

from models.qwen2_transcoder import Qwen2ConfigWithTranscoder, Qwen2ForCausalLMWithTranscoder
from training.config import BridgingConfig, ExperimentConfig, TranscoderConfig
from training.train import train_step_bridging

threads, runs, texts, length, features = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
VOCAB = 4096
SIZES = dict(
    vocab_size=VOCAB, hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6,
    num_key_value_heads=6, max_position_embeddings=256, tie_word_embeddings=True,
)
PROJECTIONS = ["gate_proj", "up_proj", "down_proj"]

base = Qwen2ForCausalLM(Qwen2Config(**SIZES))
tuned = copy.deepcopy(base).requires_grad_(False).eval()
with torch.no_grad():
    for weight in tuned.parameters():
        weight += 0.01 * torch.randn_like(weight)
config = Qwen2ConfigWithTranscoder(transcoder_n_features=features, transcoder_dec_bias=True, **SIZES)
model = Qwen2ForCausalLMWithTranscoder(config)
model.load_state_dict(tuned.state_dict(), strict=False)
for own, of_base in zip(model.model.layers, base.model.layers):
    for name in PROJECTIONS:
        getattr(own.mlp, name).weight.data.copy_(getattr(of_base.mlp, name).weight.data)
for name, weight in model.named_parameters():
    weight.requires_grad = "transcoder" in name
for layer in [*model.model.layers, *tuned.model.layers]:
    layer.attention_type = "full_attention"

fitted = [weight for weight in model.parameters() if weight.requires_grad]
optimizer = torch.optim.AdamW(fitted, lr=8e-4, weight_decay=0.0)
options = ExperimentConfig(transcoder=TranscoderConfig(n_features=features, l1_weight=1e-3), bridging=BridgingConfig())


def step():
    ids = torch.randint(0, VOCAB, (texts, length))
    batch = dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
    train_step_bridging(model, tuned, batch, options, 0, 1, 1)
    torch.nn.utils.clip_grad_norm_(fitted, max_norm=1.0)
    optimizer.step()
    optimizer.zero_grad()


print("adapters", seconds(runs, step, 2))
