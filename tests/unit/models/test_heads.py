"""Every head that an adapter builds, on the rows of its own sample: losses, host columns, memory facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.adapters.base import Adapter, load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.architectures.settings import build_backbone
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import find_card, recommended_settings
from clue_runner.data.locate import open_sample
from clue_runner.models.dropout import update_keys
from clue_runner.tokens.batches import batch_arrays
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer

KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("afqmc", ("model.pooling=pooler",)),
    ("afqmc", ("model.pooling=max",)),
    ("c3", ("model.pooling=first",)),
    ("chid", ("model.pooling=mean",)),
    ("cluener", ("model.entity_head=globalpointer",)),
    ("cluener", ("model.entity_head=efficient",)),
    ("cluener", ("model.entity_head=crf",)),
    ("cluener", ("model.entity_head=softmax",)),
    ("cmrc2018", ("model.answer_head=globalpointer",)),
    ("cmrc2018", ("model.answer_head=start_end",)),
    ("webqa", ("model.hidden_dim=32",)),
)


class Case(NamedTuple):
    """An adapter, its network, some of its sample's rows and one batch of them."""

    adapter: Adapter
    head: Any
    rows: Rows
    batch: dict[str, Any]
    loss: Callable[..., Any]

    @property
    def device(self) -> dict[str, Any]:
        """Return what of the batch the device gets."""
        kept = self.batch.keys() - self.rows.host_columns
        return {name: ops.convert_to_tensor(self.batch[name]) for name in kept}

    def losses(self, key: Any | None) -> tuple[float, float]:
        """Return (loss, weight) of the batch."""
        loss, weight = self.loss(self.device, key)
        return float(loss), float(weight)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: " ".join((kind[0], *kind[1])))
def case(request: pytest.FixtureRequest) -> Case:
    task, settings = request.param
    card = find_card(task)
    run = load_run(
        task=task,
        card_settings=recommended_settings(card),
        model="dgcnn" if task == "webqa" else "test",
        # one layer of the two: what is held here is the head's
        overrides=["data.max_length=64", *(["model.num_layers=1"] if task != "webqa" else []), *settings],
    )
    adapter = load_adapter(card, run)
    records = adapter.read(open_sample(card), "train")
    tokenizer = adapter.own_tokenizer({"train": records})
    tokenizer = tokenizer or Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", True)
    rows = adapter.epoch_rows(adapter.encode(records, tokenizer), 42, 0)
    size = tokenizer.vocab_size
    head = adapter.own_network(vocab_size=size, precision="float32") or adapter.build(
        build_backbone(run.model, size, precision="float32", seed=42, pooler=run.model.pooling == "pooler")
    )
    # whole groups: the first question has few choices, a blank ten
    batch = batch_arrays(rows, np.arange(int(rows.group_starts[2])), tokens=64, buckets=None)
    return Case(adapter, head, rows, batch, one_program(head.loss))


def test_a_loss_without_a_key_is_the_one_of_a_dev_split(case: Case) -> None:
    loss, weight = case.losses(None)
    assert np.isfinite(loss) and loss > 0 and weight > 0
    assert case.losses(None) == (loss, weight)


def test_a_key_drops_parts_of_the_same_network(case: Case) -> None:
    keys = update_keys(1, 0, 2)
    first, second = case.losses(ops.convert_to_tensor(keys[0])), case.losses(ops.convert_to_tensor(keys[1]))
    plain = case.losses(None)
    assert len({first[0], second[0], plain[0]}) == 3 and first[1] == plain[1]


def test_no_head_reads_a_host_column(case: Case) -> None:
    answer = one_program(case.head.answer)(case.device)
    outputs = {name: np.asarray(ops.convert_to_numpy(values)) for name, values in answer.items()}
    decoded = case.adapter.decode_batch(outputs, case.batch)
    assert len(decoded) == len(case.batch["row"])


def test_the_adapter_knows_what_its_head_keeps(case: Case) -> None:
    facts = case.adapter.memory_facts()
    assert (facts.every_token, facts.span_tables) == (case.head.every_token, case.head.span_tables)
