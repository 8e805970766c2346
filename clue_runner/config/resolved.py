"""A resolved run as a file: written, read back, hashed, compared.

In: a ``Run``. Out: YAML, a hash, differences. Knows nothing about layers or run folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from clue_runner.config.describe import sections, setting_keys, settings, shown
from clue_runner.config.layers import check_types, count, layer_from_mapping, nested
from clue_runner.config.scalars import format_scalar
from clue_runner.config.schema import Run
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.errors import Problem, UsageError

# What a run did before these settings existed; its run.yaml does not have them. A setting added to the
# schema gets its line here, so that runs of earlier versions still predict and resume.
BEFORE: dict[str, object] = {
    "model.vocab_trust": False,
    "model.recompute": "none",
    "model.recompute_policy": "nothing",
    "model.positions": "learned",
    "model.positions_alpha": 0.4,
    "model.attention": "auto",
    "train.drop_tokens": 0.0,
}


def dump_run(run: Run, comments: Mapping[str, str] | None = None) -> str:
    """Return the run as YAML that ``load_resolved`` reads back equal; ``comments`` stand beside keys."""
    tree = run.model_dump(mode="json")
    lines: list[str] = []
    groups = sections()
    for key in setting_keys():
        section, _, leaf = key.rpartition(".")
        if section and leaf == next(iter(groups[section].model_fields)):
            lines += ["", f"{section}:"]
        value = tree[section][leaf] if section else tree[leaf]
        line = f"{'  ' if section else ''}{leaf}: {format_scalar(value)}"
        comment = comments.get(key) if comments else None
        lines.append(f"{line:<40} # {comment}" if comment else line)
    return "\n".join(lines).lstrip("\n") + "\n"


def load_resolved(path: Path) -> Run:
    """Read a ``run.yaml`` that ``dump_run`` of this version or of an earlier one wrote.

    Raises:
        UsageError: it has unknown, missing or wrong values.
        DataError: it does not exist.
    """
    document = read_yaml(path)
    problems: list[Problem] = []
    layer = layer_from_mapping(document.name, document.values, problems, document=document)
    check_types(layer, BEFORE, problems)
    if problems:
        raise UsageError(f"{path} has {count(problems)}", problems=problems)
    return Run.model_validate(nested({**BEFORE, **layer.values}))


def config_hash(run: Run) -> str:
    """Return the SHA-256 of the run's settings, independent of layout and comments."""
    text = json.dumps(run.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def difference(old: Run, new: Run) -> list[Problem]:
    """Return one finding for each setting that differs."""
    before, after = flat(old), flat(new)
    return [
        Problem(f"was {shown(before[key])}, is now {shown(after[key])}", key)
        for key in settings()
        if before[key] != after[key]
    ]


def flat(run: Run) -> dict[str, object]:
    """Return the run's values by dotted key."""
    tree = run.model_dump(mode="json")
    groups = sections()
    return {
        key: tree[key.partition(".")[0]][key.partition(".")[2]]
        if key.partition(".")[0] in groups
        else tree[key]
        for key in setting_keys()
    }
