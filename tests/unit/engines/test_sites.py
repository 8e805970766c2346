"""No two places of a network draw the same mask: each folds the key by a name of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from small_networks import NETWORKS, random_update
from support.programs import shapes_alone

from clue_runner.models import dropout


@pytest.mark.parametrize("network", NETWORKS)
def test_every_place_that_drops_has_a_name_of_its_own(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras import ops

    names: list[str] = []
    fold = dropout.fold
    monkeypatch.setattr(dropout, "fold", lambda key, name: names.append(name) or fold(key, name))
    batch = {name: ops.convert_to_tensor(values[0]) for name, values in random_update(1).items()}
    key: Any = ops.convert_to_tensor(np.array([5, -7], np.int32))
    built = NETWORKS[network]("float32")
    shapes_alone(lambda: built.loss(batch, key))
    # embeddings, attention's probabilities, the sums after attention and feed-forward, the head; the reader
    # has two embeddings and nine convolutions
    assert len(names) == (11 if network == "reader" else 5)
    assert Counter(names).most_common(1)[0][1] == 1
