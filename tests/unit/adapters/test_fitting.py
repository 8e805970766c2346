"""Which families of models a task takes: any encoder, or the one that its adapter names."""

from __future__ import annotations

import pytest

from clue_runner.adapters.fitting import require_family, require_preset_family
from clue_runner.data.cards import find_card
from clue_runner.errors import UsageError


@pytest.mark.parametrize("family", ["bert", "a_family_to_come"])
def test_an_encoder_of_any_family_fits_a_task_that_takes_a_backbone(family: str) -> None:
    require_family(find_card("cluener"), "own", family)
    with pytest.raises(UsageError, match="webqa needs a model of the family dgcnn") as caught:
        require_family(find_card("webqa"), "own", family)
    assert caught.value.next_step == "--model dgcnn"


def test_a_network_that_belongs_to_one_adapter_fits_no_other() -> None:
    require_family(find_card("sogouqa"), "dgcnn", "dgcnn")
    with pytest.raises(UsageError, match="c3 needs an encoder, got dgcnn, which is of the family dgcnn"):
        require_family(find_card("c3"), "dgcnn", "dgcnn")


def test_presets_are_judged_by_name_alone() -> None:
    require_preset_family(find_card("afqmc"), "tiny")
    require_preset_family(find_card("afqmc"), None)
    require_preset_family(find_card("afqmc"), "no-preset")
    with pytest.raises(UsageError, match="afqmc needs an encoder"):
        require_preset_family(find_card("afqmc"), "dgcnn")
