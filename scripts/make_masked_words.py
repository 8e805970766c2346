"""Writes tests/goldens/masked_words.npz: loss and gradients of ``transformers`` BertForMaskedLM.

In: nothing. Out: the checkpoint folder of a small network with random weights beside it, rows with masked
places, what stood there, the loss and every gradient by Hugging Face's names. The tests need neither library;
run this where both are:

    python -m venv peers-torch && peers-torch/bin/pip install torch==2.13.0 transformers==5.24.0
    peers-torch/bin/python scripts/make_masked_words.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

GOLDENS = Path(__file__).resolve().parents[1] / "tests" / "goldens"
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"春夏秋冬山水风云天地人日月花草鱼虫鸟",
    "##a",
    "b",
]
ROWS, LENGTH, MASKED = 3, 12, 4
LENGTHS = (12, 9, 6)


def main() -> None:
    """Write the golden."""
    import torch
    import transformers

    generator = np.random.default_rng(20200807)
    config = transformers.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    model = transformers.BertForMaskedLM(config).train()
    with torch.no_grad():  # no weight at its initial value: zeros and ones would hide what is left out
        for name, weight in model.named_parameters():
            base = 1.0 if "LayerNorm.weight" in name else 0.0
            weight.copy_(
                torch.from_numpy(generator.normal(base, 0.3, tuple(weight.shape)).astype(np.float32))
            )
    folder = GOLDENS / "masked_words"
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    lengths = np.array(LENGTHS, np.int32)
    inside = np.arange(LENGTH) < lengths[:, None]
    token_ids = np.where(inside, generator.integers(5, len(PIECES), (ROWS, LENGTH)), 0)
    places, targets = np.zeros((ROWS, MASKED), np.int32), np.full((ROWS, MASKED), -1, np.int32)
    labels = np.full((ROWS, LENGTH), -100)
    for row, length in enumerate(lengths):
        count = MASKED - row  # later rows ask less
        places[row, :count] = np.sort(generator.permutation(np.arange(1, length - 1))[:count])
        targets[row, :count] = token_ids[row, places[row, :count]]
        labels[row, places[row, :count]] = targets[row, :count]
        token_ids[row, places[row, 0]] = 4  # one masked, the others as they are
    loss = model(
        input_ids=torch.from_numpy(token_ids),
        attention_mask=torch.from_numpy(inside.astype(np.int64)),
        labels=torch.from_numpy(labels),
    ).loss
    loss.backward()
    arrays = {
        "versions": np.array(f"transformers {transformers.__version__}, torch {torch.__version__}"),
        "token_ids": token_ids.astype(np.int32),
        "lengths": lengths,
        "places": places,
        "targets": targets,
        "loss": np.float32(loss.item()),
    }
    for name, weight in model.named_parameters():
        arrays[f"gradients/{name}"] = weight.grad.numpy()
    np.savez_compressed(GOLDENS / "masked_words.npz", **arrays)


if __name__ == "__main__":
    main()
