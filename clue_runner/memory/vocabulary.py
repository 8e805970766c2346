"""The size of a run's vocabulary, found without its rows.

In: a run, its task. Out: the rows of the token table, and what could not be counted.
Knows nothing about memory. No backend is loaded.
"""

from __future__ import annotations

from clue_runner.adapters.base import load_adapter
from clue_runner.checkpoints.trimmed import fewer_pieces
from clue_runner.config.presets import default_vocab_size, model_preset, model_presets
from clue_runner.config.schema import Run
from clue_runner.data.at_hand import data_at_hand
from clue_runner.data.cards import Card
from clue_runner.data.locate import open_source
from clue_runner.tokens.any_tokenizer import AnyTokenizer
from clue_runner.tokens.kept import AUTO
from clue_runner.training.network import open_tokenizer
from clue_runner.training.prepare import read_splits
from clue_runner.training.pretrained.opening import open_checkpoint


def vocabulary_size(run: Run, card: Card) -> tuple[int, str]:
    """Return the rows of the token table, and a clause about what could not be counted ("" where all was).

    They are the checkpoint's, the preset's or the file's, as ``model.keep_tokens`` and
    ``model.compound_tokens`` change them. Which pieces ``auto`` keeps follows from the task's texts: without
    them on this machine, all are counted.
    """
    model = run.model
    if model.keep_tokens is None and model.compound_tokens is None:
        return _whole_vocabulary(run), ""
    source, unknown = None, ""
    if model.keep_tokens == AUTO and (data := data_at_hand(card)) is not None:
        source = open_source(data, card)
    elif model.keep_tokens == AUTO:
        model = model.model_copy(update={"keep_tokens": None})
        unknown = "; model.keep_tokens=auto is not counted without the task's data, so the need is lower"
    tokenizer = open_tokenizer(run, open_checkpoint(run))

    def encode(recorder: AnyTokenizer) -> None:
        adapter = load_adapter(card, run)
        for records in read_splits(adapter, source).records.values() if source else ():
            adapter.encode(records, recorder)

    trimmed, _ = fewer_pieces(model, tokenizer, None, encode, lambda text: None)
    return trimmed.vocab_size, unknown


def _whole_vocabulary(run: Run) -> int:
    """Return the size of the vocabulary: the checkpoint's, the preset's, or that of the file."""
    if run.model.init == "checkpoint" and run.model.checkpoint is not None:
        checkpoint = open_checkpoint(run)
        assert checkpoint is not None
        return checkpoint.vocab_size
    preset = model_preset(run.model.name) if run.model.name in model_presets() else None
    if run.model.vocab != "auto":
        return open_tokenizer(run, None).vocab_size
    return (preset.vocab_size if preset else None) or default_vocab_size()
