"""The settings specific to kinds of tasks, families of models, update rules and techniques.

In: nothing; the folders are the lists. Out: ``SECTIONS`` as ``config/`` takes them, and resolved runs.
Knows nothing about single kinds, families and rules. No backend is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import adapter_class, adapter_names
from clue_runner.architectures.base import architecture_names, load_architecture
from clue_runner.config.check import card_settings as settings_problems
from clue_runner.config.loader import CheckpointReader, resolve_run
from clue_runner.config.schema import Run, Section
from clue_runner.config.sections import Sections
from clue_runner.data.card import Card
from clue_runner.data.cards import CARD_FILE, card_problems, find_card, invalid_card, load_card
from clue_runner.engines.rules import rule_names, rule_settings
from clue_runner.engines.techniques import technique_settings
from clue_runner.errors import Problem


def _task_section(adapter: str) -> type[Section]:
    return adapter_class(adapter).settings_type


def _model_section(family: str) -> type[Section]:
    return load_architecture(family).shape


def _adapter_of(task: str) -> str:
    return find_card(task).adapter


SECTIONS = Sections(
    task=_task_section, model=_model_section, rule=rule_settings, techniques=technique_settings,
    adapters=adapter_names, families=architecture_names, rules=rule_names, adapter_of=_adapter_of,
)  # fmt: skip


def card_file_problems(path: Path) -> list[Problem]:
    """Return the problems of a card's file, the settings of its kind that it recommends among it."""
    problems = card_problems(path)
    return problems or settings_problems(path, load_card(path.parent).adapter, SECTIONS)


def refuse_bad_settings(card: Card) -> None:
    """Refuse a card that recommends settings which no run of it can take.

    Raises:
        UsageError: with each such setting's line.
    """
    path = card.folder / CARD_FILE
    if problems := settings_problems(path, card.adapter, SECTIONS):
        raise invalid_card(path, problems)


def load_run(
    *,
    task: str,
    card_settings: Mapping[str, Any] | None = None,
    model: str | None = None,
    configs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    checkpoint_reader: CheckpointReader | None = None,
) -> Run:
    """Return the run that all layers make together; arguments as in ``config.loader.resolve_run``."""
    return resolve_run(
        task=task,
        sections=SECTIONS,
        card_settings=card_settings,
        model=model,
        configs=configs,
        overrides=overrides,
        flags=flags,
        checkpoint_reader=checkpoint_reader,
    ).run
