"""Write the samples of the tasks that choose, and of the diagnostics: C3, ChID, in the official layouts.

In: the wordings in ``scripts/sample_wordings``. Out: JSON files, the same bytes at every run.
Run after a wording changes: ``python scripts/make_samples_choices.py [TASK or card folder]...``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import Card

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_samples import ATTEMPTS, WORDINGS, Draw, Record, wanted_records, write_samples

CANDIDATES = 10
FIRST_TAGS = {"train": 0, "dev": 577_157, "test1.1": 600_168, "test1.0": 623_377}


def c3(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes: dialogues and texts, in a file each where the card lists two."""
    words = read_yaml(WORDINGS / "c3.yaml").values
    draw = Draw("clue-runner c3")
    seen: set[str] = set()
    files = {}
    for split, wanted in wanted_records(card).items():
        declared = card.splits[split]
        names = [declared.file, *(part.file for part in declared.more)]
        for place, name in enumerate(names):
            passages: list[Any] = []
            for _ in range(ATTEMPTS):
                dialogue = place == 0 if len(names) > 1 else draw.chance(0.5)
                passage = _passage(draw, words, split, dialogue=dialogue)
                key = json.dumps(passage[0], ensure_ascii=False)
                if key not in seen:
                    seen.add(key)
                    passages.append(passage)
                if len(passages) == wanted // len(names):
                    break
            if declared.labelled:
                passages = [[*passage, f"{'md'[place == 0]}-{at}"] for at, passage in enumerate(passages)]
            else:
                _number(passages, shuffled=draw if split == "test1.0" else None)
            text = json.dumps(passages, ensure_ascii=False, indent=1)
            files[name] = (text + "\n").encode("utf-8")
    return files


def _passage(draw: Draw, words: Record, split: str, *, dialogue: bool) -> list[Any]:
    """Return [lines, [question]]: the clue, neutral lines around it, the answer among others of its topic."""
    topic = words["topics"][draw.one(sorted(words["topics"]))]
    answer = draw.one(sorted(topic["answers"]))
    clue = draw.one(topic["answers"][answer]) + "。"
    if dialogue:
        speaker = draw.one(topic["speaker"])
        other = "女" if speaker == "男" else "男"
        lines = [f"{other}：{draw.one(words['greetings'])}", f"{speaker}：{clue}"]
        if draw.chance(0.5):
            lines.append(f"{other}：{draw.one(words['replies'])}")
        question = draw.one(topic["dialogue"])
    else:
        sentences = [draw.one(words["openings"]), clue, draw.one(words["closings"])]
        lines = ["".join(draw.some(words["openings"], 1) * draw.chance(0.3) + sentences)]
        question = draw.one(topic["text"])
    # as in the official files: mostly four choices, and more than four in test 1.1 alone
    number = draw.one([4, 4, 4, 3, 2] if split != "test1.1" else [4, 4, 4, 3, 5])
    number = min(number, len(topic["answers"]))
    others = draw.some([text for text in sorted(topic["answers"]) if text != answer], number - 1)
    choices = draw.some([answer, *others], number)
    return [lines, [{"question": question, "choice": choices, "answer": answer}]]


def _number(passages: list[Any], *, shuffled: Draw | None) -> None:
    """Take the answers out and give ids; those of test 1.0 do not follow the file's order."""
    ids = list(range(len(passages)))
    if shuffled:
        ids = shuffled.some(ids, len(ids))
    for number, passage in zip(ids, passages, strict=True):
        del passage[1][0]["answer"]
        passage[1][0]["id"] = number


def chid(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes of records and of answers; no group of texts appears twice."""
    words = read_yaml(WORDINGS / "chid.yaml").values
    draw = Draw("clue-runner chid")
    seen: set[str] = set()
    files = {}
    for split, wanted in wanted_records(card).items():
        declared = card.splits[split]
        lines: list[str] = []
        answers: dict[str, int] = {}
        while len(lines) < wanted:
            record, told = _group(draw, words, FIRST_TAGS[split] + len(answers))
            if "".join(told) not in seen:
                seen.add("".join(told))
                lines.append(json.dumps(record, ensure_ascii=False))
                for place, idiom in enumerate(told.values()):
                    tag = f"#idiom{FIRST_TAGS[split] + len(answers):06}#"
                    assert tag == list(told)[place]
                    answers[tag] = record["candidates"].index(idiom)
        files[declared.file] = ("\n".join(lines) + "\n").encode("utf-8")
        if declared.answers:
            files[declared.answers.file] = (json.dumps(answers, indent=2) + "\n").encode("utf-8")
    return files


def _group(draw: Draw, words: Record, first_tag: int) -> tuple[Record, dict[str, str]]:
    """Return one record and tag -> idiom; a passage is one or two sentences, so some hold two blanks."""
    idioms = draw.some(sorted(words["idioms"]), CANDIDATES)
    used = draw.some(idioms, draw.one([2, 3, 4, 5]))
    told: dict[str, str] = {}
    passages: list[str] = []
    for place, idiom in enumerate(used):
        tag = f"#idiom{first_tag + place:06}#"
        told[tag] = idiom
        sentence = draw.one(words["openers"]) + draw.one(words["idioms"][idiom])
        for slot, values in (("{p}", "people"), ("{o}", "places")):
            sentence = sentence.replace(slot, draw.one(words[values]))
        sentence = sentence.replace("{_}", tag)
        if passages and draw.chance(0.3):
            passages[-1] += sentence
        else:
            passages.append(sentence)
    return {"candidates": idioms, "content": passages}, told


def diagnostics(card: Card) -> dict[str, bytes]:
    """Return file name -> bytes of pairs without labels."""
    words = read_yaml(WORDINGS / "diagnostics.yaml").values
    draw = Draw("clue-runner diagnostics")
    wanted = wanted_records(card)["test"]
    pairs: dict[str, Record] = {}
    while len(pairs) < wanted:
        first, second = draw.some(words["people"], 2)
        drawn = {
            "{a}": first,
            "{b}": second,
            "{thing}": draw.one(words["things"]),
            "{place}": draw.one(words["places"]),
        }
        premise, hypothesis = draw.one(words["pairs"])
        for slot, value in drawn.items():
            premise, hypothesis = premise.replace(slot, value), hypothesis.replace(slot, value)
        pairs.setdefault(
            premise + hypothesis, {"index": len(pairs), "premise": premise, "hypothesis": hypothesis}
        )
    lines = [json.dumps(pair, ensure_ascii=False) for pair in pairs.values()]
    return {card.splits["test"].file: ("\n".join(lines) + "\n").encode("utf-8")}


MAKERS: dict[str, Any] = {"c3": c3, "chid": chid, "diagnostics": diagnostics}


if __name__ == "__main__":
    sys.exit(write_samples(MAKERS))
