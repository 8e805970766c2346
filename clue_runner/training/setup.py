"""Everything that a run has before its first step.

In: settings, a card, a data source. Out: ``Inputs`` (files, read and checked; no backend is loaded), and from
these a ``Setup`` (with rows, and where the run computes). Rows are encoded once.
Knows nothing about run folders, steps or argv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from clue_runner.adapters.base import Adapter, AnyTokenizer, load_adapter
from clue_runner.architectures.check_ids import check_ids
from clue_runner.architectures.settings import shape_of
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.trimmed import fewer_pieces
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import Card
from clue_runner.data.sources import DataSource
from clue_runner.engines import Engine
from clue_runner.errors import CheckpointError
from clue_runner.runs.identity import RANDOM, Identity, card_content
from clue_runner.tokens.rows import Rows
from clue_runner.training.display import say_data, say_weights
from clue_runner.training.network import Choices, build_engine, open_tokenizer, rebound
from clue_runner.training.prepare import TRAINED_ON, SplitData, encode_records, padded_lengths, read_splits
from clue_runner.training.pretrained.opening import open_checkpoint


@dataclass(frozen=True)
class Inputs:
    """What a run is made from.

    Args:
        run: the settings; ``train.batch_size`` may still be ``auto``.
        card: the task.
        adapter: bound to both.
        source: where the data is from.
        data: the records of every split that is there.
        checkpoint: the pre-trained weights; None: random ones.
        tokenizer: the vocabulary at work.
    """

    run: Run
    card: Card
    adapter: Adapter
    source: DataSource
    data: SplitData
    checkpoint: Checkpoint | None
    tokenizer: AnyTokenizer

    @property
    def vocab_size(self) -> int:
        """Return the rows of the token table."""
        return self.checkpoint.vocab_size if self.checkpoint else self.tokenizer.vocab_size

    @property
    def identity(self) -> Identity:
        """Return what the weights and answers follow from besides the settings."""
        return Identity(
            data={split: self.data.sha256[split] for split in TRAINED_ON},
            vocabulary=self.tokenizer.sha256,
            weights=self.checkpoint.sha256 if self.checkpoint else RANDOM,
            card=card_content(self.card.model_dump(mode="json")),
        )

    def encode(self, warn: Callable[[str], None]) -> dict[str, Rows]:
        """Return the rows of every split, from the cache where the same texts were encoded before."""
        cache = self.run.data.cache
        return {
            split: encode_records(self.adapter, records, self.tokenizer, cache=cache, warn=warn)
            for split, records in self.data.records.items()
        }


@dataclass(frozen=True)
class Setup(Inputs):
    """What a run has before its first step.

    Args:
        choices: on what it computes, and how.
        rows: split -> encoded rows.
    """

    choices: Choices
    rows: Mapping[str, Rows]

    @property
    def buckets(self) -> tuple[int, ...] | None:
        """Return the lengths that batches are padded to; None: each batch to its own longest row."""
        return padded_lengths(self.rows["train"], self.run, jit=self.choices.jit.value == "on")

    @property
    def notes(self) -> dict[str, dict[str, int]]:
        """Return split -> what encoding did to its records -> how many."""
        return {split: dict(rows.notes) for split, rows in self.rows.items()}

    def start_engine(self, engine: Engine | None = None) -> Engine:
        """Return an engine with the network at random weights; ``engine``: one to start again."""
        return build_engine(self.adapter, self.choices, vocab_size=self.vocab_size, engine=engine)

    def with_run(self, run: Run) -> Setup:
        """Return the setup with settings that decide no row: numbers in place of ``auto``."""
        return replace(self, run=run, adapter=rebound(self.adapter, run))


def read_inputs(run: Run, card: Card, source: DataSource, console: Console) -> Inputs:
    """Read and check data, checkpoint and vocabulary, and say what is unusual about them.

    Raises:
        DataError: missing or broken files.
        CheckpointError: the pre-trained weights or the vocabulary cannot be used.
    """
    say_weights(console, run)
    adapter = load_adapter(card, run)
    data = read_splits(adapter, source)
    say_data(console, card, source, data)
    checkpoint = open_checkpoint(run, adapter.pretrained)
    for notice in checkpoint.notices if checkpoint else ():
        console.warn(notice)
    own = _of_weights(adapter, checkpoint) or adapter.own_tokenizer(data.records)
    tokenizer = own or open_tokenizer(run, checkpoint)
    for notice in tokenizer.notices:
        console.warn(notice)

    def encode(recorder: AnyTokenizer) -> None:
        for some in data.records.values():
            encode_records(adapter, some, recorder, cache=False, warn=console.warn)

    tokenizer, checkpoint = fewer_pieces(run.model, tokenizer, checkpoint, encode, console.say)
    adapter.tokenizer = tokenizer
    return Inputs(run, card, adapter, source, data, checkpoint, tokenizer)


def _of_weights(adapter: Adapter, checkpoint: Checkpoint | None) -> AnyTokenizer | None:
    """Return an adapter's own tokenizer that made the ids of pre-trained weights; None: it has none.

    Raises:
        CheckpointError: word vectors beside the vocabulary are not those of the training.
    """
    if checkpoint is None or checkpoint.vocab is None:
        return None
    own = adapter.load_own_tokenizer(checkpoint.vocab)
    if own is not None and checkpoint.ids_sha256 not in {None, own.sha256}:
        raise CheckpointError(
            "the vocabulary or the word vectors differ from those that these weights were trained with",
            where=str(checkpoint.folder),
            next_step="name the same file of word vectors as that run, or none where it had none; else train "
            "from random weights",
        )
    return own


def complete(inputs: Inputs, choices: Choices, warn: Callable[[str], None]) -> Setup:
    """Return the inputs with their rows and with what the run computes on.

    Raises:
        DataError: records that cannot be encoded, or ids outside the model's tables.
    """
    rows = inputs.encode(warn)
    check_ids(shape_of(inputs.run.model), inputs.vocab_size, rows, inputs.tokenizer.id_limits)
    return Setup(**vars(inputs), choices=choices, rows=rows)
