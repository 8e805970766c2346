"""All settings that one run has: the common ones, those of its kind of task, those of its family of models.

In: two ``Section`` classes, handed in by whoever knows adapters and architectures. Out: a ``Schema``: the
class of the run, its dotted keys, defaults, earlier spellings.
Knows nothing about which kinds and families exist, or about files and layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar, Union

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from clue_runner.config.schema import IsPath, ModelSettings, Run, Section, TaskSettings
from clue_runner.errors import unknown_name

# The two groups that others add to, and the key in each that says who.
OPEN_GROUPS = {"task": "task.adapter", "model": "model.family"}


@dataclass(frozen=True)
class Schema:
    """Every setting that one run has.

    Args:
        run: the class of the run; its ``task`` and ``model`` are instances of the sections handed in too.
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
        """Return the defaults that classes declare; those of every run stand in ``configs/default.yaml``."""
        return {key: info.get_default() for key, info in self.fields.items() if not info.is_required()}

    @cached_property
    def former(self) -> Mapping[str, str]:
        """Return earlier spelling -> key; what is a key of this run today is never taken for an old one."""
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
def schema_of(task: type[Section], model: type[Section]) -> Schema:
    """Return the settings of runs of one kind of task with one family of models."""
    own_task, own_model = _joined(task, TaskSettings), _joined(model, ModelSettings)
    run = create_model("Run", __base__=_OwnRun, task=(own_task, ...), model=(own_model, ...))
    run.OWN = (task, model)
    return Schema(run, run.OWN)


def _joined(own: type[Section], common: type[Section]) -> type[Section]:
    """Return the class of a group with its own settings behind the common ones."""
    return common if own is Section else create_model(common.__name__, __base__=(own, common))


class _OwnRun(Run):
    """A run whose class was made from sections: another process makes the class anew."""

    OWN: ClassVar[tuple[type[Section], type[Section]]] = (Section, Section)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make an equal run from its sections and its values."""
        return _rebuilt, (*self.OWN, self.model_dump())


def _rebuilt(task: type[Section], model: type[Section], values: dict[str, Any]) -> Run:
    return schema_of(task, model).run.model_validate(values)


@dataclass(frozen=True)
class Sections:
    """What the rooms above hand in.

    Args:
        task: a kind of task -> its own settings.
        model: a family of models -> its own settings.
        adapters: the kinds of tasks that there are.
        families: the families that there are.
        adapter_of: a task's name or folder -> its kind, for files that do not say it.
    """

    task: Callable[[str], type[Section]]
    model: Callable[[str], type[Section]]
    adapters: Callable[[], Sequence[str]]
    families: Callable[[], Sequence[str]]
    adapter_of: Callable[[str], str] = field(default=str)

    def schema(self, adapter: str, family: str) -> Schema:
        """Return the settings of a run; without a kind of task (an empty name), those that any task has.

        Raises:
            UsageError: no kind of task or no family has this name.
        """
        for name, kind, known in (
            (adapter, "kind of task", self.adapters()),
            (family, "family of models", self.families()),
        ):
            if name and name not in known:
                raise unknown_name(kind, name, known, list_command="clue config show --explain")
        return schema_of(self.task(adapter) if adapter else Section, self.model(family))

    def all(self) -> Iterator[Schema]:
        """Yield the settings of every pair of a kind of task and a family."""
        for family in self.families():
            for adapter in self.adapters():
                yield self.schema(adapter, family)

    def owners(self) -> dict[str, str]:
        """Return key or earlier spelling -> whose it is, in words; common keys are left out."""
        owners: dict[str, str] = {}
        common = common_schema().fields
        for group, names, kind, section_of in (
            ("task", self.adapters(), "tasks of the kind", self.task),
            ("model", self.families(), "models of the family", self.model),
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


def common_schema() -> Schema:
    """Return the settings that every run has, whatever its task and model."""
    return Schema(Run)
