"""The defaults that every run starts from: ``configs/default.yaml``.

In: nothing. Out: one layer. Knows nothing about kinds of tasks or families; theirs are declared beside them.
"""

from __future__ import annotations

from clue_runner.config.layers import Layer, layer_from_mapping
from clue_runner.config.shipped import shipped_folder
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.errors import Problem, UsageError


def default_layer() -> Layer:
    """Return the values of ``configs/default.yaml``."""
    problems: list[Problem] = []
    document = read_yaml(shipped_folder("configs") / "default.yaml", "configs/default.yaml")
    layer = layer_from_mapping("default", document.values, problems, document=document)
    if problems:
        raise UsageError("configs/default.yaml does not match the schema", problems=problems)
    return layer
