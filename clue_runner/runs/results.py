"""The result of a run: ``RunResult``, the content of ``metrics.json``.

In: plain values measured by a run, or the file. Out: one frozen type, scores in percent; the file.
Schema 2 is written; schema 1 is read forever. Knows nothing about how training was done, or about text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clue_runner.config.loader import config_hash
from clue_runner.config.schema import Run
from clue_runner.errors import CheckpointError, ClueError
from clue_runner.files.atomic import write_json
from clue_runner.files.reading import DamagedFileError, read_object
from clue_runner.runs.identity import RANDOM, Identity

SCHEMA: Final = 2
OLD_SCHEMAS = (1,)
# prepare: until the first update; save: the loop waited for a state; write: a thread wrote it meanwhile
SECONDS = ("prepare", "compile", "train", "evaluate", "predict", "save", "write", "total")
Pair = Annotated[tuple[float, float], Field(strict=False)]  # JSON has lists alone


class Part(BaseModel):
    """Base of all parts: frozen, exact types, finite numbers; keys of a later version are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class PretrainedWeights(Part):
    """The checkpoint that a run started from: its folder, and one hash over all its files."""

    path: str
    sha256: str | None


class Evaluation(Part):
    """One evaluation of dev: its time, its scores, and the train loss since the previous one."""

    step: int
    epoch: int
    score: float
    scores: dict[str, float]
    loss: float | None


class SubmissionFile(Part):
    """One official file: its path in the run folder, its answers, and the checker's verdict."""

    file: str
    split: str
    lines: int
    ok: bool
    problems: list[str]


class WrittenSubmissions(Part):
    """All official files of a run; ``zip`` and ``note`` if answers to a sample were packed."""

    files: list[SubmissionFile]
    ok: bool
    zip: str | None = None
    note: str | None = None


class Failure(Part):
    """Why a run failed."""

    type: str
    message: str
    exit_code: int


class Scored(NamedTuple):
    """The main numbers of a finished run: score, interval, chance, examples."""

    score: float
    interval: tuple[float, float]
    chance: float
    examples: int


class RunResult(Part):
    """The content of ``metrics.json``, which exists only when a run has finished; scores in percent.

    Args:
        ok: the run finished with a score; False: it failed, and ``error`` tells why.
        checkpoint: the pre-trained weights; None if the weights started random, or in results of schema 1.
        split: the split that was scored, with the best weights.
        chance: the majority-class baseline: the score of always giving the most frequent answer.
        notes: split -> what happened to its records or rows -> how often.
        steps, best_step: updates; ``ended`` tells why there were no more.
        padding_share: padding as a fraction of the computed train tokens.
        identity: what the weights depend on besides the settings; None in results of schema 1.
        commit: that of the program's working tree; None if it was installed from a wheel.
        code: the program's version and the hash of its source; None in results that did not record it.
    """

    schema_: Annotated[Literal[2], Field(alias="schema")] = SCHEMA
    ok: bool
    task: str
    card_version: str
    model: str
    checkpoint: PretrainedWeights | None
    init: str | None
    seed: int
    batch_size: int | str | None
    split: str
    metric: str
    score: float | None = None
    scores: dict[str, float] = {}
    confidence_interval: Pair | None = None
    chance: float | None = None
    examples: int | None = None
    data_complete: bool | None = None
    notes: dict[str, dict[str, int]] = {}
    backend: str
    device: str | None = None
    devices: int | None = None
    precision: str | None = None
    epochs: int | None = None
    steps: int | None = None
    best_step: int | None = None
    best_epoch: int | None = None
    ended: str | None = None
    history: list[Evaluation] = []
    seconds: dict[str, float] = {}
    examples_per_second: dict[str, float | None] = {}
    padding_share: float | None = None
    peak_memory_bytes: int | None = None
    data_sha256: dict[str, str]
    identity: Identity | None = None
    config_sha256: str
    commit: str | None
    code: str | None = None
    versions: dict[str, str]
    submission: WrittenSubmissions | None = None
    error: Failure | None = None

    @model_validator(mode="after")
    def _check_score(self) -> Self:
        """Refuse a finished run without its numbers, and a failed one with a score."""
        if self.ok and None in {self.score, self.confidence_interval, self.chance, self.examples}:
            raise ValueError("ok is true, but score, confidence_interval, chance or examples is missing")
        if not self.ok and self.score is not None:
            raise ValueError("ok is false, but there is a score")
        return self

    @property
    def scored(self) -> Scored:
        """Return the numbers of a finished run.

        Raises:
            ValueError: the run failed.
        """
        score, interval, chance, examples = self.score, self.confidence_interval, self.chance, self.examples
        if not self.ok or score is None or interval is None or chance is None or examples is None:
            raise ValueError("a failed run has no score")
        return Scored(score, interval, chance, examples)

    def to_json(self) -> dict[str, Any]:
        """Return plain data with every field, as the file holds it."""
        return self.model_dump(mode="json", by_alias=True)


def run_fields(
    run: Run,
    *,
    task: str,
    card_version: str,
    metric: str,
    identity: Identity,
    data_sha256: Mapping[str, str],
    versions: Mapping[str, str],
    commit: str | None,
    code: str | None = None,
) -> dict[str, Any]:
    """Return the fields of a result that are known before the first step.

    Args:
        run: the settings.
        task: the card's name.
        card_version: its version.
        metric: its main metric.
        identity: what the weights depend on besides the settings.
        data_sha256: split -> hash of its file.
        versions: package -> version.
        commit: the program's.
        code: its version and the hash of its source.
    """
    began = None
    if identity.weights not in {None, RANDOM}:
        began = {"path": str(run.model.checkpoint), "sha256": identity.weights}
    return {
        "task": task,
        "card_version": card_version,
        "model": run.model.name,
        "checkpoint": began,
        "init": run.model.init,
        "seed": run.seed,
        "batch_size": run.train.batch_size,
        "split": "dev",
        "metric": metric,
        "backend": run.backend,
        "data_sha256": dict(data_sha256),
        "identity": identity.model_dump(),
        "config_sha256": config_hash(run),
        "commit": commit,
        "code": code,
        "versions": dict(versions),
    }


def failed_result(fields: Mapping[str, Any], error: Exception) -> RunResult:
    """Return the result of a failed run: the ``run_fields``, no score, the reason."""
    code = error.exit_code if isinstance(error, ClueError) else 1
    failure = {"type": type(error).__name__, "message": str(error), "exit_code": code}
    return RunResult.model_validate({**fields, "ok": False, "error": failure})


def write_result(path: Path, result: RunResult) -> None:
    """Write ``metrics.json`` in one move.

    Raises:
        StorageError: the disk refused.
    """
    write_json(path, result.to_json())


def read_result(path: Path) -> RunResult | None:
    """Return the content of a ``metrics.json`` of this or an earlier version; None if there is no file.

    Raises:
        CheckpointError: damaged, of a later version, or not a result; the error names the file.
        StorageError: it cannot be read now.
    """
    try:
        content = read_object(path)
        return parse_result(content)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        raise CheckpointError(
            f"the result of this run {error}",
            where=str(path),
            next_step="train again with --fresh (the old folder is kept), or use another one with --output",
        ) from error


def parse_result(content: Mapping[str, Any]) -> RunResult:
    """Return a result from plain data of any schema ever written.

    Raises:
        DamagedFileError: it is not one.
    """
    schema = content.get("schema")
    if schema in OLD_SCHEMAS and type(schema) is int:
        content = _from_schema_1(content)
    elif schema != SCHEMA or type(schema) is not int:
        raise DamagedFileError(f"has schema {schema!r}; this version reads {(*OLD_SCHEMAS, SCHEMA)}")
    try:
        return RunResult.model_validate(content)
    except ValidationError as error:
        raise DamagedFileError(f"cannot be used: {describe(error)}") from None


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``metrics.json``."""
    return RunResult.model_json_schema(by_alias=True, mode="serialization")


def describe(error: ValidationError) -> str:
    """Return the first findings about a file's content on one line: key, what is wrong, what was found."""
    findings = [
        f"{'.'.join(map(str, item['loc'])) or 'content'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors(include_url=False)
    ]
    more = f" and {len(findings) - 3} more" if len(findings) > 3 else ""
    return "; ".join(findings[:3]) + more


def _from_schema_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result of schema 1 in the form of schema 2; what it did not record stays empty."""
    return {"init": None, "batch_size": None, **content, "schema": SCHEMA, "checkpoint": None, "notes": {}}
