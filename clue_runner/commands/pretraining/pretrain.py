"""``clue pretrain``: from texts to a run of masked language modelling and a checkpoint folder.

In: the command's options as plain values. Out: a run folder as train's, and beside it a checkpoint that
``clue train --model`` takes. Knows nothing about argv, or about how a run is done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from clue_runner.adapters.base import load_adapter
from clue_runner.adapters.fitting import require_family
from clue_runner.adapters.sections import load_run
from clue_runner.architectures.base import load_architecture
from clue_runner.checkpoints.export import NumberType
from clue_runner.checkpoints.importer import read_settings
from clue_runner.commands.dry_run import show_plan
from clue_runner.commands.pretraining.card import Licence
from clue_runner.commands.pretraining.folder import CheckpointWish, refuse_taken, write_checkpoint
from clue_runner.commands.train_run import train_run
from clue_runner.config.loader import require_checkpoint
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import Card, find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.data.texts.documents import FileTexts, Texts
from clue_runner.data.texts.records import task_texts
from clue_runner.data.texts.source import TokenSource, TokenSplit
from clue_runner.errors import UsageError
from clue_runner.files.names import user_path
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.machine import core_count
from clue_runner.runs.results import SCHEMA
from clue_runner.tokens.corpus.make import Corpus, make_token_files
from clue_runner.tokens.corpus.store import token_folder
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.network import open_tokenizer
from clue_runner.training.pretrained.opening import open_checkpoint

CARD = "pretraining"
HEAD = "masked_words"  # the head of pre-training that a family's table must have
SHARE = 0.01  # of the documents that is held out where nothing is said
LARGEST_SHARE = 0.5
MOST_PROCESSES = 4  # that cut texts into tokens where nothing is said: 150 MB each, and a gigabyte for all


@dataclass(frozen=True)
class PretrainRequest:
    """The options of ``clue pretrain``, named as on the command line."""

    texts: Sequence[Path] = ()
    task: str | None = None
    data: str | None = None
    heldout: Sequence[Path] = ()
    heldout_share: float | None = None
    field: str = "text"
    model: str | None = None
    config: Sequence[str] = ()
    set: Sequence[str] = ()
    output: Path | None = None
    name: str | None = None
    checkpoint: Path | None = None
    save_as: NumberType = "float32"
    licence: str | None = None
    processes: int | None = None
    seed: int | None = None
    backend: str | None = None
    device: str | None = None
    fresh: bool = False
    dry_run: bool = False


def fulfil(request: PretrainRequest, console: Console) -> dict[str, Any]:
    """Pre-train as asked for; return what ``metrics.json`` holds, and where the checkpoint is.

    Raises:
        ClueError: every user mistake.
    """
    _refuse_contradictions(request)
    card, run = resolve(request)
    console.event({"event": "prepare", "schema": SCHEMA, "task": card.name, "model": run.model.name})
    corpus = open_corpus(request, console)
    output = user_path(request.output) if request.output else _default_output(request, run)
    wish = CheckpointWish(
        folder=user_path(request.checkpoint) if request.checkpoint else output / "model",
        number_type=request.save_as,
        licence=Licence(request.licence),
        texts=[(one.label, one.sha256) for one in corpus.texts],
        held_out=[(one.label, one.sha256) for one in corpus.held_out],
    )
    refuse_taken(wish, RunFolder(output), fresh=request.fresh)
    source = make_source(corpus, run, console, request.processes or min(core_count(), MOST_PROCESSES))
    if request.dry_run:
        return show_plan(run, card, source, output, console, seeds=None, fresh=request.fresh)
    result = train_run(run, card, source, output, console, fresh=request.fresh)
    if rate := result.examples_per_second.get("train"):
        console.say(f"  speed      {rate * run.data.max_length:,.0f} tokens per second in training")
    folder = write_checkpoint(RunFolder(output), run, result, wish, console)
    found = {**result.to_json(), "folder": str(folder)}
    console.event({"event": "result", **found})  # the last line of --json, now with the checkpoint
    return found


def resolve(request: PretrainRequest) -> tuple[Card, Run]:
    """Return the card of pre-training and the settings.

    Raises:
        UsageError: settings that cannot be meant, or a network that does not guess words.
        CheckpointError: a published model without a checkpoint on this machine.
    """
    card = find_card(CARD)
    run = load_run(
        task=CARD,
        card_settings=recommended_settings(card),
        model=request.model,
        configs=request.config,
        overrides=request.set,
        flags={"seed": request.seed, "backend": request.backend, "device": request.device},
        checkpoint_reader=read_settings,
    )
    require_family(card, run.model.name, run.model.family)
    require_checkpoint(run)
    family = load_architecture(run.model.family)
    if HEAD not in {group.name for group in family.names.groups} or family.shape.WRITES:
        raise UsageError(
            "this kind of network has no masked-word head",
            where="--model",
            received=f"{run.model.name}, which is of the family {run.model.family}",
            next_step="use an encoder with a masked-word head; all models: clue models",
        )
    for name in ("keep_tokens", "compound_tokens", "mlm_correction"):
        if run.model.model_dump()[name] is not None:
            raise UsageError(
                "pre-training starts from an unmodified checkpoint and vocabulary",
                where=f"model.{name}",
                received=str(run.model.model_dump()[name]),
                allowed="null",
                next_step="set it when fine-tuning: clue train",
            )
    if run.data.fold is not None:
        raise UsageError(
            "pre-training takes no part of its rows out",
            where="data.fold",
            received=run.data.fold,
            allowed="null",
            next_step="hold documents out: --heldout FILE or --heldout-share X",
        )
    if run.train.drop_tokens:
        raise UsageError(
            "masked tokens are predicted, so none may be dropped at random",
            where="train.drop_tokens",
            received=str(run.train.drop_tokens),
            allowed="0",
            next_step="to leave the masked ones out of the encoder: --set task.drop_masked=true",
        )
    # tokens are kept as separate files; encoded rows would be the same again
    return card, run.model_copy(update={"data": run.data.model_copy(update={"cache": False})})


def open_corpus(request: PretrainRequest, console: Console) -> Corpus:
    """Return the texts that are named: files, or the train texts of a task.

    Raises:
        UsageError, DataError: a file that is none, or data of a task that are not there.
    """
    texts: list[Texts] = [FileTexts(user_path(path), request.field) for path in request.texts]
    if request.task is not None:
        card = find_card(request.task)
        source = locate(card, request.data, say=console.say)
        texts.append(task_texts(load_adapter(card).read(source, "train")))
    held_out = [FileTexts(user_path(path), request.field) for path in request.heldout]
    share = SHARE if request.heldout_share is None else request.heldout_share
    return Corpus(texts, held_out, share)


def make_source(corpus: Corpus, run: Run, console: Console, processes: int) -> TokenSource:
    """Return the token files of the texts, made where they are not there yet by so many processes.

    Raises:
        DataError: a text cannot be read, or there is none.
        CheckpointError: the vocabulary cannot be used.
    """
    tokenizer, length = vocabulary_of(run), run.data.max_length
    label = ", ".join(one.label for one in corpus.texts)

    def make(folder: Path) -> Any:
        began = time.monotonic()
        console.say(f"tokenising {label}, once; the tokens are kept in {folder}")
        with console.progress(None, "characters") as bar:
            found = make_token_files(
                corpus, tokenizer, length, folder, lambda done, _: bar.update(done), processes=processes
            )
        tokens = sum(split["tokens"] for split in found.values())
        console.say(f"{tokens:,} tokens in {time.monotonic() - began:.0f} s")
        return found

    folder, found = token_folder(corpus.key(tokenizer, length), make, console.warn)
    splits = {}
    for name, figures in found.items():
        counts = {key: figures[key] for key in ("tokens", "documents", "ordinary", "commonest")}
        files = figures["files"]
        splits[name] = TokenSplit(figures["rows"], files["ids"]["sha256"], counts)
        console.say(f"{name}: {figures['documents']:,} documents, {figures['tokens']:,} tokens")
    return TokenSource(label, folder, splits)


def vocabulary_of(run: Run) -> Tokenizer:
    """Return the tokenizer of a run; of a checkpoint only headers are read.

    Raises:
        CheckpointError: as ``open_tokenizer``.
    """
    checkpoint = open_checkpoint(run)
    return open_tokenizer(run, checkpoint)


def _default_output(request: PretrainRequest, run: Run) -> Path:
    """Return ``runs/pretraining/<model>-<seed>``; ``--name`` is the last part."""
    return Path("runs") / CARD / (request.name or f"{Path(run.model.name).name}-{run.seed}")


def _refuse_contradictions(request: PretrainRequest) -> None:
    """Refuse options that cannot go together."""
    if not request.texts and request.task is None:
        raise UsageError(
            "nothing to train on",
            where="clue pretrain",
            allowed="--texts FILE, or --task NAME for the texts of a task's train split",
            next_step="clue pretrain --texts FILE.txt --model tiny",
        )
    if request.data is not None and request.task is None:
        raise UsageError("--data names a task's files", where="--data", next_step="give --task too")
    if request.heldout and request.heldout_share is not None:
        raise UsageError("--heldout and --heldout-share exclude each other", next_step="give one of them")
    if request.output is not None and request.name is not None:
        raise UsageError("--output and --name exclude each other", next_step="give one of them")
    share = request.heldout_share
    if share is not None and not 0 < share <= LARGEST_SHARE:
        raise UsageError(
            "an impossible fraction of the documents",
            where="--heldout-share",
            received=f"{share:g}",
            allowed=f"above 0, {LARGEST_SHARE:g} at most",
        )
    if request.processes is not None and request.processes < 1:
        raise UsageError("at least 1 is needed", where="--processes", received=str(request.processes))
    if request.save_as not in get_args(NumberType):
        raise UsageError(
            "no type of a checkpoint's numbers",
            where="--save-as",
            received=str(request.save_as),
            allowed=", ".join(get_args(NumberType)),
        )
