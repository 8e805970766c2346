"""Write the samples of the tasks whose answers are spans: CLUENER, CMRC2018, DRCD, in the official layouts.

In: the wordings in ``scripts/sample_wordings``. Out: JSON files, the same bytes at every run.
Run after a wording changes: ``python scripts/make_samples_spans.py [TASK or card folder]...``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import Card

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_samples import ATTEMPTS, WORDINGS, Draw, Record, wanted_records, write_samples

SLOT = re.compile(r"\{(?P<type>[a-z]+)(?::(?P<number>\d))?\}")
LONG_EVERY = 8  # one article in so many is longer than a window of 512 tokens
LONG_FILLERS = 19
PLACEHOLDERS = {"cmrc2018": 3, "drcd": 2}  # how many FAKE_ANSWER_n the official test file has a question


def entity_records(draw: Draw, words: Record) -> Iterator[Record]:
    """Yield texts with their label objects; spans are right because the text is put together around them."""
    while True:
        template = draw.one(words["templates"])
        text, label, said = "", {}, {}
        end = 0
        for slot in SLOT.finditer(template):
            text += template[end : slot.start()]
            end = slot.end()
            key = slot["number"] and slot[0]
            surface = said.get(key) or _entity(draw, words, slot["type"])
            while key is None and surface in text:  # a name drawn twice by chance would need two spans
                surface = _entity(draw, words, slot["type"])
            if key:
                said[key] = surface
            spans = label.setdefault(slot["type"], {}).setdefault(surface, [])
            spans.append([len(text), len(text) + len(surface) - 1])
            text += surface
        yield {"text": text + template[end:], "label": label}


def _entity(draw: Draw, words: Record, name: str) -> str:
    """Return one entity of a type; people get a surname and a given name."""
    if name == "name":
        return draw.one(words["surnames"]) + draw.one(words["given"])
    return draw.one(words[name])


def cluener(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes of the entity sample."""
    records = entity_records(Draw("clue-runner cluener"), read_yaml(WORDINGS / "cluener.yaml").values)
    seen: set[str] = set()
    files = {}
    for split, wanted in wanted_records(card).items():
        lines: list[str] = []
        for _ in range(ATTEMPTS):
            record = next(records)
            if record["text"] not in seen:
                seen.add(record["text"])
                shown = record if card.splits[split].labelled else {"id": len(lines), "text": record["text"]}
                lines.append(json.dumps(shown, ensure_ascii=False))
            if len(lines) == wanted:
                break
        files[card.splits[split].file] = ("\n".join(lines) + "\n").encode("utf-8")
    return files


def articles(draw: Draw, words: Record) -> Iterator[tuple[str, str, list[Record]]]:
    """Yield (subject, context, facts with ``question``, ``value``, ``wide`` and their offsets)."""
    number = 0
    while True:
        number += 1
        kind = words["kinds"][draw.one(sorted(words["kinds"]))]
        subject = draw.one(kind["subjects"])
        facts = [_fact(draw, words, fact, subject) for fact in kind["facts"]]
        told = [fact["tells"] for fact in facts]
        told += draw.some(words["fillers"], LONG_FILLERS if number % LONG_EVERY == 0 else draw.one([1, 2, 3]))
        context = kind["opening"].replace("{place}", draw.one(words["places"])).replace("{x}", subject)
        context += "".join(draw.some(told, len(told)))
        asked = draw.some(facts, words["questions_asked"])
        for fact in asked:
            start = context.index(fact["tells"])
            fact["value_start"] = context.index(fact["value"], start)
            fact["wide_start"] = context.index(fact["wide"], start)
        yield subject, context, asked


def _fact(draw: Draw, words: Record, fact: Record, subject: str) -> Record:
    """Return one fact with everything drawn."""
    drawn = {
        "x": subject,
        "year": str(draw.one(range(1890, 2021))),
        "number": str(draw.one(range(3, 99))),
        "big": str(draw.one(range(1200, 9800))),
        "person": draw.one(words["persons"]),
        **{name: draw.one(values) for name, values in words["lists"].items()},
    }
    value = _fill(fact["value"], drawn)
    drawn["v"] = value
    return {
        "tells": _fill(fact["tells"], drawn),
        "question": _fill(draw.one(fact["asks"]), drawn),
        "value": value,
        "wide": _fill(fact["wide"], drawn),
    }


def _fill(text: str, drawn: dict[str, str]) -> str:
    """Return the text with its slots filled."""
    return SLOT.sub(lambda slot: drawn[slot["type"]], text)


def reading(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes of a sample in the SQuAD shape; splits share no context."""
    words = read_yaml(WORDINGS / f"{card.name}.yaml").values
    source = articles(Draw(f"clue-runner {card.name}"), words)
    seen: set[str] = set()
    files = {}
    for split, wanted in wanted_records(card).items():
        data: list[Record] = []
        while len(data) * words["questions_asked"] < wanted:
            subject, context, facts = next(source)
            if context not in seen:
                seen.add(context)
                data.append(_article(card, split, len(data), subject, context, facts))
        version = "v1.0" if card.name == "cmrc2018" else card.version
        text = json.dumps({"version": version, "data": data}, ensure_ascii=False, indent=1)
        files[card.splits[split].file] = (text + "\n").encode("utf-8")
    return files


def _article(card: Card, split: str, number: int, subject: str, context: str, facts: list[Record]) -> Record:
    """Return one article with one paragraph."""
    name = f"{split.upper()}_{number}"
    questions = [
        {"question": fact["question"], "id": f"{name}_QUERY_{place}", "answers": _answers(card, split, fact)}
        for place, fact in enumerate(facts)
    ]
    return {"paragraphs": [{"id": name, "context": context, "qas": questions}], "id": name, "title": subject}


def _answers(card: Card, split: str, fact: Record) -> list[Record]:
    """Return as many answers as the official file has: dev marks the longer one too."""
    value: Record = {"text": fact["value"], "answer_start": fact["value_start"]}
    wide: Record = {"text": fact["wide"], "answer_start": fact["wide_start"]}
    if not card.splits[split].labelled:
        answers: list[Record] = [
            {"text": f"FAKE_ANSWER_{place}", "answer_start": -1}
            for place in range(1, PLACEHOLDERS[card.name] + 1)
        ]
    elif card.name == "cmrc2018":
        answers = [value, value, wide] if split == "dev" else [value]
    else:
        answers = [value] if split == "train" else [value, wide]
    return (
        [{"id": str(place), **answer} for place, answer in enumerate(answers, 1)]
        if card.name == "drcd"
        else answers
    )


MAKERS: dict[str, Any] = {"cluener": cluener, "cmrc2018": reading, "drcd": reading}


if __name__ == "__main__":
    sys.exit(write_samples(MAKERS))
