"""Compare this project's encoder with the one of ``transformers`` on the same random checkpoint.

    KERAS_BACKEND=jax python scripts/check_parity.py --layers 12 --hidden 768 --layout huggingface

Writes a random BertModel as a checkpoint folder, loads it with both, encodes the same padded batch, and
prints the largest difference of hidden states (at real tokens) and pooled vectors. Ends with 1 above
``LIMIT``. Needs ``transformers`` and ``torch``; the Google layout needs TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

LIMIT = 1e-5
VOCABULARY = 21_128


def write_checkpoint(
    folder: Path, *, layers: int, hidden: int, layout: str, vocabulary: int = VOCABULARY, seed: int = 0
):
    """Write a random checkpoint in a layout; return the ``transformers`` model that made it."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(2, hidden // 64),
        intermediate_size=4 * hidden,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        # Fresh biases are 0 and fresh norms 1: a swapped pair would not be seen.
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                value.normal_(0, 0.05)
            elif "LayerNorm" in name:
                value.normal_(1, 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *(f"[unused{number}]" for number in range(vocabulary - 5)),
    ]
    (folder / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in pieces), encoding="utf-8", newline="\n"
    )
    if layout == "huggingface":
        model.save_pretrained(folder)
    else:
        save_as_google(folder, model, config)
    return model


def save_as_google(folder: Path, model, config) -> None:
    """Write the weights under the names and in the layout of the BERT release."""
    import tensorflow as tf

    renames = [
        ("encoder.layer.", "encoder/layer_"),
        (".", "/"),
        ("LayerNorm/weight", "LayerNorm/gamma"),
        ("LayerNorm/bias", "LayerNorm/beta"),
        ("embeddings/weight", "embeddings"),
        ("/weight", "/kernel"),
    ]
    tensors = {}
    for name, value in model.state_dict().items():
        array = value.numpy()
        target = f"bert/{name}"
        for old, new in renames:
            target = target.replace(old, new)
        tensors[target] = array.T if target.endswith("/kernel") else array
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "bert_model.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    keys += ("max_position_embeddings", "type_vocab_size", "hidden_act", "hidden_dropout_prob")
    content = {key: getattr(config, key) for key in (*keys, "attention_probs_dropout_prob")}
    (folder / "bert_config.json").write_text(json.dumps(content), encoding="utf-8")


def make_batch(
    vocabulary: int, *, rows: int, length: int, padded: bool, seed: int = 1
) -> dict[str, np.ndarray]:
    """Return random ids, pairs of segments, and lengths from 2 to ``length`` where ``padded``."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, length + 1, rows) if padded else np.full(rows, length)
    lengths[0] = length
    inside = np.arange(length) < lengths[:, None]
    token_ids = np.where(inside, random.integers(5, vocabulary, (rows, length)), 0)
    segment_ids = np.where(inside, np.arange(length) >= lengths[:, None] // 2, 0)
    return {"token_ids": token_ids, "segment_ids": segment_ids.astype(int), "lengths": lengths}


def differences(folder: Path, model, batch: dict[str, np.ndarray]) -> tuple[float, float]:
    """Return the largest absolute difference of hidden states at real tokens, and of pooled vectors."""
    import torch

    from clue_runner import load_backbone

    inside = np.arange(batch["token_ids"].shape[1]) < batch["lengths"][:, None]
    with torch.no_grad():
        theirs = model(
            input_ids=torch.from_numpy(batch["token_ids"]),
            token_type_ids=torch.from_numpy(batch["segment_ids"]),
            attention_mask=torch.from_numpy(inside.astype(np.int64)),
        )
    sequence, pooled = load_backbone(folder)(**batch)
    hidden = np.abs(sequence - theirs.last_hidden_state.numpy())[inside].max()
    return float(hidden), float(np.abs(pooled - theirs.pooler_output.numpy()).max())


def main() -> int:
    """Run one comparison, padded and unpadded."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layout", choices=["huggingface", "google"], default="huggingface")
    parser.add_argument("--length", type=int, default=128)
    arguments = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = write_checkpoint(
            folder, layers=arguments.layers, hidden=arguments.hidden, layout=arguments.layout
        )
        for padded in (False, True):
            batch = make_batch(VOCABULARY, rows=4, length=arguments.length, padded=padded, seed=1 + padded)
            hidden, pooled = differences(folder, model, batch)
            kind = "padded" if padded else "unpadded"
            print(f"{kind}: hidden states {hidden:.2e}, pooled {pooled:.2e} (limit {LIMIT:.0e})")
            worst = max(worst, hidden, pooled)
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
