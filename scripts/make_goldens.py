"""Writes tests/goldens/*.npz: what other libraries compute on small random inputs.

In: the name of a golden. Out: one npz with the inputs, the weights, the results and the library's version;
an encoder's weights stand beside it, as the checkpoint folder that its own library saves.
The tests need none of these libraries; run this where one is installed:

    python -m venv peers && peers/bin/pip install bert4keras==0.11.5 tf_keras
    TF_KERAS=1 TF_USE_LEGACY_KERAS=1 peers/bin/python scripts/make_goldens.py positions span_scorer gpt2_ml
    python -m venv peers-torch && peers-torch/bin/pip install torch==2.13.0 transformers==5.24.0
    peers-torch/bin/python scripts/make_goldens.py bert
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GOLDENS = Path(__file__).resolve().parents[1] / "tests" / "goldens"
ROWS, LENGTH, WIDTH, TYPES, HEAD_SIZE = 2, 7, 12, 3, 8


def span_scorer() -> dict[str, np.ndarray]:
    """Return bert4keras's GlobalPointer, its efficient form and their loss, without and with bias."""
    os.environ.update(TF_KERAS="1", TF_USE_LEGACY_KERAS="1")
    import bert4keras
    import tensorflow as tf
    from bert4keras.backend import multilabel_categorical_crossentropy
    from bert4keras.layers import EfficientGlobalPointer, GlobalPointer

    generator = np.random.default_rng(20201122)
    inputs = generator.normal(size=(ROWS, LENGTH, WIDTH)).astype(np.float32)
    allowed = np.arange(LENGTH)[None, :] < np.array([[LENGTH], [4]])
    allowed[:, 0] = False  # [CLS]
    # type, first, last; -1 fills up. The second row has a type with two true spans, one in the other.
    spans = np.array([[[0, 1, 2], [1, 3, 6], [-1, 0, 0]], [[2, 1, 3], [2, 2, 2], [0, 3, 3]]], np.int32)
    truth = np.zeros((ROWS, TYPES, LENGTH, LENGTH), np.float32)
    for row in range(ROWS):
        for kind, first, last in spans[row][spans[row, :, 0] >= 0]:
            truth[row, kind, first, last] = 1
    found: dict[str, np.ndarray] = {
        "versions": np.array(f"bert4keras {bert4keras.__version__}, tensorflow {tf.__version__}"),
        "inputs": inputs,
        "allowed": allowed,
        "spans": spans,
    }
    for name, kind in (("globalpointer", GlobalPointer), ("efficient", EfficientGlobalPointer)):
        for use_bias in (False, True):
            layer = kind(TYPES, HEAD_SIZE, use_bias=use_bias)
            layer(tf.constant(inputs), mask=tf.constant(allowed))
            weights = [
                generator.normal(size=weight.shape).astype(np.float32) / 3 for weight in layer.get_weights()
            ]
            layer.set_weights(weights)
            scores = layer(tf.constant(inputs), mask=tf.constant(allowed))
            flat = tf.reshape(scores, (ROWS, TYPES, -1))
            losses = multilabel_categorical_crossentropy(tf.reshape(truth, (ROWS, TYPES, -1)), flat)
            case = f"{name}/{'bias' if use_bias else 'no_bias'}"
            found |= {f"{case}/weights/{number}": weight for number, weight in enumerate(weights)}
            found |= {f"{case}/scores": scores.numpy(), f"{case}/losses": losses.numpy()}
    return found


BERT = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 16}
VOCABULARY = 30


def positions() -> dict[str, np.ndarray]:
    """Return a BERT of bert4keras with ``hierarchical_position``: weights by our names, and its outputs."""
    os.environ.update(TF_KERAS="1", TF_USE_LEGACY_KERAS="1")
    import bert4keras
    import tensorflow as tf
    from bert4keras import models

    generator = np.random.default_rng(7947)
    found: dict[str, np.ndarray] = {
        "versions": np.array(f"bert4keras {bert4keras.__version__}, tensorflow {tf.__version__}")
    }
    # 0.4 is the default behind True
    for name, hierarchical in (("learned", None), ("hierarchical", True), ("other", 0.2)):
        model = models.BERT(
            vocab_size=VOCABULARY,
            hidden_size=BERT["hidden_dim"],
            num_hidden_layers=BERT["num_layers"],
            num_attention_heads=BERT["num_heads"],
            intermediate_size=BERT["intermediate_dim"],
            hidden_act="gelu",
            max_position=BERT["max_positions"],
            segment_vocab_size=2,
            hierarchical_position=hierarchical,
            dropout_rate=0.0,
        )
        model.build()
        for layer in model.model.layers:
            for weight, ours in zip(layer.weights, _our_names(layer.name), strict=True):
                key = f"weights/{ours}"
                if key not in found:
                    found[key] = generator.normal(size=weight.shape).astype(np.float32) / 3
                weight.assign(found[key])
        longest = BERT["max_positions"] * (1 if hierarchical is None else 4)
        for length in (16, 17, 40, 64):
            if length > longest:
                continue
            token_ids = found.setdefault(
                f"token_ids/{length}", generator.integers(1, VOCABULARY, (2, length)).astype(np.int32)
            )
            segment_ids = np.broadcast_to(np.arange(length) > length // 2, (2, length)).astype(np.int32)
            found[f"{name}/{length}"] = model.model.predict([token_ids, segment_ids], verbose=0)
    return found


def _our_names(layer: str) -> list[str]:
    """Return our names of the weights of one of bert4keras's layers, in its order."""
    if layer.startswith("Embedding-"):
        part = layer.removeprefix("Embedding-")
        if part == "Norm":
            return [f"backbone/embeddings/norm/{name}" for name in ("offset", "scale")]
        known = {"Token": "word", "Segment": "segment", "Position": "position"}
        return [f"backbone/embeddings/{known[part]}"] if part in known else []
    if not layer.startswith("Transformer-"):
        return []
    number, _, part = layer.removeprefix("Transformer-").partition("-")
    block = f"backbone/block_{number}"
    ours = "attention" if part.startswith("MultiHeadSelfAttention") else "feed_forward"
    if part.endswith("-Norm"):
        return [f"{block}/{ours}/norm/{name}" for name in ("offset", "scale")]
    if part not in {"MultiHeadSelfAttention", "FeedForward"}:
        return []
    inner = ("query", "key", "value", "output") if ours == "attention" else ("inner", "outer")
    return [f"{block}/{ours}/{name}/{kind}" for name in inner for kind in ("kernel", "bias")]


DECODER = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 12}


def gpt2_ml() -> dict[str, np.ndarray]:
    """Return bert4keras's GPT2_ML: weights by the release's names, hidden states and logits of a text.

    Beside it what BERT's and GPT-2's wirings make of the same weights, which must be something else.
    """
    os.environ.update(TF_KERAS="1", TF_USE_LEGACY_KERAS="1")
    import bert4keras
    import tensorflow as tf
    from bert4keras import models

    generator = np.random.default_rng(7292)
    found: dict[str, np.ndarray] = {
        "versions": np.array(f"bert4keras {bert4keras.__version__}, tensorflow {tf.__version__}")
    }
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": DECODER["hidden_dim"],
        "num_hidden_layers": DECODER["num_layers"],
        "num_attention_heads": DECODER["num_heads"],
        "intermediate_size": DECODER["intermediate_dim"],
        "hidden_act": "gelu",
        "max_position": DECODER["max_positions"],
        "dropout_rate": 0.0,
    }
    model = models.GPT2_ML(**sizes, final_activation="linear")
    model.build()
    for layer, names in model.variable_mapping().items():
        for weight, name in zip(model.layers[layer].weights, names, strict=True):
            base = 1 if name.endswith("gamma") else 0
            value = generator.normal(base, 0.33, size=weight.shape).astype(np.float32)
            found[f"weights/{name}"] = value
            weight.assign(value)
    token_ids = generator.integers(1, VOCABULARY, (3, DECODER["max_positions"])).astype(np.int32)
    found["token_ids"] = token_ids
    last = f"Transformer-{DECODER['num_layers'] - 1}-FeedForward-Norm-1"
    found["hidden"] = _up_to(model, last).predict(token_ids, verbose=0)
    found["logits"] = model.model.predict(token_ids, verbose=0)

    bert = models.extend_with_language_model(models.BERT)(**sizes, segment_vocab_size=0)
    bert.build()
    _assign(bert, found, {"attention": "LayerNorm_mlp_ln0", "feed_forward": "LayerNorm_mlp_ln1"})
    found["wirings/bert"] = _up_to(bert, last.removesuffix("-1")).predict(token_ids, verbose=0)
    other = models.GPT2(**sizes)
    other.build()
    _assign(other, found, {"attention": "LayerNorm_mlp_ln0", "feed_forward": "LayerNorm_mlp_ln1"})
    found["wirings/gpt2"] = _up_to(other, "Output-Norm").predict(token_ids, verbose=0)
    return found


def _up_to(model: Any, layer: str) -> Any:
    """Return one of bert4keras's models, cut behind a layer."""
    from bert4keras.backend import keras

    return keras.models.Model(model.model.inputs, model.layers[layer].output)


def _assign(model: Any, found: dict[str, np.ndarray], norms: dict[str, str]) -> None:
    """Give another wiring the weights of the first, its norms those that stand nearest."""
    dense = {
        "MultiHeadSelfAttention": ("query_layer", "key_layer", "value_layer", "context_projection_layer"),
        "FeedForward": ("intermediate", "output"),
    }
    for name, layer in model.layers.items():
        names: list[str] = []
        if name in {"Embedding-Token", "Embedding-Position"}:
            names = ["embeddings/word_embed" if name == "Embedding-Token" else "embeddings/pos_embed"]
        elif name in {"Embedding-Norm", "Output-Norm"}:
            names = [f"embeddings/LayerNorm_embed_norm/{part}" for part in ("beta", "gamma")]
        elif name.startswith("Transformer-"):
            number, _, part = name.removeprefix("Transformer-").partition("-")
            block = f"layer{int(number):02d}"
            if part.endswith("-Norm"):
                kind = norms["feed_forward" if part.startswith("Feed") else "attention"]
                names = [f"{block}/{kind}/{end}" for end in ("beta", "gamma")]
            else:
                names = [f"{block}/{one}/{end}" for one in dense.get(part, ()) for end in ("kernel", "bias")]
        for weight, source in zip(layer.weights, names, strict=True) if names else ():
            weight.assign(found[f"weights/newslm/{source}"])


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(0x4E00 + number) for number in range(55))]
ENCODER = {
    "vocab_size": len(PIECES),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "hidden_act": "gelu",
}


def bert() -> dict[str, np.ndarray]:
    """Write the checkpoint folder of a ``transformers`` BertModel; return its inputs and outputs.

    No weight is left at its initial value: with biases of 0 and norms of 1 an exchanged pair or a norm
    that is left out would hardly be seen.
    """
    import torch
    import transformers

    generator = np.random.default_rng(20181011)
    model = _encoder(generator)
    model.save_pretrained(GOLDENS / "bert")
    (GOLDENS / "bert" / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    rows, length = 4, 13
    arrays: dict[str, np.ndarray] = {
        "versions": np.array(f"transformers {transformers.__version__}, torch {torch.__version__}"),
        "token_ids": generator.integers(2, len(PIECES), (rows, length)).astype(np.int32),
        "segment_ids": generator.integers(0, 2, (rows, length)).astype(np.int32),
        "lengths/unpadded": np.full((rows,), length, np.int32),
        "lengths/padded": np.array([length, 5, 1, 8], np.int32),
    }
    # The config's word for it -> the case; the first is the one that the folder's config names.
    for activation, case in (("gelu", "gelu"), ("gelu_new", "gelu_tanh"), ("relu", "relu")):
        other = transformers.BertModel(_encoder_config(activation)).eval()
        other.load_state_dict(model.state_dict())
        for lengths in ("unpadded", "padded"):
            inside = np.arange(length) < arrays[f"lengths/{lengths}"][:, None]
            with torch.no_grad():
                outputs = other(
                    input_ids=torch.from_numpy(np.where(inside, arrays["token_ids"], 0)),
                    token_type_ids=torch.from_numpy(np.where(inside, arrays["segment_ids"], 0)),
                    attention_mask=torch.from_numpy(inside.astype(np.int64)),
                )
            arrays[f"{case}/{lengths}/sequence"] = outputs.last_hidden_state.numpy()
            arrays[f"{case}/{lengths}/pooled"] = outputs.pooler_output.numpy()
    return arrays


def _encoder_config(activation: str) -> Any:
    """Return the golden encoder's config with another activation."""
    from transformers import BertConfig

    return BertConfig(**ENCODER | {"hidden_act": activation}, attn_implementation="eager")


def _encoder(generator: np.random.Generator) -> Any:
    """Return a BertModel in evaluation mode, each weight drawn from the generator."""
    import torch
    from transformers import BertModel

    model = BertModel(_encoder_config("gelu")).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            drawn = generator.normal(1 if "LayerNorm.weight" in name else 0, 0.25, tuple(value.shape))
            value.copy_(torch.from_numpy(drawn.astype(np.float32)))
    return model


MAKERS: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "bert": bert,
    "gpt2_ml": gpt2_ml,
    "positions": positions,
    "span_scorer": span_scorer,
}


def main() -> None:
    """Write the goldens that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=sorted(MAKERS))
    for name in parser.parse_args().names:
        GOLDENS.mkdir(parents=True, exist_ok=True)
        arrays = MAKERS[name]()
        np.savez_compressed(GOLDENS / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        print(f"{name}.npz: {len(arrays)} arrays, {arrays['versions']}")


if __name__ == "__main__":
    main()
