"""Model presets: the shape of a backbone, and where to get its weights.

In: a preset's name or file. Out: a ``Preset``. Knows nothing about tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from clue_runner.config.layers import Layer, count, layer_from_mapping
from clue_runner.config.shipped import clue_home, config_names, shipped_folder, shown_config
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.errors import Problem, UsageError, suggest, unknown_name

TEXTS = ("title", "huggingface", "github", "licence", "published_as")
Kind = Literal["random", "published", "shipped"]
KEYS = (*TEXTS, "kind", "vocab_size", "model", "train")


@dataclass(frozen=True)
class Preset:
    """One file of ``configs/models``.

    Attributes:
        kind: ``random`` trains from scratch; ``published`` needs a checkpoint in a local folder; that of
            ``shipped`` is installed with the program.
        huggingface: the model's id on Hugging Face, where published.
        github: the project's GitHub repository, where published.
        licence: that of its weights, and by what page; None: not recorded here.
        published_as: its name in the published scores of the task cards; None: it is not listed.
        vocab_size: entries of the published vocabulary; None where the run's own vocabulary decides.
        layer: its ``model.`` and ``train.`` settings by dotted key.
    """

    name: str
    title: str
    kind: Kind
    huggingface: str | None
    github: str | None
    licence: str | None
    published_as: str | None
    vocab_size: int | None
    layer: Layer

    @property
    def local_folder(self) -> Path:
        """Return where its checkpoint is looked for."""
        if self.kind == "shipped":
            return shipped_folder("configs") / "models" / self.name
        return clue_home() / "models" / self.name

    @property
    def family(self) -> str | None:
        """Return the family that its shape belongs to; None: the default one."""
        family = self.layer.values.get("model.family")
        return None if family is None else str(family)

    def shape(self) -> dict[str, object]:
        """Return its ``model`` settings by the family's names."""
        group = "model."
        return {
            key.removeprefix(group): value
            for key, value in self.layer.values.items()
            if key.startswith(group)
        }

    def ways_to_get(self) -> tuple[str, ...]:
        """Return the ways to get the checkpoint, one per line."""
        if self.kind == "random":
            return ()
        if self.kind == "shipped":
            return ("install clue-runner again: its own checkpoint is missing",)
        ways = []
        if self.huggingface:
            ways.append(f"get it: clue models get {self.name} ({self.huggingface} on the Hugging Face hub)")
        if self.github:
            ways.append(
                f"or unpack the TensorFlow checkpoint linked from github.com/{self.github} "
                f"into {self.local_folder}"
            )
        ways.append("or pass a folder that holds either: --model DIR")
        ways.append("or train this shape from random weights: --set model.init=random")
        return tuple(ways)


@cache
def default_vocab_size() -> int:
    """Return the number of entries of the shipped vocabulary; 0 where it has not been built."""
    path = shipped_folder("configs") / "models" / "vocab" / "zh.txt"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def model_presets() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    return config_names("models")


def model_preset(name: str) -> Preset:
    """Return one preset.

    Raises:
        UsageError: there is no such preset, or its file has problems.
    """
    if name not in model_presets():
        raise unknown_name("model", name, model_presets(), list_command="clue models")
    return read_preset(shipped_folder("configs") / "models" / f"{name}.yaml")


def read_preset(path: Path, check: Callable[[Layer, list[Problem]], None] | None = None) -> Preset:
    """Read a preset file.

    Args:
        path: the file's.
        check: appends the problems with its settings; None: the run that uses them finds those.

    Raises:
        UsageError: with every problem of the file.
    """
    document = read_yaml(path, shown_config(path))
    values, problems = document.values, list[Problem]()
    for key in values:
        if key not in KEYS:
            guess = suggest(key, KEYS)
            hint = f"did you mean {guess}?" if guess else f"known: {', '.join(KEYS)}"
            problems.append(Problem(f"{key}: no such key of a model preset, {hint}", document.where((key,))))
    for key in TEXTS:
        if not isinstance(values.get(key), str if key == "title" else str | None):
            problems.append(Problem(f"{key} must be text", document.where((key,))))
    if not isinstance(values.get("vocab_size"), int | None) or isinstance(values.get("vocab_size"), bool):
        problems.append(Problem("vocab_size must be a whole number", document.where(("vocab_size",))))
    if values.get("kind") not in get_args(Kind):
        allowed = ", ".join(get_args(Kind))
        problems.append(Problem("kind must be given", document.where(("kind",)), allowed=allowed))
    settings: dict[str, Any] = {key: values[key] for key in ("model", "train") if key in values}
    layer = layer_from_mapping(
        f"model {path.stem}", settings, problems, document=document, only=("model", "train")
    )
    if check is not None:
        check(layer, problems)
    if problems:
        raise UsageError(f"{document.name} has {count(problems)}", problems=problems)
    return _preset(path.stem, values, layer)


def _preset(name: str, values: Mapping[str, Any], layer: Layer) -> Preset:
    """Return the preset of checked values."""
    kind: Kind = values["kind"]
    layer.values.setdefault("model.init", "random" if kind == "random" else "checkpoint")
    layer.places.setdefault("model.init", layer.title)
    return Preset(
        name=name,
        title=values["title"],
        kind=kind,
        huggingface=values.get("huggingface"),
        github=values.get("github"),
        licence=values.get("licence"),
        published_as=values.get("published_as"),
        vocab_size=values.get("vocab_size"),
        layer=layer,
    )
