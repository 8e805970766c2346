"""Which models and settings a task can be trained with: refused before anything is loaded.

In: a card, a model's name and family, settings. Out: nothing, or an error that names what fits.
Knows nothing about checkpoints, shapes or devices.
"""

from __future__ import annotations

from clue_runner.adapters.base import adapter_class, adapter_names
from clue_runner.config.defaults import default_layer
from clue_runner.config.presets import model_preset, model_presets
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card
from clue_runner.errors import RefusedSettingError, UsageError


def require_family(card: Card, model: str, family: str) -> None:
    """Refuse a model that is of another kind than the task's adapter.

    Args:
        card: the task.
        model: the model's name, for the message.
        family: the model's family.

    Raises:
        UsageError: an encoder for a task with its own network, or the other way round.
    """
    wanted = adapter_class(card.adapter).family
    others = {adapter_class(name).family for name in adapter_names()} - {None}
    if family == wanted or (wanted is None and family not in others):
        return
    fitting = [name for name in model_presets() if _family_of(name) == wanted]
    raise UsageError(
        f"{card.name} needs {f'a model of the family {wanted}' if wanted else 'an encoder'}",
        where="--model",
        received=f"{model}, which is of the family {family}",
        next_step=f"--model {fitting[0]}" if len(fitting) == 1 else "all models: clue models",
    )


def require_preset_family(card: Card, model: str | None) -> None:
    """Refuse a preset of another kind, before its settings are checked beside the card's.

    Raises:
        UsageError: as ``require_family``.
    """
    if model in model_presets():
        require_family(card, model, _family_of(model))


def _family_of(preset: str) -> str:
    """Return the family of a preset."""
    return model_preset(preset).family or str(default_layer().values["model.family"])


def require_droppable(card: Card, run: Run) -> None:
    """Refuse ``train.drop_tokens`` where answers are about single tokens, which must not be missing.

    Raises:
        RefusedSettingError: the task's adapter cannot train on rows with tokens left out.
    """
    if run.train.drop_tokens and not adapter_class(card.adapter).drops_tokens:
        raise RefusedSettingError(
            f"{card.name} asks about single tokens, so none may be dropped",
            where="train.drop_tokens",
            received=str(run.train.drop_tokens),
            allowed="0",
            next_step="DropToken is for tasks with one answer per row: classification and multiple choice",
        )
