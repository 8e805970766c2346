"""A resolved run as a file: written, read back, hashed, compared.

In: a ``Run``. Out: YAML, a hash, differences. Knows nothing about layers or run folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from clue_runner.config.describe import shown
from clue_runner.config.layers import check_layer, count, layer_from_mapping
from clue_runner.config.scalars import format_scalar
from clue_runner.config.schema import Run
from clue_runner.config.sections import OPEN_GROUPS, Schema, Sections
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.errors import Problem, UsageError

# What a run did before these settings existed and its run.yaml had them. A setting added to the
# schema gets its line here, so that runs of earlier versions can still predict and resume.
BEFORE: dict[str, object] = {
    "data.fold": None,
    "model.vocab_trust": False,
    "model.keep_tokens": None,
    "model.compound_tokens": None,
    "model.ignore": None,
    "model.mlm_correction": None,
    "model.mlm_split": "0.8/0.1/0.1",
    "model.recompute": "none",
    "model.recompute_policy": "nothing",
    "model.positions": "learned",
    "model.positions_alpha": 0.4,
    "model.attention": "auto",
    "train.drop_tokens": 0.0,
    "train.schedule_points": "0:1,1:0",
    "train.layer_decay": None,
    "train.rates": None,
    "train.lookahead": None,
    "train.lookahead_share": 0.5,
}


ALWAYS = ("task.name", "seed", "model.name", "model.init")  # present in every run.yaml of every version


def dump_run(run: Run, comments: Mapping[str, str] | None = None) -> str:
    """Return the run as YAML that ``load_resolved`` reads back equal; ``comments`` follow keys."""
    lines: list[str] = []
    group = ""
    for key, value in flat(run).items():
        section, _, leaf = key.rpartition(".")
        if section != group:
            group = section
            lines += ["", f"{section}:"]
        line = f"{'  ' if section else ''}{leaf}: {format_scalar(value)}"
        comment = comments.get(key) if comments else None
        lines.append(f"{line:<40} # {comment}" if comment else line)
    return "\n".join(lines).lstrip("\n") + "\n"


def load_resolved(path: Path, sections: Sections) -> Run:
    """Read a ``run.yaml`` that ``dump_run`` of this version or of an earlier one wrote.

    An earlier version wrote the settings of all kinds of tasks into every file: those of other kinds had
    no effect and are left out.

    Raises:
        UsageError: it has unknown, missing or wrong values.
        DataError: it does not exist.
    """
    document = read_yaml(path)
    problems: list[Problem] = []
    layer = layer_from_mapping(document.name, document.values, problems, document=document)
    name = str(layer.values.get("task.name", ""))
    whole = "task.adapter" not in layer.values and name != ""
    if whole:
        layer.put("task.adapter", sections.adapter_of(name), layer.places["task.name"])
    adapter, family, rule = (str(layer.values.get(key, "")) for key in OPEN_GROUPS.values())
    schema = sections.schema(adapter, family, rule)
    if whole:
        strangers = sections.owners().keys() - {*schema.keys, *schema.former}
        layer.values = {key: value for key, value in layer.values.items() if key not in strangers}
    before = {**schema.defaults, **{key: value for key, value in BEFORE.items() if key in schema.fields}}
    check_layer(layer, schema, before, problems)
    if problems:
        raise UsageError(f"{path} has {count(problems)}", problems=problems)
    return schema.validate({**before, **layer.values})


def saved_values(path: Path) -> dict[str, object]:
    """Return the values of a ``run.yaml`` by dotted key, as written: for callers that need no complete run.

    Raises:
        UsageError: it is not valid YAML, has groups that a run does not have, or lacks what every run has.
        DataError: it does not exist.
    """
    document = read_yaml(path)
    problems: list[Problem] = []
    layer = layer_from_mapping(document.name, document.values, problems, document=document)
    problems += [Problem(f"{key} is missing", str(path)) for key in ALWAYS if key not in layer.values]
    if problems:
        raise UsageError(f"{path} has {count(problems)}", problems=problems)
    return layer.values


def config_hash(run: Run) -> str:
    """Return the SHA-256 of the run's settings, independent of layout and comments."""
    return values_hash(run.model_dump(mode="json"))


def values_hash(values: Mapping[str, object]) -> str:
    """Return the SHA-256 of JSON values, whatever their order."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def difference(old: Run, new: Run) -> list[Problem]:
    """Return one finding for each setting that differs."""
    before, after = flat(old), flat(new)
    return [
        Problem(f"was {_said(before, key)}, is now {_said(after, key)}", key)
        for key in dict.fromkeys((*before, *after))
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


def flat(run: Run) -> dict[str, object]:
    """Return the run's values by dotted key."""
    tree = run.model_dump(mode="json")
    values: dict[str, object] = {}
    for key in Schema(type(run)).keys:
        group, _, leaf = key.rpartition(".")
        values[key] = tree[group][leaf] if group else tree[leaf]
    return values


_ABSENT = object()


def _said(values: Mapping[str, object], key: str) -> str:
    return shown(values[key]) if key in values else "not a setting of this run"
