"""Write the samples of csl_title and cmrc_question: texts to be written, in the official layouts.

In: the wordings of csl and cmrc2018 in ``scripts/sample_wordings``. Out: the same JSON files at every run.
Run after a wording changes: ``python scripts/make_samples_targets.py [TASK or card folder]...``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import Card

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_samples import WORDINGS, Draw, Record, wanted_records, write_samples
from make_samples_spans import articles

SLOT = re.compile(r"\{(x|y|z|field|n)\}")


def abstracts(draw: Draw, words: Record) -> Iterator[Record]:
    """Yield abstracts with the keywords that they name, in that order; some records have a made-up one."""
    while True:
        field = draw.one(words["fields"])
        named = dict(zip("xyz", draw.some(field["keywords"], 3), strict=True))
        named |= {"field": field["name"], "n": str(draw.one(range(3, 40)))}
        wording = "".join(draw.one(words[part]) for part in ("openers", "middles", "closers"))
        keywords = []
        for slot in SLOT.finditer(wording):
            if slot[1] in "xyz" and named[slot[1]] not in keywords:
                keywords.append(named[slot[1]])
        genuine = draw.chance(0.8)
        if not genuine:
            keywords[-1] = draw.one(words["general"])
        text = SLOT.sub(lambda slot, named=named: named[slot[1]], wording)
        yield {"abst": text, "keyword": keywords, "label": str(int(genuine))}


def keywords(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes of the sample in CSL's layout; no abstract stands in two splits."""
    source = abstracts(Draw(f"clue-runner {card.name}"), read_yaml(WORDINGS / "csl.yaml").values)
    seen: set[str] = set()
    files = {}
    for split, wanted in wanted_records(card).items():
        records: list[Record] = []
        while len(records) < wanted:
            record = next(source)
            if record["abst"] in seen:
                continue
            seen.add(record["abst"])
            if not card.splits[split].labelled:
                del record["label"]
            records.append({"id": len(records) + 1, **record})
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        files[card.splits[split].file] = ("\n".join(lines) + "\n").encode("utf-8")
    return files


def questions(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes of the sample in the SQuAD shape; splits share no context."""
    words = read_yaml(WORDINGS / "cmrc2018.yaml").values
    source = articles(Draw(f"clue-runner {card.name}"), words)
    seen: set[str] = set()
    files = {}
    for split, wanted in wanted_records(card).items():
        data: list[Record] = []
        while len(data) * words["questions_asked"] < wanted:
            subject, context, facts = next(source)
            if context in seen:
                continue
            seen.add(context)
            name = f"{split.upper()}_{len(data)}"
            asked = [
                {
                    "question": fact["question"],
                    "id": f"{name}_QUERY_{place}",
                    "answers": [{"text": fact["value"], "answer_start": fact["value_start"]}],
                }
                for place, fact in enumerate(facts)
            ]
            paragraph = {"id": name, "context": context, "qas": asked}
            data.append({"paragraphs": [paragraph], "id": name, "title": subject})
        text = json.dumps({"version": "v1.0", "data": data}, ensure_ascii=False, indent=1)
        files[card.splits[split].file] = (text + "\n").encode("utf-8")
    return files


if __name__ == "__main__":
    sys.exit(write_samples({"csl_title": keywords, "cmrc_question": questions}))
