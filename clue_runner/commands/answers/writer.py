"""Writes the answers of ``clue predict`` where they belong, scores what has labels, reports what was written.

In: members, answers, the question they answer. Out: prediction and official files, rows on standard output,
the result event's content. Knows nothing about options, or about how answers are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, Predictions, Scores
from clue_runner.commands.answers.ensemble import ensemble_folder, note_members
from clue_runner.commands.answers.own_rows import own_rows, row_line, rows_bytes
from clue_runner.commands.answers.question import TEXTS, Question
from clue_runner.console import Console
from clue_runner.data.records import Records
from clue_runner.errors import UsageError
from clue_runner.files.atomic import make_folder, probe_folder, write_atomic
from clue_runner.files.lock import FolderLock
from clue_runner.runs.folder import RunFolder
from clue_runner.training.answers import (
    WrittenSubmission,
    describe,
    predictions_bytes,
    write_submission,
    write_submissions,
)
from clue_runner.training.members import Member

STANDARD_OUTPUT = Path("-")


@dataclass
class Writer:
    """Writes answers where they belong, and reports what was written.

    Args:
        output: ``--output``; None: the run's own folder; ``-``: standard output.
    """

    members: Sequence[Member]
    adapter: Adapter
    question: Question
    home: RunFolder
    output: Path | None
    console: Console

    def prepare(self, stack: ExitStack) -> None:
        """Lock or make the place to write to, before anything is computed.

        Raises:
            BusyError: another process writes there.
            StorageError: it cannot be written.
        """
        if self._writes_home():
            stack.enter_context(FolderLock(self.home.path))
            probe_folder(self.home.path)
        elif self.output is not None and self.output not in {STANDARD_OUTPUT, Path()}:
            make_folder(self.output.absolute().parent)

    def write(self, answers: Mapping[str, Predictions]) -> dict[str, Any]:
        """Write predictions and official files, and return the result event's content."""
        result: dict[str, Any] = {
            "ok": True,
            "task": self.adapter.card.name,
            "runs": [str(one.folder.path) for one in self.members],
        }
        files: list[Path] = []
        official: list[WrittenSubmission] = []
        if self.question.is_test and self.output not in {None, STANDARD_OUTPUT}:
            official.append(self._write_single_submission(answers))
        else:
            for name, predictions in answers.items():
                result |= self._write_split(name, predictions, files)
                if self.question.is_test and self.output is None:
                    official += self._write_submissions(name, predictions)
        self._say_official(official)
        if self._writes_home() and len(self.members) > 1:
            self._note_ensemble(result)
        submission = {"files": describe(official, None), "ok": not any(one.problems for one in official)}
        return result | {
            "files": [str(path) for path in files],
            "submission": submission if official else None,
        }

    def _note_ensemble(self, result: Mapping[str, Any]) -> None:
        """Write which runs answered together; with a borrowed head, inside the ensemble's folder."""
        folder = ensemble_folder(self.members)
        is_own = folder.path == self.home.path
        noted = note_members(
            folder, self.members, dict(result) if is_own and result.get("split") == "dev" else None
        )
        if is_own and noted.dev is None:
            self.console.say("the joint dev score is not known yet: run the same command with --split dev")

    def _writes_home(self) -> bool:
        """Return whether the run's own folder is written to; answers to ``--text`` are only printed."""
        return self.output is None and TEXTS not in self.question.records

    def _write_split(self, name: str, predictions: Predictions, files: list[Path]) -> dict[str, Any]:
        """Write the answers to one split or file; return their part of the result."""
        result: dict[str, Any] = {}
        question, records = self.question, self.question.records[name]
        rows: list[dict[str, Any]] = []
        if question.is_own:
            rows = own_rows(self.adapter, predictions, records)
            raw = rows_bytes(rows)
            if TEXTS in question.records:
                result["answers"] = rows
        else:
            probabilities = self.members[0].run.output.probabilities
            raw = predictions_bytes(predictions, probabilities=probabilities)
        if self.output == STANDARD_OUTPUT:
            self.console.rows(raw.decode("utf-8"))
        elif self._writes_home() or self.output is not None:
            path = self.output or self.home.predictions / f"{name}.jsonl"
            make_folder(path.absolute().parent)
            write_atomic(path, raw)
            files.append(path)
            self.console.say(f"{len(predictions):,} predictions -> {path}")
        else:
            for row in rows:
                self.console.result(row_line(row))
        for what, count in self.adapter.answer_notes(predictions).items():
            self.console.warn(f"{name}: {count:,} {what}")
        return result | self._scored(name, predictions, records)

    def _scored(self, name: str, predictions: Predictions, records: Records[Any]) -> dict[str, Any]:
        """Score what has labels and print the score; return its part of the result."""
        question = self.question
        if question.is_test or TEXTS in question.records:
            return {}
        if not question.is_own:
            return self._say_scores(name, self.adapter.score(predictions, records), "")
        if question.gold is None:
            self.console.say(f"not scored: {question.not_scored}")
            return {}
        gold = question.gold
        wanted = {record.id for record in gold.items}
        scored = [one for one in predictions if one.id in wanted]
        if [one.id for one in scored] != [record.id for record in gold.items]:
            self.console.warn(f"{records.shown}: not scored, since it has duplicate ids")
            return {}
        return self._say_scores(records.file, self.adapter.score(scored, gold), "the file has labels: ")

    def _say_scores(self, name: str, scores: Scores, why: str) -> dict[str, Any]:
        self.console.say(
            f"{why}{name} {scores.main} {scores.score:.2f}   chance {scores.chance:.2f}   "
            f"{scores.examples:,} examples"
        )
        return {
            "split": name,
            "metric": scores.main,
            "score": scores.score,
            "chance": scores.chance,
            "examples": scores.examples,
        }

    # ------------------------------------------------------------------------ official files

    def _write_submissions(self, name: str, predictions: Predictions) -> list[WrittenSubmission]:
        """Write the official files of a test split under their official names."""
        records, sample = self.question.records[name], self.question.source.is_sample
        return write_submissions(
            self.home.submission, self.adapter, name, predictions, records, sample=sample
        )

    def _write_single_submission(self, answers: Mapping[str, Predictions]) -> WrittenSubmission:
        """Write the one official file of the test splits to the user's path."""
        card, output = self.adapter.card, self.output or Path()
        wanted = [one for one in card.submissions if one.split in answers]
        if len(wanted) != 1:
            raise UsageError(
                f"--output names one file, but {card.name} has {len(wanted)} official files",
                received=str(output),
                allowed=", ".join(one.file for one in wanted) or "none",
                next_step="omit --output: each is written under its official name",
            )
        split = wanted[0].split
        records, sample = self.question.records[split], self.question.source.is_sample
        return write_submission(output, self.adapter, wanted[0], answers[split], records, sample=sample)

    def _say_official(self, official: Sequence[WrittenSubmission]) -> None:
        """Report what was written for the leaderboard, and whether it would be accepted."""
        for one in official:
            verdict = (
                "not accepted: " + str(one.problems[0]) if one.problems else "accepted by clue submit check"
            )
            self.console.say(f"{one.lines:,} lines -> {one.path}   {verdict}")
        if self.question.source.is_sample and official:
            self.console.say("answers to sample records: not for upload")
