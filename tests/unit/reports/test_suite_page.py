"""The page of a suite from its table, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.pages import suite_table

from clue_runner.errors import DataError
from clue_runner.reports.suite_page import suite_page, write_suite_page
from clue_runner.reports.words import LANGUAGES


def test_the_numbers_by_hand() -> None:
    page = suite_page(suite_table(), "en")
    (questions, chance, linear, (small, large)), (_, _, _, (_, half)) = page.table
    assert (questions, chance, linear) == ("Questions (afqmc)", 50.0, None)
    assert small["mean"] == 71.0 and small["std"] == pytest.approx(2**0.5)  # (1 + 1) / (2 - 1)
    assert large["mean"] == 75.5 and large["std"] == pytest.approx(4.5**0.5)
    assert (half["done"], half["planned"], half["mean"], half["std"]) == (1, 2, 55.0, None)
    # a task of which a seed is missing compares nothing
    assert page.pairs == [("small", [None, (-4.5, 1, 0.0312)]), ("large", [(4.5, 1, 0.0312), None])]
    assert [(task, pair["p"]) for task, pair in page.compared] == [("Questions (afqmc)", 0.0312)]
    assert [row["reason"] for row in page.problems] == ["out of memory <here>"]
    assert len(page.spread) == 2 and len(page.published) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_what_failed_and_loads_nothing(language: str, tmp_path: Path) -> None:
    table = tmp_path / "collected.json"
    table.write_text(json.dumps(suite_table()), encoding="utf-8")
    html = write_suite_page(table, language).read_text(encoding="utf-8")  # type: ignore[arg-type]
    assert "out of memory &lt;here&gt;" in html and "Two &lt;models&gt;" in html
    assert "p 0.031" in html and "+0.40 … +8.60" in html
    assert "71.00 ± 1.41" in html and "78.50" in html and "runs/x: another vocabulary" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("content", ["{}", '{"schema": 9}', '{"schema": 1, "models": []}', "no json"])
def test_another_file_is_refused(content: str, tmp_path: Path) -> None:
    table = tmp_path / "collected.json"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        write_suite_page(table, "en")
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(DataError, match="no table of a suite"):
        write_suite_page(tmp_path / "other" / "collected.json", "en")


def test_a_linear_baseline_stands_beside_the_scores_of_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "afqmc" / "linear"
    folder.mkdir(parents=True)
    content = {"score": 68.5, "data_sha256": {"dev": "a" * 64}}
    (folder / "baseline.json").write_text(json.dumps(content), encoding="utf-8")
    table = suite_table()
    table["rows"][0]["data_sha256"] = {"dev": "a" * 64}
    assert [row[2] for row in suite_page(table, "en").table] == [68.5, None]
    table["rows"][0]["data_sha256"] = {"dev": "b" * 64}
    assert not suite_page(table, "en").has_linear


def test_a_table_of_an_earlier_version_has_differences_without_p() -> None:
    table = suite_table()
    del table["pairs"]
    page = suite_page(table, "en")
    assert (page.pairs[0], page.compared) == (("small", [None, (-4.5, 1, None)]), [])
