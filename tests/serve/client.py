"""Asks the server by Neuronpedia's own client for Python, whose models refuse answers of another form: `client.py ADDRESS`, of a
server whose source `3-small` is a dictionary of `resid_post.3`."""

import sys

import neuronpedia_inference_client as np

MODEL = "tiny"
SOURCE = "3-small"
TEXT = "The dog (a small one) ran"

api = np.DefaultApi(np.ApiClient(np.Configuration(host=f"{sys.argv[1]}/v1")))
feature = np.NPFeature(model=MODEL, source=SOURCE, index=5)
named = {"model": MODEL, "source": SOURCE}
listed = {
    "model": MODEL,
    "source_set": "small",
    "selected_sources": [],
    "sort_by_token_indexes": [],
    "ignore_bos": True,
    "num_results": 3,
}

tokens = api.tokenize_post(np.TokenizePostRequest(model=MODEL, text=TEXT)).token_strings
assert "".join(tokens).endswith(TEXT), tokens

found = api.activation_all_post(np.ActivationAllPostRequest(prompt=TEXT, **listed))
strongest = found.activations[0]
assert len(found.activations) == 3 and found.tokens == tokens and strongest.max_value > 0, found
batch = api.activation_all_batch_post(np.ActivationAllBatchPostRequest(prompts=[TEXT], **listed))
assert batch.results[0].activations[0].index == strongest.index, batch

one = np.ActivationSinglePostRequest(prompt=TEXT, index=str(strongest.index), **named)
found = api.activation_single_post(one)
assert abs(found.activation.max_value - strongest.max_value) < 1e-3 * strongest.max_value, found
several = np.ActivationSingleBatchPostRequest(prompts=[TEXT, "A cat"], index=one.index, **named)
assert api.activation_single_batch_post(several).results[0].activation.values == found.activation.values

by_token = {"top_k": 2, "ignore_bos": True, **named}
found = api.activation_topk_by_token_post(np.ActivationTopkByTokenPostRequest(prompt=TEXT, **by_token))
assert len(found.results[0].top_features) == 2, found
batch = api.activation_topk_by_token_batch_post(np.ActivationTopkByTokenBatchPostRequest(prompts=[TEXT], **by_token))
assert batch.results[0].results[0].top_features == found.results[0].top_features, batch

active = api.activation_source_post(np.ActivationSourcePostRequest(prompts=[TEXT], **named)).results[0].active_features
assert str(strongest.index) in active, active

vector = api.util_sae_vector_post(np.UtilSaeVectorPostRequest(index=5, **named))
assert vector.hook_name == "blocks.3.hook_resid_post" and len(vector.vector) == 192, vector.hook_name
nearest = np.UtilSaeTopkByDecoderCossimPostRequest(feature=feature, num_results=2, **named)
nearest = api.util_sae_topk_by_decoder_cossim_post(nearest).topk_decoder_cossim_features
assert len(nearest) == 2 and nearest[0].cosine_similarity >= nearest[1].cosine_similarity, nearest

try:
    api.activation_single_post(np.ActivationSinglePostRequest(prompt=TEXT, index="5", model="gpt2-small", source=SOURCE))
    raise AssertionError("another model is answered")
except np.ApiException as refused:
    assert refused.status == 400 and "--name gpt2-small" in refused.body, refused
print("answered")
