"""An exported model as openai/whisper's own model class, with its tokenizer: what the references of openai/whisper are made with.

In: an exported model, whose weights (or those of the checkpoint that it was made of) are given to the class. A model with a
vocabulary of its own gets a tokenizer of its own, made of the model's files; the lists of suppressed tokens are those of its
generation_config.
"""

import functools
import json
import re

import numpy as np
import onnx
import tiktoken
import torch
import whisper
import whisper.tokenizer
from onnx import numpy_helper
from safetensors.torch import load_file
from whisper.model import ModelDimensions, Whisper

PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
RENAMED = [
    ("embed_tokens", "token_embedding"), ("decoder.embed_positions.weight", "decoder.positional_embedding"),
    ("encoder.embed_positions.weight", "encoder.positional_embedding"), ("layers", "blocks"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
    ("final_layer_norm", "mlp_ln"), ("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn", "cross_attn"), ("self_attn", "attn"), ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"),
    ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
]  # fmt: skip


def renamed(name):
    for theirs, ours in RENAMED:
        name = name.replace(theirs, ours)
    return name


def weights(folder):
    """The weights by openai/whisper's names. A matrix has lost its name in the export; the node that multiplies by it has it."""
    found = {}
    for half, file in (("encoder.", "encoder_model"), ("decoder.", "decoder_model")):
        graph = onnx.load(folder / f"{file}.onnx").graph
        arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        named = {n: x for n, x in arrays.items() if "::" not in n}
        for node in graph.node:
            matrix = next((arrays[i] for i in node.input if i in arrays), None)
            if node.op_type == "MatMul" and matrix is not None:
                named[node.name.strip("/").replace("/", ".").removesuffix(".MatMul") + ".weight"] = matrix.T
        for name, array in named.items():
            name = name.removeprefix("model.").removeprefix(half)
            if array.dtype == np.float32 and array.ndim and name.split(".")[0] in ("conv1", "conv2", "layers", "layer_norm", "embed_positions", "embed_tokens"):
                found[renamed(half + name)] = torch.from_numpy(array.copy())
    return found


class Model(Whisper):
    """openai/whisper tells languages by the size of the vocabulary; a small vocabulary has them all the same."""

    is_multilingual = True
    num_languages = 99


def checkpoint_weights(folder):
    """The same, from a checkpoint of transformers."""
    loaded = load_file(folder / "model.safetensors")
    return {renamed(k.removeprefix("model.")): v for k, v in loaded.items() if "proj_out" not in k and "encoder.embed_positions" not in k}


def load(folder, checkpoint):
    config, generation = (json.loads((folder / f"{n}.json").read_text()) for n in ("config", "generation_config"))
    dims = ModelDimensions(
        n_mels=config["num_mel_bins"], n_audio_ctx=config["max_source_positions"], n_audio_state=config["d_model"],
        n_audio_head=config["encoder_attention_heads"], n_audio_layer=config["encoder_layers"], n_vocab=config["vocab_size"],
        n_text_ctx=config["max_target_positions"], n_text_state=config["d_model"],
        n_text_head=config["decoder_attention_heads"], n_text_layer=config["decoder_layers"],
    )  # fmt: skip
    model = (Whisper if dims.n_vocab > 51000 else Model)(dims)
    missing, unexpected = model.load_state_dict(checkpoint_weights(checkpoint) if checkpoint else weights(folder), strict=False)
    # The encoder's positions are sines, the same for all; the export folds them into a constant.
    assert (missing, unexpected) == (["encoder.positional_embedding"], []), (missing, unexpected)
    heads = generation.get("alignment_heads")
    if heads:
        mask = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
        for layer, head in heads:
            mask[layer, head] = True
        model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return model.eval(), generation


def own_tokenizer(folder):
    """The checkpoint's vocabulary as a tiktoken encoding, for whisper.tokenizer."""
    vocabulary = json.loads((folder / "vocab.json").read_text())
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    byte_of = {chr(b): b for b in printable}
    byte_of |= {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in printable)}
    ranks = {bytes(byte_of[c] for c in t): i for t, i in vocabulary.items() if not re.fullmatch(r"<\|.*\|>", t)}
    added = json.loads((folder / "added_tokens.json").read_text())
    special = added | {t: i for t, i in vocabulary.items() if re.fullmatch(r"<\|.*\|>", t)}
    return tiktoken.Encoding(name="own", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)


def suppress_blank(self, blank, logits, tokens):
    if tokens.shape[1] == self.sample_begin:
        logits[:, blank] = -np.inf


def prepare(folder, checkpoint=None):
    """The model, its generation_config, and what every call of `transcribe` and `decode` is given."""
    model, generation = load(folder, checkpoint)
    encoding = own_tokenizer(folder)
    whisper.tokenizer.get_encoding = lambda *_, **__: encoding
    whisper.decoding.SuppressBlank.apply = functools.partialmethod(suppress_blank, generation["begin_suppress_tokens"])
    options = {
        "fp16": False, "temperature": 0.0, "suppress_tokens": generation.get("suppress_tokens") or [],
        "max_initial_timestamp": generation["max_initial_timestamp_index"] * 0.02,
    }  # fmt: skip
    return model, generation, options
