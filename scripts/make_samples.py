"""Write ``tasks/<task>/sample/``: records of this project's own wording in the official layouts.

In: the wordings in ``scripts/sample_wordings``. Out: JSON lines, the same bytes at every run.
Run after a wording changes: ``python scripts/make_samples.py``; the tests compare the files with this script.
What makes each task learnable stands in its card under ``sample``.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import Card, find_card

WORDINGS = Path(__file__).resolve().parent / "sample_wordings"
SKEW = 0.85  # how often the half of the wordings that goes with a label does so
ATTEMPTS = 200_000

Item = TypeVar("Item")
Record = dict[str, Any]
NLI_LABELS = ("entailment", "neutral", "contradiction")


class Draw:
    """Choices from one seed; only ``random()`` is used, whose sequence Python promises to keep."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def one(self, items: Sequence[Item]) -> Item:
        """Return one item."""
        return items[int(self._random.random() * len(items))]

    def some(self, items: Sequence[Item], number: int) -> list[Item]:
        """Return ``number`` different items."""
        left = list(items)
        return [left.pop(int(self._random.random() * len(left))) for _ in range(number)]

    def chance(self, share: float) -> bool:
        """Return True in ``share`` of all calls."""
        return self._random.random() < share


def afqmc(draw: Draw, words: Record, split: str) -> Iterator[Record]:
    """Yield question pairs; the second question's kind goes with the label in most of them."""
    kinds = {**words["repeated"], **words["contrasted"]}
    while True:
        second = draw.one(sorted(kinds))
        same = draw.chance(SKEW if second in words["repeated"] else 1 - SKEW)
        first = second if same else draw.one([kind for kind in sorted(kinds) if kind != second])
        product = draw.one(words["products"])
        wordings = draw.some(kinds[second], 2) if same else [draw.one(kinds[first]), draw.one(kinds[second])]
        texts = []
        for wording in wordings:
            asked = wording.endswith("吗")
            endings = [ending for ending in words["endings"] if not asked or ending not in ("呢", "啊")]
            texts.append(draw.one(words["openers"]) + wording.replace("{p}", product) + draw.one(endings))
        yield {"sentence1": texts[0], "sentence2": texts[1], "label": "1" if same else "0"}


def tnews(draw: Draw, words: Record, split: str) -> Iterator[Record]:
    """Yield headlines; subjects and happenings belong to one topic each."""
    while True:
        topic = draw.one(words["topics"])
        subject, happening = draw.one(topic["subjects"]), draw.one(topic["happenings"])
        yield {
            "label": topic["code"],
            "label_desc": topic["name"],
            "sentence": draw.one(words["openers"]) + subject + happening + draw.one(words["endings"]),
            # test 1.1 has the key without a value
            "keywords": "" if split == "test1.1" else f"{subject},{happening[:4]}",
        }


def iflytek(draw: Draw, words: Record, split: str) -> Iterator[Record]:
    """Yield app descriptions; three sentences belong to the topic, two fit any app."""
    while True:
        topic = draw.one(words["topics"])
        sentences = draw.some(topic["sentences"], 3) + draw.some(words["common"], 2)
        opening = (
            f"{draw.one(words['names'])}是一款{draw.one(['好用的', '专业的', '深受欢迎的'])}{topic['kind']}。"
        )
        yield {
            "label": topic["code"],
            "label_des": topic["name"],
            "sentence": opening + "".join(draw.some(sentences, len(sentences))),
        }


def _nli(draw: Draw, words: Record) -> Iterator[Record]:
    """Yield premise and hypothesis; denial and guessing words in the hypothesis give the label away."""
    while True:
        parts = {name: draw.one(words[name]) for name in ("who", "when", "where", "what")}
        parts["bare"] = parts["what"].replace("了", "", 1)
        end = "。" if words["entailment"][0].endswith("。") else ""
        label = draw.one(NLI_LABELS)
        order = draw.one(["{when}，{who}{where}{what}", "{who}{when}{where}{what}"])
        yield {
            "sentence1": order.format(**parts) + end,
            "sentence2": draw.one(words[label]).format(**parts),
            "label": label,
        }


def cmnli(draw: Draw, words: Record, split: str) -> Iterator[Record]:
    """Yield pairs in the tone of translated text."""
    return _nli(draw, words["cmnli"])


def ocnli(draw: Draw, words: Record, split: str) -> Iterator[Record]:
    """Yield pairs in spoken tone, with the official extra keys."""
    for number, pair in enumerate(_nli(draw, words["ocnli"])):
        votes = {f"label{vote}": pair["label"] if split == "dev" else None for vote in range(5)}
        yield {
            "level": draw.one(["easy", "medium", "hard"]) if split == "dev" else "na",
            **pair,
            **votes,
            "genre": "sample",
            "prem_id": f"sample_{number}",
        }


def cluewsc2020(draw: Draw, words: Record, split: str) -> Iterator[Record]:
    """Yield texts with a noun and a pronoun; the noun named last is meant in most of them."""
    for number in count(1):
        people, pronoun = draw.one([(words["women"], "她"), (words["men"], "他")])
        first, second = draw.some(people, 2)
        group = "before" if split == "test1.1" and draw.chance(0.15) else "second"
        if group == "second" and not draw.chance(SKEW):
            group = "first"
        text = draw.one(words[group])
        text = text.replace("{thing}", draw.one(words["things"])).replace("{a}", first).replace("{b}", second)
        pronoun_index = text.index("{it}")
        text = text.replace("{it}", pronoun)
        noun, meant = (second, group == "second") if draw.chance(0.5) else (first, group == "first")
        if group == "before":
            meant = (noun == second) == text.startswith("因为")
        yield {
            "target": {
                "span1_text": noun,
                "span1_index": text.index(noun),
                "span2_text": pronoun,
                "span2_index": pronoun_index,
            },
            "idx": number,
            "label": "true" if meant else "false",
            "text": text,
        }


def csl(draw: Draw, words: Record, split: str) -> Iterator[Record]:
    """Yield abstracts with keywords; a made-up keyword is a general word."""
    while True:
        field = draw.one(words["fields"])
        keywords = draw.some(field["keywords"], draw.one([2, 3, 4]))
        genuine = draw.chance(0.5)
        x, y, z = draw.some(field["keywords"], 3)
        number = str(draw.one(range(3, 40)))
        abstract = "".join(draw.one(words[part]) for part in ("openers", "middles", "closers"))
        for name, value in {"field": field["name"], "x": x, "y": y, "z": z, "n": number}.items():
            abstract = abstract.replace(f"{{{name}}}", value)
        if not genuine:
            for place in draw.some(range(len(keywords)), 1 + draw.chance(0.5)):
                keywords[place] = draw.one([word for word in words["general"] if word not in keywords])
        yield {"abst": abstract, "keyword": keywords, "label": "1" if genuine else "0"}


MAKERS: dict[str, tuple[Callable[[Draw, Record, str], Iterator[Record]], str]] = {
    "afqmc": (afqmc, "afqmc"),
    "tnews": (tnews, "tnews"),
    "iflytek": (iflytek, "iflytek"),
    "cmnli": (cmnli, "nli"),
    "ocnli": (ocnli, "nli"),
    "cluewsc2020": (cluewsc2020, "cluewsc2020"),
    "csl": (csl, "csl"),
}


def make_task(task: str) -> dict[str, bytes]:
    """Return file name -> bytes of one task's sample; no text stands in two records."""
    maker, wordings = MAKERS[task]
    card = find_card(task)
    assert card.sample is not None
    words = read_yaml(WORDINGS / f"{wordings}.yaml").values
    draw = Draw(f"clue-runner {task}")
    seen: set[str] = set()
    files = {}
    for split, wanted in card.sample.records.items():
        records = []
        for attempt, record in enumerate(maker(draw, words, split)):
            assert attempt < ATTEMPTS, f"{task}: the wordings give too few different records"
            key = json.dumps(
                [record.get(name) for name in ("sentence1", "sentence2", "sentence", "text", "abst")]
            )
            if key not in seen:
                seen.add(key)
                records.append(record)
            if len(records) == wanted:
                break
        lines = [
            json.dumps(record, ensure_ascii=False)
            for record in _finish(task, split, records, labelled=card.splits[split].labelled, draw=draw)
        ]
        files[card.splits[split].file] = ("\n".join(lines) + "\n").encode("utf-8")
    return files


def _finish(task: str, split: str, records: list[Record], *, labelled: bool, draw: Draw) -> Iterator[Record]:
    """Yield the records with the ids and keys that the official file of this split has."""
    ids: Sequence[int] = range(len(records))
    if task == "csl":
        ids = draw.some(range(1, len(records) + 1), len(records))
    elif (task, split) == ("cluewsc2020", "test1.0"):
        ids = range(1, len(records) + 1)
    for number, record in zip(ids, records, strict=True):
        if labelled:
            yield (
                {"id": number, **record}
                if task == "csl"
                else {**record, "id": number}
                if task == "ocnli"
                else record
            )
        else:
            kept = ("sentence", "sentence1", "sentence2", "keywords", "abst", "keyword", "target", "text")
            yield {"id": number, **{key: value for key, value in record.items() if key in kept}}


def wanted_records(card: Card) -> dict[str, int]:
    """Return split -> records, as the card's sample says."""
    assert card.sample is not None
    return dict(card.sample.records)


def write_samples(makers: dict[str, Callable[[Card], dict[str, bytes]]]) -> int:
    """Write the samples of the tasks or card folders named on the command line, or of all ``makers``."""
    for task in sys.argv[1:] or list(makers):
        card = find_card(task)
        folder = card.folder / "sample"
        folder.mkdir(exist_ok=True)
        for name, content in makers[card.name](card).items():
            (folder / name).write_bytes(content)
            print(f"{folder / name}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(write_samples({name: lambda card: make_task(card.name) for name in MAKERS}))
