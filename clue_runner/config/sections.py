"""All settings that one run has: the common ones, and those of its kind of task, model, rule and techniques.

In: ``Section`` classes, handed in by those that know kinds of tasks, families, rules and techniques. Out: a
``Schema``: the class of the run, its dotted keys, defaults, earlier spellings.
Knows nothing about which kinds, families and rules exist, or about files and layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar, Union

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from clue_runner.config.schema import IsPath, ModelSettings, Run, Section, TaskSettings, TrainSettings
from clue_runner.errors import unknown_name

# The groups that others add to, and the key in each that names them.
OPEN_GROUPS = {"task": "task.adapter", "model": "model.family", "train": "train.optimizer"}


@dataclass(frozen=True)
class Schema:
    """Every setting that one run has.

    Args:
        run: the class of the run; its open groups are instances of the sections handed in too.
        own: the sections handed in.
    """

    run: type[Run]
    own: tuple[type[Section], ...] = ()

    @cached_property
    def groups(self) -> Mapping[str, type[BaseModel]]:
        """Return the groups of settings: ``train`` -> its class."""
        return {
            name: info.annotation
            for name, info in self.run.model_fields.items()
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        }

    @cached_property
    def fields(self) -> Mapping[str, FieldInfo]:
        """Return every setting by dotted key, in the order of the classes."""
        fields: dict[str, FieldInfo] = {}
        for name, info in self.run.model_fields.items():
            if name in self.groups:
                fields |= {f"{name}.{key}": inner for key, inner in self.groups[name].model_fields.items()}
            else:
                fields[name] = info
        return fields

    @property
    def keys(self) -> tuple[str, ...]:
        """Return all dotted keys."""
        return tuple(self.fields)

    @cached_property
    def defaults(self) -> Mapping[str, object]:
        """Return the defaults that classes declare; those of every run are in ``configs/default.yaml``."""
        return {key: info.get_default() for key, info in self.fields.items() if not info.is_required()}

    @cached_property
    def former(self) -> Mapping[str, str]:
        """Return earlier spelling -> key; a current key of this run is never taken for an old one."""
        return {
            old: f"{group}.{leaf}"
            for group, section in self.groups.items()
            if issubclass(section, Section)
            for base in section.__mro__
            for leaf, old in vars(base).get("FORMER", {}).items()
            if old not in self.fields
        }

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Return the keys whose values name files or folders."""
        return tuple(
            key
            for key, info in self.fields.items()
            if any(isinstance(mark, IsPath) for mark in info.metadata)
        )

    def nested(self, values: Mapping[str, object]) -> dict[str, Any]:
        """Return dotted keys as the nested mapping that the run's class validates."""
        tree: dict[str, Any] = {name: {} for name in self.groups}
        for key, value in values.items():
            group, _, leaf = key.rpartition(".")
            (tree[group] if group else tree)[leaf] = value
        return tree

    def validate(self, values: Mapping[str, object]) -> Run:
        """Return the run of dotted keys.

        Raises:
            pydantic.ValidationError: a value has the wrong type or range, or is missing.
        """
        return self.run.model_validate(self.nested(values))


@cache
def schema_of(task: type[Section], model: type[Section], *train: type[Section]) -> Schema:
    """Return the settings of runs of one kind of task with one family of models, one rule and techniques."""
    groups = {
        "task": _joined(TaskSettings, task),
        "model": _joined(ModelSettings, model),
        "train": _joined(TrainSettings, *train),
    }
    run = create_model("Run", __base__=_OwnRun, **{name: (kind, ...) for name, kind in groups.items()})  # type: ignore[call-overload]
    run.OWN = (task, model, *train)
    return Schema(run, run.OWN)


def _joined(common: type[Section], *own: type[Section]) -> type[Section]:
    """Return the class of a group with its own settings after the common ones, the first section's first."""
    bases = tuple(one for one in reversed(own) if one is not Section)
    return create_model(common.__name__, __base__=(*bases, common)) if bases else common


class _OwnRun(Run):
    """A run whose class was made from sections: another process makes the class again."""

    OWN: ClassVar[tuple[type[Section], ...]] = (Section, Section)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make an equal run from its sections and its values."""
        return _rebuilt, (self.OWN, self.model_dump())


def _rebuilt(own: tuple[type[Section], ...], values: dict[str, Any]) -> Run:
    return schema_of(*own).run.model_validate(values)


@dataclass(frozen=True)
class Sections:
    """The sections that the packages above hand in.

    Args:
        task: a kind of task -> its own settings.
        model: a family of models -> its own settings.
        rule: an update rule -> its own settings.
        adapters: all kinds of tasks.
        families: all families.
        rules: all update rules.
        techniques: the settings of every technique, which every run has.
        adapter_of: a task's name or folder -> its kind, for files that do not name it.
    """

    task: Callable[[str], type[Section]]
    model: Callable[[str], type[Section]]
    rule: Callable[[str], type[Section]]
    adapters: Callable[[], Sequence[str]]
    families: Callable[[], Sequence[str]]
    rules: Callable[[], Sequence[str]]
    techniques: Callable[[], Sequence[type[Section]]]
    adapter_of: Callable[[str], str] = field(default=str)

    def schema(self, adapter: str, family: str, rule: str = "") -> Schema:
        """Return the settings of a run; without a kind of task or a rule (an empty name), those of any.

        Raises:
            UsageError: no kind of task, family or update rule has this name.
        """
        known = (
            (adapter, "kind of task", self.adapters()),
            (family, "family of models", self.families()),
            (rule, "update rule", self.rules()),
        )
        for (name, kind, names), key in zip(known, OPEN_GROUPS.values(), strict=True):
            if name and name not in names:
                raise unknown_name(kind, name, names, list_command="clue config show --explain", where=key)
        own = [find(name) if name else Section for find, name in ((self.task, adapter), (self.rule, rule))]
        return schema_of(own[0], self.model(family), own[1], *self.techniques())

    def all(self) -> Iterator[Schema]:
        """Yield settings in which every kind of task meets every family, and every rule occurs."""
        rules = self.rules()
        kinds = [(adapter, family) for family in self.families() for adapter in self.adapters()]
        for place in range(max(len(kinds), len(rules))):
            yield self.schema(*kinds[place % len(kinds)], rules[place % len(rules)])

    def fitting_rule(self, values: Mapping[str, object]) -> str:
        """Return the rule that the values name, else the first of those that have most of their keys."""
        named = values.get(OPEN_GROUPS["train"])
        keys = {key.removeprefix("train.") for key in values if key.startswith("train.")}
        return str(named) if named else max(self.rules(), key=lambda rule: len(keys & _own(self.rule(rule))))

    def owners(self) -> dict[str, str]:
        """Return key or earlier spelling -> what it belongs to, in words; common keys are left out."""
        owners: dict[str, str] = {}
        common = common_schema().fields
        for group, names, kind, section_of in (
            ("task", self.adapters(), "tasks of the kind", self.task),
            ("model", self.families(), "models of the family", self.model),
            ("train", self.rules(), "the update rule", self.rule),
        ):
            for name in names:
                section = section_of(name)
                own = [f"{group}.{leaf}" for leaf in section.model_fields]
                for key in (*own, *section.FORMER.values()):
                    if key not in common:
                        said = owners.get(key)
                        owners[key] = f"{said}, {name}" if said else f"{kind} {name}"
        return owners

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a run of any kind and family, for editors."""
        schemas = list(self.all())
        parts = {
            group: Union[tuple({schema.groups[group] for schema in schemas})]  # noqa: UP007 - built at run time
            for group in OPEN_GROUPS
        }
        run = create_model("Run", __base__=Run, **{name: (kinds, ...) for name, kinds in parts.items()})  # type: ignore[call-overload]
        found: dict[str, Any] = run.model_json_schema()
        return found


def _own(section: type[Section]) -> set[str]:
    """Return the names of a section's settings, in all spellings."""
    return {*section.model_fields, *(old.rpartition(".")[2] for old in section.FORMER.values())}


def common_schema() -> Schema:
    """Return the settings that every run has, whatever its task and model."""
    return Schema(Run)
