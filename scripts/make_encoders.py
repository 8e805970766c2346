"""Writes tests/goldens/encoders/: checkpoints as families' own libraries save them, and what these compute.

In: names of families, a size, a folder. Out: for each one checkpoint folder, and beside it one npz with the
inputs, the hidden states and the library's version. No weight is left at its first value: with biases of 0
and norms of 1 an exchanged pair or a norm that is left out would hardly be seen. Run where the libraries are:

    python -m venv peers-torch && peers-torch/bin/pip install torch==2.13.0 transformers==5.24.0
    peers-torch/bin/python scripts/make_encoders.py electra ernie albert roformer deberta
    python -m venv peers && peers/bin/pip install bert4keras==0.11.5 tf_keras tensorflow
    peers/bin/python scripts/make_encoders.py nezha roformer-bert4keras roformer-v2
"""

from __future__ import annotations

import argparse
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

GOLDENS = Path(__file__).resolve().parents[1] / "tests" / "goldens" / "encoders"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(0x4E00 + number) for number in range(55))]
ROWS, LENGTH = 4, 13
LENGTHS = {"unpadded": [LENGTH] * ROWS, "padded": [LENGTH, 5, 1, 8]}
SIZES = {
    "small": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 24,
        "embedding_size": 16,
    },
    "wide": {
        "hidden_size": 60,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "intermediate_size": 100,
        "max_position_embeddings": 16,
        "embedding_size": 60,
    },
}
# family -> class in transformers, further entries of its config
FACES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "electra": ("Electra", {}),
    "ernie": ("Ernie", {"use_task_id": True, "task_type_vocab_size": 3, "hidden_act": "relu"}),
    "albert": ("Albert", {"hidden_act": "gelu_new"}),
    "roformer": ("RoFormer", {}),
    "deberta": (
        "DebertaV2",
        {
            "relative_attention": True,
            "position_buckets": 4,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
            "layer_norm_eps": 1e-7,
        },
    ),
    # as Microsoft's own: projections of positions apart, a table of positions, no buckets
    "deberta-apart": (
        "DebertaV2",
        {
            "relative_attention": True,
            "max_relative_positions": 6,
            "norm_rel_ebd": "none",
            "share_att_key": False,
            "pos_att_type": ["c2p", "p2c"],
            "position_biased_input": True,
            "type_vocab_size": 2,
        },
    ),
}
# family -> class in bert4keras, what its config says besides sizes
KERAS = {
    "nezha": ("NEZHA", {"use_relative_position": True, "max_relative_position": 64}),
    "roformer-bert4keras": ("RoFormer", {"model_type": "roformer"}),
    "roformer-v2": ("RoFormerV2", {"model_type": "roformer_v2"}),
}


def inputs(name: str) -> dict[str, np.ndarray]:
    """Return token ids and segment ids."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return {
        "token_ids": generator.integers(2, len(PIECES), (ROWS, LENGTH)).astype(np.int32),
        "segment_ids": generator.integers(0, 2, (ROWS, LENGTH)).astype(np.int32),
        **{f"lengths/{case}": np.array(lengths, np.int32) for case, lengths in LENGTHS.items()},
    }


def drawn(name: str, shape: tuple[int, ...], scale: bool) -> np.ndarray:
    """Return a weight's values, a function of its name."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return generator.normal(1 if scale else 0, 0.25, shape).astype(np.float32)


def transformers_model(name: str, size: str, folder: Path) -> dict[str, np.ndarray]:
    """Save a model of transformers; return what it computes."""
    import torch
    import transformers

    kind, more = FACES[name]
    sizes = dict(SIZES[size])
    if kind in {"Ernie", "DebertaV2"}:
        del sizes["embedding_size"]
    elif kind == "Albert":  # always narrower than the blocks
        sizes["embedding_size"] = 16
    options = {"vocab_size": len(PIECES), "hidden_act": "gelu", **sizes, **more}
    config = getattr(transformers, f"{kind}Config")(**options, attn_implementation="eager")
    model = getattr(transformers, f"{kind}Model")(config).eval()
    with torch.no_grad():
        for weight, value in model.named_parameters():
            if value.requires_grad:
                scale = "norm.weight" in weight.lower()
                value.copy_(torch.from_numpy(drawn(weight, tuple(value.shape), scale)))
    model.save_pretrained(folder)
    arrays = inputs(name)
    arrays["versions"] = np.array(f"transformers {transformers.__version__}, torch {torch.__version__}")
    for case in LENGTHS:
        inside = np.arange(LENGTH) < arrays[f"lengths/{case}"][:, None]
        with torch.no_grad():
            outputs = model(
                input_ids=torch.from_numpy(np.where(inside, arrays["token_ids"], 0)),
                token_type_ids=torch.from_numpy(np.where(inside, arrays["segment_ids"], 0)),
                attention_mask=torch.from_numpy(inside.astype(np.int64)),
            )
        arrays[f"{case}/sequence"] = outputs.last_hidden_state.numpy()
        pooled = getattr(outputs, "pooler_output", None)
        if pooled is not None:
            arrays[f"{case}/pooled"] = pooled.numpy()
    return arrays


def bert4keras_model(name: str, size: str, folder: Path) -> dict[str, np.ndarray]:
    """Save a model of bert4keras as a TensorFlow checkpoint; return what it computes.

    The checkpoint's names are those of the model's own map.
    """
    os.environ.update(TF_KERAS="1", TF_USE_LEGACY_KERAS="1")
    import bert4keras
    import tensorflow as tf
    from bert4keras import models

    kind, more = KERAS[name]
    sizes = SIZES[size]
    transformer = getattr(models, kind)(
        vocab_size=len(PIECES),
        hidden_size=sizes["hidden_size"],
        num_hidden_layers=sizes["num_hidden_layers"],
        num_attention_heads=sizes["num_attention_heads"],
        intermediate_size=sizes["intermediate_size"],
        hidden_act="gelu",
        max_position=sizes["max_position_embeddings"],
        segment_vocab_size=2,
        dropout_rate=0.0,
    )
    transformer.build()
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for layer, names in transformer.variable_mapping().items():
        if layer not in transformer.layers:
            continue
        weights = [one for one in transformer.layers[layer].weights if one.trainable]
        for weight, theirs in zip(weights, names, strict=True):
            weight.assign(drawn(theirs, tuple(weight.shape), theirs.endswith("gamma")))
            stored[theirs] = weight.numpy()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for theirs, value in stored.items():
            tf.compat.v1.get_variable(theirs, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(
            session, str(folder / "bert_model.ckpt"), write_meta_graph=False, write_state=False
        )
    config = {key: value for key, value in sizes.items() if key != "embedding_size"}
    config |= {"vocab_size": len(PIECES), "hidden_act": "gelu", "type_vocab_size": 2, **more}
    # K.epsilon(), which bert4keras adds to the variance
    config["layer_norm_eps"] = 1e-7
    (folder / "bert_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    arrays = inputs(name)
    arrays["versions"] = np.array(f"bert4keras {bert4keras.__version__}, tensorflow {tf.__version__}")
    for case in LENGTHS:
        inside = np.arange(LENGTH) < arrays[f"lengths/{case}"][:, None]
        given = [np.where(inside, arrays[key], 0) for key in ("token_ids", "segment_ids")]
        arrays[f"{case}/sequence"] = transformer.model.predict(given, verbose=0)
    return arrays


def main() -> None:
    """Write the goldens that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=sorted(FACES | KERAS))
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--into", type=Path, default=GOLDENS)
    options = parser.parse_args()
    for name in options.names:
        options.into.mkdir(parents=True, exist_ok=True)
        make = transformers_model if name in FACES else bert4keras_model
        arrays = make(name, options.size, options.into / name)
        (options.into / name / "vocab.txt").write_text(
            "".join(f"{piece}\n" for piece in PIECES), encoding="utf-8"
        )
        np.savez_compressed(options.into / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        print(f"{name}.npz: {len(arrays)} arrays, {arrays['versions']}")


if __name__ == "__main__":
    main()
