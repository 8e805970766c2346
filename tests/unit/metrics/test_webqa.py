"""WebQA's evaluation kit, restated; the shipped example gives its published results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clue_runner.errors import DataError
from clue_runner.metrics.webqa import (
    TaggedEvidence,
    marked,
    plain,
    read_kit,
    score_evidences,
    score_votes,
    voted,
)
from clue_runner.metrics.webqa_fuzzy import FuzzyLists, read_lists, same_answer

LISTS = FuzzyLists(
    {"梵高": frozenset({1}), "凡高": frozenset({1, 2}), "高更": frozenset({3})},
    measures=frozenset({"个", "年", "千瓦时"}),
    countries=frozenset({"希腊"}),
    elements=frozenset({"氧"}),
    regions=frozenset({"贵州省"}),
)


def one(references: str, *found: str) -> TaggedEvidence:
    return TaggedEvidence((references,), found)


def test_tags_mark_answers() -> None:
    assert marked("abcdefg", [2, 0, 1, 0, 3, 1, 1]) == ("b c", "d", "f g")
    assert marked("ab", [3, 0]) == ("b",) and marked("", []) == ()


def test_one_right_answer_is_enough_and_each_wrong_one_costs_precision() -> None:
    score = score_evidences([[one("Abc", "a bc", "x"), one("y")]])
    assert (score.true, score.predicted, score.correct) == (2, 2, 1)
    assert score.precision == 0.5 and score.recall == 0.5 and score.f1 == 0.5
    assert score.line().startswith(
        "chunk_f1=0.500000 chunk_precision=0.500000 chunk_recall=0.500000 true_chunks=2"
    )
    assert score_evidences([[one("y")]]).f1 == 0.0


def test_the_vote_takes_the_most_frequent_or_the_first() -> None:
    assert voted([one("r", "a"), one("r", "b", "b c"), one("r", "bc")]) == ("bc",)
    assert voted([one("r"), one("r", "b", "c"), one("r", "d")]) == ("b", "c")
    assert voted([one("r")]) == ()
    assert score_votes([[one("no_answer", "b"), one("b", "b")]]).correct == 1


SAME = """
    梵高/凡高 361/361个 361/第361个 361个/第361个 5/5岁 3个/3个月 十一月/十一月份
    1046年/公元前1046年 30分/30分钟 《红楼梦》/红楼梦 白羊/白羊座 法国/法国人 希腊/希腊人 男/男性
    5千瓦时/第5千瓦时 苗/苗族 红/红色 唐/唐朝 正比/成正比 氧/氧元素 红色的/红色 虎年/虎 微软/微软公司 “春”/春
    贵州/贵州省
"""
OTHER = """
    梵高/高更 361/361只 1046年/公元前1046 红色/红色的 微软公司/微软 广东/广东省 台湾/台湾岛
"""
PAIRS = [(pair, True) for pair in SAME.split()] + [(pair, False) for pair in OTHER.split()]


@pytest.mark.parametrize(("pair", "same"), PAIRS)
def test_what_the_kit_takes_for_the_same(pair: str, same: bool) -> None:
    reference, answer = pair.split("/")
    assert same_answer(reference, answer, LISTS) is same


def test_lists_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "synsets.py").write_text(
        "synsets=[\n    [ur'梵高', ur'凡高', ur\"O'x\"],\n    [ur'a', ur'b\\'c'],\n]\n", encoding="utf-8"
    )
    names = "measure_names = [u'个', u'年']\ncountry_and_region_names = [\n u'希腊',\n]\n"
    names += "chemical_element_names = [u'氧']\n"
    (tmp_path / "names.py").write_text(names, encoding="utf-8")
    (tmp_path / "state_names.py").write_text(
        "state_names = [(u'520000', u'贵州省')]\nraise SystemExit\n", encoding="utf-8"
    )
    lists = read_lists(tmp_path)
    assert lists.synonyms["凡高"] == lists.synonyms["O'x"] == frozenset({0}) and lists.synonyms[
        "b'c"
    ] == frozenset({1})
    assert lists.measures == {"个", "年"} and lists.regions == {"贵州省"} and lists.elements == {"氧"}
    (tmp_path / "names.py").unlink()
    with pytest.raises(DataError, match="names.py"):
        read_lists(tmp_path)


def test_tags_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    gold, tags = tmp_path / "g.json", tmp_path / "t.txt"
    record = {"evidences": [{"evidence_tokens": ["a", "b"], "golden_answers": [["a"]]}]}
    gold.write_text(json.dumps(record), encoding="utf-8")
    for text, says in (
        ("0;\n", "do not fit"),
        ("0;\n7;\n", "t.txt:2: not a tag"),
        ("0;\n2;\n2;\n", "do not fit"),
    ):
        tags.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=says):
            read_kit(gold, tags)
    tags.write_text("0;\n2;\n", encoding="utf-8")
    assert read_kit(gold, tags) == [[TaggedEvidence(("a",), ("a",))]]
    gold.write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match="g.json:1: not a question"):
        read_kit(gold, tags)


@pytest.mark.real_data
def test_the_kits_example_gives_its_strict_results(real_data: Path) -> None:
    folder = real_data / "dgcnn" / "webqa_scoring"
    questions = read_kit(folder / "test_file_example.json.gz", folder / "raw_prediction_example.txt.gz")
    for score, name in ((score_evidences(questions), "strict"), (score_votes(questions), "vote-strict")):
        assert score.line() == (folder / f"{name}-matching.ref").read_text(encoding="utf-8").strip()
    # the rules alone, without the kit's lists: between strict and the kit's own 1750
    by_rules = score_evidences(questions, lambda one, other: same_answer(one, other, FuzzyLists()))
    assert by_rules.correct == 1580
    assert plain("A b") == "ab"


# The entries of the kit's lists that meet an answer of its example: facts of the reference.
MEASURES = "个月年级部"
SYNONYMS = """
    12个/十二个 10年/十年 2个小时/两个小时 3个/三个 凡高/梵高 台湾/台湾岛 勾践/越王勾践 南京条约/江宁条约
    南洋群岛/马来群岛 周恩来/周总理 唐/唐代/晚唐/唐朝 唐太宗/李世民/唐太宗李世民 富兰克林/本杰明 契诃夫/契科夫
    山东/山东省 普利策奖/普利策新闻奖 曹操/孟德/阿瞒 沙尘暴/沙暴 甘地/圣雄甘地 稽康/嵇康 西岳华山/华山 虎/老虎
    贵州/贵州省 走为上计/走为上 赵云/赵子龙 越野汽车/越野车 钱钟书/钱锺书 陕西/陕西省
"""


@pytest.mark.real_data
def test_with_the_kits_lists_its_example_gives_the_fuzzy_results(real_data: Path) -> None:
    folder = real_data / "dgcnn" / "webqa_scoring"
    sets = [words.split("/") for words in SYNONYMS.split()]
    synonyms = {word: frozenset({number}) for number, words in enumerate(sets) for word in words}
    lists = FuzzyLists(synonyms, measures=frozenset(MEASURES))
    questions = read_kit(folder / "test_file_example.json.gz", folder / "raw_prediction_example.txt.gz")
    for scored, name in ((score_evidences, "fuzzy"), (score_votes, "vote-fuzzy")):
        score = scored(questions, lambda one, other: same_answer(one, other, lists))
        assert score.line() == (folder / f"{name}-matching.ref").read_text(encoding="utf-8").strip()
