"""Turn a BERT config file into our model settings, and refuse what this backbone would compute wrongly.

In: the JSON object of a bert_config.json (Google) or a config.json (Hugging Face).
Out: fields of ``ModelSettings`` and the rows of the word table. Knows nothing about tensors.
Defaults are those of BertConfig in the BERT release and in Hugging Face, which agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clue_runner.errors import CheckpointError, Problem

# Their key -> our setting, and the largest value believed: a config from a stranger must not exhaust memory.
COUNTS = {
    "num_hidden_layers": ("num_layers", 1_000),
    "hidden_size": ("hidden_dim", 65_536),
    "num_attention_heads": ("num_heads", 1_024),
    "intermediate_size": ("intermediate_dim", 262_144),
    "max_position_embeddings": ("max_positions", 1_048_576),
    "type_vocab_size": ("num_segments", 1_024),
    "vocab_size": ("vocab_size", 4_194_304),
}
COUNT_DEFAULTS = {"type_vocab_size": 2}
# The files say "gelu" for the erf form, as the first BERT release computed it and Hugging Face still does.
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
# Keys that change what the network computes, with the values that mean plain BERT.
PLAIN = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({}, []),
    "quantization_config": (),
    "ln_type": ("postln",),
}


def bert_settings(raw: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], int]:
    """Return our settings and the vocabulary size of a BERT config.

    Raises:
        CheckpointError: another architecture, an option that is not supported yet, or a missing or
            impossible value; all of them at once.
    """
    problems = _unsupported(raw)
    if problems:
        raise CheckpointError(
            "this architecture is not supported yet",
            where=str(path),
            problems=problems,
            next_step="take a BERT-shaped checkpoint: BERT, RoBERTa-wwm, MacBERT, LERT, RBT",
        )
    settings: dict[str, Any] = {}
    for key, (ours, largest) in COUNTS.items():
        value = raw.get(key, COUNT_DEFAULTS.get(key))
        if value is None:
            problems.append(Problem("missing key", key, allowed=f"an integer, 1 to {largest}"))
        elif type(value) is not int or not 1 <= value <= largest:
            problems.append(Problem("impossible value", key, repr(value), f"an integer, 1 to {largest}"))
        settings[ours] = value
    activation = raw.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        problems.append(Problem("unknown activation", "hidden_act", repr(activation), ", ".join(ACTIVATIONS)))
    else:
        settings["activation"] = ACTIVATIONS[activation]
    settings["dropout"] = _number(raw, "hidden_dropout_prob", 0.1, 1.0, problems)
    settings["attention_dropout"] = _number(raw, "attention_probs_dropout_prob", 0.1, 1.0, problems)
    settings["layer_norm_epsilon"] = _number(raw, "layer_norm_eps", 1e-12, 0.1, problems)
    if not problems and settings["hidden_dim"] % settings["num_heads"]:
        what = f"hidden_size {settings['hidden_dim']} is not a multiple of it"
        problems.append(Problem(what, "num_attention_heads", str(settings["num_heads"])))
    if problems:
        next_step = "copy or download the checkpoint again"
        raise CheckpointError(
            "the config cannot be used", where=str(path), problems=problems, next_step=next_step
        )
    return settings, int(settings.pop("vocab_size"))


def _unsupported(raw: Mapping[str, Any]) -> list[Problem]:
    """Return the keys that ask for another network than BERT's."""
    problems = []
    for key, plain in PLAIN.items():
        value = raw.get(key)
        if value is not None and value not in plain:
            allowed = " or ".join(map(repr, plain)) or "absent"
            problems.append(Problem("not supported yet", key, repr(value), allowed))
    if "embedding_size" in raw and raw["embedding_size"] != raw.get("hidden_size"):
        what = "ALBERT is not supported yet: its embedding is factorised"
        problems.append(
            Problem(what, "embedding_size", repr(raw["embedding_size"]), "hidden_size, or absent")
        )
    return problems


def _number(
    raw: Mapping[str, Any], key: str, default: float, below: float, problems: list[Problem]
) -> float | None:
    """Return a number in [0, below), noting a problem where it is none."""
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        problems.append(Problem("impossible value", key, repr(value), f"a number, 0 to below {below}"))
        return None
    return float(value)
