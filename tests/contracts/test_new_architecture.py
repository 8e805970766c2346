"""A new family of models is one folder: BERT with one block for all layers trains, is saved and read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner import architectures
from clue_runner.architectures.base import architecture_names, load_architecture, parameter_count
from clue_runner.architectures.settings import header, make_shape
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.checkpoints.load import load_into
from clue_runner.engines import create_engine
from clue_runner.engines.base import EngineSettings
from clue_runner.engines.rules import make_rule
from clue_runner.errors import CheckpointError
from clue_runner.files.tensors import save_weights

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SIZES = {"num_layers": 3, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 16}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"天气很好吗"]

MODULES = {
    "__init__": '"""BERT whose layers are one block."""\n',
    "shape": '''"""As BERT's."""
from typing import ClassVar
from clue_runner.architectures.bert.shape import Shape as Bert

class Shape(Bert):
    """As BERT's."""
    NAMELESS: ClassVar[bool] = False
''',
    "names": '''"""BERT's tensors, those of a block once."""
from clue_runner.architectures.bert.names import BLOCK, EMBEDDINGS, POOLER
from clue_runner.architectures.name_table import Group, NameTable

NAMES = NameTable(groups=(
    Group("embeddings", EMBEDDINGS, ("backbone/embeddings/", "one/embeddings/", "embeddings.")),
    Group("block", BLOCK, ("backbone/block/", "one/encoder/block/", "encoder.block.")),
    Group("pooler", POOLER, ("backbone/pooler/", "one/pooler/", "pooler."), part="pooler"),
))
''',
    "network": '''"""One block, called once a layer."""
from clue_runner.models.backbone import Backbone, Embeddings
from clue_runner.models.part import POLICIES
from clue_runner.models.positions import LearnedPositions
from clue_runner.models.transformer import Block

def build(shape, vocab_size, *, precision, seed, pooler=True):
    """As BERT's, with one block."""
    common = (seed, POLICIES[precision])
    embeddings = Embeddings(
        "backbone/embeddings", *common, shape=shape, vocab_size=vocab_size,
        positions=LearnedPositions(shape.max_positions),
    )
    blocks = [Block("backbone/block", *common, shape=shape)] * shape.num_layers
    return Backbone(*common, shape=shape, embeddings=embeddings, blocks=blocks, pooler=pooler)
''',
}


@pytest.fixture
def family(tmp_path: Path) -> Iterator[str]:
    """The folder of a family, found beside the others."""
    folder = tmp_path / "families" / "oneblock"
    folder.mkdir(parents=True)
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    architectures.__path__.append(str(folder.parent))
    yield "oneblock"
    architectures.__path__.remove(str(folder.parent))
    for name in [name for name in sys.modules if name.startswith(f"{architectures.__name__}.oneblock")]:
        del sys.modules[name]


def build(family: str, **options: Any) -> Any:
    """The network of a task with two labels."""
    from clue_runner.models.heads.labels import ClassificationHead

    shape = make_shape(family, **SIZES, dropout=0.2, **options)
    backbone = load_architecture(family).build(shape, len(PIECES), precision="float32", seed=5)
    return ClassificationHead(backbone, 2, seed=5)


def start(family: str, **options: Any) -> Any:
    settings = EngineSettings(
        precision="float32", jit=BACKEND == "jax", rule=make_rule("adamw", {}, weight_decay=0.01),
        clip_norm=1.0, ema=None, seed=3,
    )  # fmt: skip
    engine = create_engine(BACKEND)
    engine.init(lambda: build(family, **options), settings)
    return engine


def train(engine: Any, first: int, last: int) -> list[float]:
    """The losses of some updates; the label is what a row's first token is."""
    losses = []
    for number in range(first, last):
        ids = np.random.default_rng(number).integers(5, len(PIECES), (1, 24, 7)).astype(np.int32)
        batch = {
            "token_ids": ids,
            "segment_ids": np.zeros_like(ids),
            "lengths": np.full((1, 24), 7, np.int32),
            "label": (ids[:, :, 0] >= 7).astype(np.int32),
            "weight": np.ones((1, 24), np.float32),
        }
        losses.append(engine.step(batch, update_index=number, learning_rate=5e-3)().loss)
    return losses


def save(engine: Any, family: str, run: Path) -> Path:
    """What a run keeps of its weights."""
    step = run / "checkpoints" / "step-8"
    step.mkdir(parents=True)
    meta = header(make_shape(family, **SIZES), len(PIECES), lowercase=True)
    save_weights(step / "weights.safetensors", engine.get_weights(averaged=False), meta)
    (step / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    (run / "checkpoints" / "best").write_text("step-8\n", encoding="utf-8")
    return run


def test_it_is_found_and_counted(family: str) -> None:
    assert family in architecture_names()
    shape = make_shape(family, **SIZES)
    weights = [
        value for name, value in start(family).get_weights(averaged=False).items() if "head" not in name
    ]
    assert parameter_count(shape, len(PIECES)) == sum(value.size for value in weights)
    assert parameter_count(shape, len(PIECES)) < parameter_count(make_shape("bert", **SIZES), len(PIECES))


def test_it_trains_and_goes_on_bit_for_bit(family: str) -> None:
    engine = start(family, recompute="sublayer")
    train(engine, 0, 4)
    state = engine.get_state()
    losses = train(engine, 4, 50)
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    expected = engine.get_state()
    again = start(family, recompute="sublayer")
    again.set_state(state)
    assert train(again, 4, 50) == losses
    found = again.get_state()
    assert all(np.array_equal(found[name], value) for name, value in expected.items())


class Slot:
    def __init__(self, value: np.ndarray[Any, Any]) -> None:
        self.shape, self.dtype, self.value = value.shape, value.dtype, value

    def assign(self, value: np.ndarray[Any, Any]) -> None:
        self.value = value


def test_its_weights_are_read_back_and_others_are_refused(family: str, tmp_path: Path) -> None:
    engine = start(family)
    checkpoint = read_checkpoint(save(engine, family, tmp_path / "run"))
    assert checkpoint.architecture.name == checkpoint.config["family"] == family
    weights = engine.get_weights(averaged=False)
    slots = {name: Slot(np.full_like(value, -9)) for name, value in weights.items()}
    assert load_into(slots, checkpoint) == []
    for name, slot in slots.items():
        assert np.array_equal(slot.value, weights[name]) is not name.startswith("head/")

    bert = start("bert")
    foreign = read_checkpoint(save(bert, "bert", tmp_path / "bert"))
    with pytest.raises(CheckpointError) as caught:
        load_into(slots, foreign)
    problems = [str(problem) for problem in caught.value.problems]
    assert "backbone/block_2/attention/key/bias: the model has no such tensor" in problems
    assert "backbone/block/attention/key/bias: the checkpoint has no such tensor" in problems

    mixed = save(bert, family, tmp_path / "mixed")  # BERT's tensors under this family's name
    with pytest.raises(CheckpointError, match="backbone/block/attention/query/kernel: missing tensor"):
        read_checkpoint(mixed)
