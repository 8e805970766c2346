"""The encoder against a ``transformers`` BertModel (tests/goldens/bert), imported as a user would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clue_runner import load_backbone

GOLDENS = Path(__file__).parents[1] / "goldens"
LIMIT = 1e-5
pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "bert.npz") as stored:
        return dict(stored)


def test_the_golden_came_from_transformers(golden: dict[str, np.ndarray]) -> None:
    assert str(golden["versions"]).startswith("transformers ")
    assert '"BertModel"' in (GOLDENS / "bert" / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("lengths", ["unpadded", "padded"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_hidden_states_and_pooled_are_those_of_transformers(
    golden: dict[str, np.ndarray], activation: str, lengths: str
) -> None:
    # the folder's own config says gelu
    options = {} if activation == "gelu" else {"activation": activation}
    backbone = load_backbone(GOLDENS / "bert", **options)
    sizes = golden[f"lengths/{lengths}"]
    inside = np.arange(golden["token_ids"].shape[1]) < sizes[:, None]
    sequence, pooled = backbone(
        np.where(inside, golden["token_ids"], 0), np.where(inside, golden["segment_ids"], 0), sizes
    )
    assert pooled is not None
    expected = golden[f"{activation}/{lengths}/sequence"]
    np.testing.assert_allclose(sequence[inside], expected[inside], rtol=0, atol=LIMIT)
    np.testing.assert_allclose(pooled, golden[f"{activation}/{lengths}/pooled"], rtol=0, atol=LIMIT)


def test_the_cases_of_the_golden_differ(golden: dict[str, np.ndarray]) -> None:
    """Else passing one of them would say nothing about the others."""
    for part in ("sequence", "pooled"):
        for one, two in (
            ("gelu/padded", "gelu/unpadded"),
            ("gelu/padded", "gelu_tanh/padded"),
            ("gelu/padded", "relu/padded"),
        ):
            assert np.abs(golden[f"{one}/{part}"] - golden[f"{two}/{part}"]).max() > 10 * LIMIT
