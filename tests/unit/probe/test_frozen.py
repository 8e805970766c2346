"""Frozen vectors against the Python call, one text at a time; a pooler that the checkpoint does not have."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clue_runner
from clue_runner.adapters.base import Adapter, load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.checkpoints.importer import read_settings
from clue_runner.data.cards import find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.data.records import Records
from clue_runner.errors import CheckpointError
from clue_runner.probe.frozen import frozen_features

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
LIMIT = 24  # positions of the small checkpoint


@pytest.fixture(scope="module")
def folders() -> Any:
    """The makers of small checkpoints that the tests of checkpoints/ use."""
    path = Path(__file__).parents[1] / "checkpoints" / "conftest.py"
    spec = importlib.util.spec_from_file_location("checkpoint_folders", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train() -> Records[Any]:
    card = find_card("tnews")
    return load_adapter(card).read(locate(card, "sample"), "train")


def written(folders: Any, folder: Path, train: Records[Any], **tensors: Any) -> Path:
    """A checkpoint whose vocabulary has the commonest characters of the sample."""
    folders.write_face(folder, **tensors)
    counts = Counter(character for record in train.items for character in record.texts[0])
    pieces = [*folders.PIECES[:5], *(character for character, _ in counts.most_common(35))]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return folder


def bound(checkpoint: Path, pooling: str) -> Adapter:
    card = find_card("tnews")
    settings = {"model.pooling": pooling, "train.precision": "float32", "data.max_length": LIMIT}
    run = load_run(
        task="tnews",
        card_settings=recommended_settings(card),
        model=str(checkpoint),
        overrides=[f"{key}={value}" for key, value in {**settings, "data.cache": "false"}.items()],
        flags={"backend": BACKEND},
        checkpoint_reader=read_settings,
    )
    return load_adapter(card, run)


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_vectors_are_the_checkpoints_in_the_order_of_the_records(
    folders: Any, train: Records[Any], pooling: str, tmp_path: Path
) -> None:
    checkpoint = written(folders, tmp_path / "face", train)
    seen: list[int] = []
    found = frozen_features(bound(checkpoint, pooling), train, pytest.fail, seen.append)
    assert found.vectors.shape == (len(train), 32) and seen[-1] == len(train)
    assert found.facts["weights"] != "random" and found.facts["pooling"] == pooling
    encode, tokenizer = clue_runner.load_backbone(checkpoint), clue_runner.load_tokenizer(checkpoint)
    for place in (0, 1, len(train) // 2, len(train) - 1):
        _, ids, segments, _ = tokenizer.pair_rows([train.items[place].texts], LIMIT)
        sequence, pooled = encode(ids[None], segments[None])
        expected = pooled if pooling == "pooler" else sequence.mean(axis=1)
        assert expected is not None
        np.testing.assert_allclose(found.vectors[place], expected[0], atol=1e-5)


def test_a_pooler_that_the_checkpoint_lacks_is_not_invented(
    folders: Any, train: Records[Any], tmp_path: Path
) -> None:
    tensors = {name: value for name, value in folders.face_weights().items() if "pooler" not in name}
    checkpoint = written(folders, tmp_path / "face", train, tensors=tensors)
    with pytest.raises(CheckpointError, match=r"--pooling: .*no pooler"):
        frozen_features(bound(checkpoint, "pooler"), train, pytest.fail)
