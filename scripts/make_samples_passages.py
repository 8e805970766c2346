"""Write the samples of webqa and sogouqa: questions over several passages, in the list layout.

In: the wordings of cmrc2018 in ``scripts/sample_wordings``. Out: JSON files, the same bytes at every run.
Run after a wording changes: ``python scripts/make_samples_passages.py [TASK or card folder]...``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import Card

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_samples import WORDINGS, Draw, Record, write_samples
from make_samples_spans import articles

TASKS = ("webqa", "sogouqa")
OTHERS = (1, 2, 3)  # passages of other articles beside a question's own
NEAR = 40  # characters that a search result shows around the sentence with the answer


def questions(card: Card) -> Iterator[Record]:
    """Yield questions whose passages are pieces of their own article and of others."""
    draw = Draw(f"clue-runner {card.name}")
    words = read_yaml(WORDINGS / "cmrc2018.yaml").values
    earlier: list[str] = []
    for subject, context, facts in articles(draw, words):
        for fact in facts:
            begin = context.index(fact["tells"])
            whole = context[max(0, begin - NEAR) : begin + len(fact["tells"]) + NEAR]
            own = [(whole, fact["value"]), (f"{subject}：{fact['tells']}", fact["value"])]
            silent = context[:begin]
            if len(silent) > NEAR and fact["value"] not in silent:
                own.append((silent, ""))
            strangers = [text for text in earlier if fact["value"] not in text]
            count = min(len(strangers), draw.one(OTHERS))
            passages = draw.some(
                [*own, *((text, "") for text in draw.some(strangers, count))], len(own) + count
            )
            question = fact["question"] if subject in fact["question"] else f"{subject}：{fact['question']}"
            yield {
                "question": question,
                "passages": [{"passage": text, "answer": answer} for text, answer in passages],
            }
            earlier = [*earlier[-30:], whole]


def sample(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes of the sample; no question stands in two splits."""
    assert card.sample is not None
    source = questions(card)
    seen: set[str] = set()
    files = {}
    for split, wanted in card.sample.records.items():
        records: list[Record] = []
        while len(records) < wanted:
            record = next(source)
            text = record["question"] + record["passages"][0]["passage"]
            if text in seen:
                continue
            seen.add(text)
            if not card.splits[split].labelled:
                record["passages"] = [{"passage": one["passage"]} for one in record["passages"]]
            records.append({"id": _name(card, split, len(records)), **record})
        lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        files[card.splits[split].file] = f"[\n{lines}\n]\n".encode()
    return files


def _name(card: Card, split: str, number: int) -> str:
    """Return an id in the style of the task."""
    if card.name == "webqa":
        return f"Q_SAMPLE_{split.upper()}_{number:06}"
    return str({"train": 50_000, "dev": 60_000, "test": 70_000}[split] + number)


if __name__ == "__main__":
    sys.exit(write_samples(dict.fromkeys(TASKS, sample)))
