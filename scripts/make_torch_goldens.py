"""Writes small files with PyTorch itself, for the tests of their reader.

    python scripts/make_torch_goldens.py

Needs torch (written with 2.13.0). Values follow from the names, so that no second file holds them: the k-th
number of every storage is k / 8.
"""

from __future__ import annotations

from pathlib import Path

import torch

FOLDER = Path(__file__).parents[1] / "tests/goldens/torch"


def numbers(count: int, kind: torch.dtype) -> torch.Tensor:
    """The numbers 0, 1/8, 2/8, ..."""
    return (torch.arange(count) / 8).to(kind)


def state() -> dict[str, object]:
    """Tensors of every kind of view that a state dict can hold."""
    tied = numbers(12, torch.float32).reshape(3, 4)
    long = numbers(20, torch.float32)
    return {
        "plain": numbers(6, torch.float32).reshape(2, 3),
        "half": numbers(4, torch.float16),
        "brain": numbers(4, torch.bfloat16),
        "double": numbers(3, torch.float64),
        "whole": torch.arange(5),
        "truth": torch.tensor([True, False]),
        "tied": tied,
        "tied_again": tied,
        "transposed": tied.t(),
        "part": long[5:11].reshape(2, 3),
        "steps": long[::4],
        "scalar": torch.tensor(0.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(numbers(2, torch.float32)),
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.save(state(), FOLDER / "zip.bin")
    torch.save(state(), FOLDER / "stream.bin", _use_new_zipfile_serialization=False)
    module = torch.nn.Linear(2, 2)
    torch.save({"epoch": 3, "state_dict": module.state_dict(), "note": "x"}, FOLDER / "nested.bin")
    torch.jit.script(module).save(str(FOLDER / "program.pt"))
    torch.save(module, FOLDER / "module.pt")


if __name__ == "__main__":
    main()
