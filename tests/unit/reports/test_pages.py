"""Whole pages: every kind, both languages, escaped, self-contained, small."""

from __future__ import annotations

import json
import re
import string
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.pages import KINDS, gold_prediction, make_run, result_of

from clue_runner.adapters.answers import Prediction
from clue_runner.adapters.base import load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.data.cards import find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import Records, TextRecord
from clue_runner.errors import DataError
from clue_runner.reports import charts
from clue_runner.reports.answers import Answered
from clue_runner.reports.run_page import PageOptions, make_run_page
from clue_runner.reports.words import LANGUAGES, Language, default_language, words
from clue_runner.reports.write import write_run_page
from clue_runner.runs.folder import RunFolder

EVIL = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\"'&"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(folder: RunFolder, language: Language = "en", *, texts: bool = True) -> str:
    result = folder.result()
    assert result is not None
    options = PageOptions(language, texts=texts)
    return write_run_page(folder, result, options, warn=pytest.fail).read_text(encoding="utf-8")


def test_both_languages_have_the_same_words() -> None:
    first, second = words("zh"), words("en")
    assert first.keys() == second.keys() and len(first) > 80

    def values(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert {key: values(text) for key, text in first.items()} == {k: values(t) for k, t in second.items()}


def test_every_word_asked_for_is_there() -> None:
    folder = Path(__file__).parents[3] / "clue_runner" / "reports"
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in {".py", ".html"}
    )
    asked = set(re.findall(r"""\bsay\("([a-z_]+)\"[,)]""", text))
    assert len(asked) > 50 and asked <= words("en").keys()


def test_the_language_is_the_locales(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLUE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert default_language() == "en"
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert default_language() == "zh"
    monkeypatch.setenv("CLUE_LANG", "en")
    assert default_language() == "en"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("task", KINDS)
def test_every_kind_has_a_page_that_loads_nothing(task: str, language: Language, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", task)
    html = page_of(folder, language)
    tags = Tags(html)
    assert not [tag for tag, _ in tags.tags if tag in {"iframe", "img", "object", "embed"}]
    loaded = [attrs.get(name) for _, attrs in tags.tags for name in ("src", "href") if name in attrs]
    assert all(place is not None and (place.startswith("#") or place == "data:,") for place in loaded)
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:|url\(|@import""", html)
    assert words(language)["mistakes"] in html and "clue train --config" in html
    assert html.count("<article ") > 0 and html.count("<svg") >= 2
    lines = (tmp_path / "run" / "mistakes.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == html.count("<article ")
    assert all({"id", "gold", "answer", "texts"} <= json.loads(line).keys() for line in lines)


def answered(count: int, text: str = "some text", *, wrong: bool = True) -> Answered:
    card = find_card("afqmc")
    adapter = load_adapter(card, load_run(task="afqmc", model="test"))
    items = [TextRecord(n, (f"{text} {n}", text), str(n % 2), n + 1) for n in range(count)]
    records = Records("dev", items, "dev.json", "0" * 64, count)
    answers = [
        Prediction(one.id, "0" if wrong else str(one.label), 0.51 + one.line % 40 / 100) for one in items
    ]
    return Answered(adapter, records, answers)


def made(
    given: Answered, folder: Path, *, texts: bool = True, chance: float | None = None
) -> tuple[str, str]:
    scores = given.scores
    result = result_of("afqmc", "1.0", EVIL, 1, scores, "0" * 64)
    if chance is not None:
        result = result.model_copy(update={"chance": chance})
    page = make_run_page(RunFolder(folder), result, given.adapter.card, given, PageOptions("en", texts=texts))
    assert page.mistakes is not None
    return page.html, page.mistakes.decode()


def test_tags_in_texts_are_text(tmp_path: Path) -> None:
    html, _ = made(answered(4, EVIL), tmp_path)
    tags = Tags(html)
    assert [tag for tag, _ in tags.tags].count("script") == 1
    assert not [attrs for _, attrs in tags.tags if any(name.startswith("on") for name in attrs)]
    assert EVIL in tags.text and "<img" not in html


def test_the_script_runs_by_its_hash_alone(tmp_path: Path) -> None:
    html, _ = made(answered(4), tmp_path)
    (policy,) = [
        attrs["content"] for tag, attrs in Tags(html).tags if tag == "meta" and "http-equiv" in attrs
    ]
    assert policy is not None and "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'", policy) and "script-src 'unsafe" not in policy


def test_ten_thousand_records_make_a_small_page(tmp_path: Path) -> None:
    given = answered(10_000, "一二三四五六七八九十" * 60)
    began = time.perf_counter()
    html, lines = made(given, tmp_path)
    assert len(html.encode()) < 5_000_000 and time.perf_counter() - began < 30
    assert len(lines.splitlines()) == 5_000 > html.count("<article ")
    assert "mistakes.jsonl beside this page has all 5,000" in html


def test_no_texts_means_none(tmp_path: Path) -> None:
    html, lines = made(answered(20, "geheim"), tmp_path, texts=False)
    assert "geheim" not in html + lines and html.count("<article ") == 10 == len(lines.splitlines())
    for task in KINDS:
        folder = make_run(tmp_path / task, task)
        page = page_of(folder, texts=False) + (folder.path / "mistakes.jsonl").read_text(encoding="utf-8")
        adapter = load_adapter(
            find_card(task), load_run(task=task, model="dgcnn" if task == "webqa" else "test")
        )
        for record in adapter.read(locate(adapter.card, "sample"), "dev").items:
            shown = adapter.show(record, gold_prediction(record))
            assert not [text.text for text in shown.texts if len(text.text) > 6 and text.text in page]


def test_one_answer_to_everything_is_said_loudly(tmp_path: Path) -> None:
    html, _ = made(answered(6), tmp_path)
    assert 'class="loud"' in html and "All 6 predictions are the same: 0 (" in html
    given = answered(6, wrong=False)
    html, _ = made(given, tmp_path)
    assert 'class="loud"' not in html
    html, _ = made(given, tmp_path, chance=100.0)
    assert "is not above 100.00" in html


def test_data_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run", "afqmc")
    text = folder.events.read_text(encoding="utf-8").replace('"sample"', json.dumps(str(tmp_path / "gone")))
    folder.events.write_text(text, encoding="utf-8")
    result, warnings = folder.result(), list[str]()
    assert result is not None
    page = write_run_page(folder, result, PageOptions("en"), warn=warnings.append)
    assert len(warnings) == 1 and "not available" in page.read_text(encoding="utf-8")
    assert not (folder.path / "mistakes.jsonl").exists()
    with pytest.raises(DataError, match="no such file"):
        write_run_page(folder, result, PageOptions("en"), data=str(tmp_path / "gone"), warn=warnings.append)


def test_other_data_than_the_runs_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "afqmc")
    result = folder.result()
    assert result is not None
    other = result.model_copy(update={"data_sha256": {"dev": "f" * 64}})
    with pytest.raises(DataError, match="differ from those that the run was scored on"):
        write_run_page(folder, other, PageOptions("en"), data="sample", warn=pytest.fail)


def test_lengths_are_tokens_where_the_run_kept_its_vocabulary(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "afqmc")
    state = folder.checkpoints / "step-9"
    state.mkdir(parents=True)
    (folder.checkpoints / "best").write_text("step-9\n", encoding="utf-8")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (state / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    assert "characters" not in page_of(folder).split("</article>")[0]
    line = json.loads((folder.path / "mistakes.jsonl").read_text(encoding="utf-8").split("\n")[0])
    characters = sum(len(text["text"]) for text in line["texts"])
    assert (
        line["length"] == characters + 3 and line["at_limit"] is False
    )  # all unknown, and [CLS], [SEP] twice


def test_a_score_of_nothing_has_no_axis_below_it() -> None:
    chart = charts.curve([(20, 0.0)], title="F1", x_title="updates")
    assert ">-" not in chart and ">0<" in chart and ">0.2<" in chart
