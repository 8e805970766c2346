"""The Python calls: an encoder and a tokenizer from a checkpoint or a run; lazy imports."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clue_runner
from clue_runner.errors import CheckpointError, DataError, UsageError
from clue_runner.files.tensors import save_weights

BATCH = {
    "token_ids": np.array([[2, 5, 6, 3], [2, 9, 3, 0]]),
    "segment_ids": np.array([[0, 0, 1, 1], [0, 0, 0, 0]]),
    "lengths": np.array([4, 3]),
}


@pytest.fixture(scope="module")
def folders():
    """The makers of small checkpoints that the tests of checkpoints/ use."""
    path = Path(__file__).parent / "checkpoints" / "conftest.py"
    spec = importlib.util.spec_from_file_location("checkpoint_folders", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, clue_runner; clue_runner.__dir__();"
        "print(sorted({'numpy', 'keras', 'tensorflow', 'jax', 'pydantic', 'click'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert set(clue_runner.__all__) <= set(dir(clue_runner))
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        clue_runner.trane  # noqa: B018


def test_an_encoder_from_a_checkpoint(folders, tmp_path):
    encode = clue_runner.load_backbone(folders.write_face(tmp_path / "x"))
    sequence, pooled = encode(**BATCH)
    assert sequence.shape == (2, 4, 32) and sequence.dtype == np.float32
    assert pooled.shape == (2, 32) and pooled.dtype == np.float32
    ours = folders.our_weights()
    expected = np.tanh(sequence[:, 0] @ ours["backbone/pooler/kernel"] + ours["backbone/pooler/bias"])
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    # what stands at padded places changes nothing, and a row alone is the same row
    other = {**BATCH, "token_ids": np.where(np.arange(4) < BATCH["lengths"][:, None], BATCH["token_ids"], 7)}
    np.testing.assert_allclose(encode(**other)[0][1, :3], sequence[1, :3], atol=1e-5)
    alone, _ = encode(BATCH["token_ids"][1:, :3])
    np.testing.assert_allclose(alone[0], sequence[1, :3], atol=1e-5)
    assert not np.allclose(alone[0], encode([[2, 9, 4]])[0][0])


def test_an_encoder_without_a_pooler(folders, tmp_path):
    tensors = {name: value for name, value in folders.face_weights().items() if "pooler" not in name}
    encode = clue_runner.load_backbone(folders.write_face(tmp_path / "x", tensors))
    sequence, pooled = encode(**BATCH)
    assert sequence.shape == (2, 4, 32) and pooled is None


def test_a_foreign_head_is_left_out_by_name(folders, tmp_path):
    tensors = {**folders.face_weights(), "crf.start": np.zeros(2, np.float32)}
    folder = folders.write_face(tmp_path / "x", tensors)
    with pytest.raises(CheckpointError, match=r"model\.ignore=crf\."):
        clue_runner.load_backbone(folder)
    found = clue_runner.load_backbone(folder, ignore=["crf."])(**BATCH)
    np.testing.assert_array_equal(
        found[0], clue_runner.load_backbone(folders.write_face(tmp_path / "y"))(**BATCH)[0]
    )


def test_options_that_leave_the_weights_alone(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    relu, gelu = (clue_runner.load_backbone(folder, activation=name)(**BATCH)[0] for name in ("relu", "gelu"))
    assert np.abs(relu - gelu).max() > 1e-3
    np.testing.assert_array_equal(gelu, clue_runner.load_backbone(folder)(**BATCH)[0])
    for options, part in [
        ({"nonsense": 1}, "nonsense: unknown option"),
        ({"num_heads": 2}, "num_heads: the checkpoint decides this, got 2 \\(allowed: 4\\)"),
        ({"dropout": 2.0}, "dropout"),
    ]:
        with pytest.raises(UsageError, match=part):
            clue_runner.load_backbone(folder, **options)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"token_ids": np.array([[2, 40]]), "segment_ids": None, "lengths": None}, "token_ids: out of range"),
        ({"token_ids": np.array([2, 3])}, "token_ids: wrong shape"),
        (
            {"token_ids": np.array([[2.0, 3.0]]), "segment_ids": None, "lengths": None},
            "token_ids: not integers",
        ),
        ({"segment_ids": np.full((2, 4), 2)}, "segment_ids: out of range, got 2 to 2 \\(allowed: 0 to 1\\)"),
        ({"lengths": np.array([5, 1])}, "lengths: out of range"),
        ({"lengths": np.array([4])}, "lengths: wrong shape"),
        (
            {"token_ids": np.zeros((1, 25), int), "segment_ids": None, "lengths": None},
            "longer than the position",
        ),
        ({"token_ids": np.zeros((0, 4), int), "segment_ids": None, "lengths": None}, "not empty"),
    ],
)
def test_batches_that_no_table_can_answer(folders, tmp_path, change, part):
    encode = clue_runner.load_backbone(folders.write_face(tmp_path / "x"))
    with pytest.raises(UsageError, match=part):
        encode(**{**BATCH, **change})


def write_run(folders, folder, *, averaged=False, **more):
    """Write what a run keeps: a saved state with a header, and ``best``."""
    step = folder / "checkpoints" / "step-7"
    step.mkdir(parents=True)
    weights = {**folders.our_weights(), "head/output/kernel": np.zeros((32, 2), np.float32)}
    model = {
        "num_layers": 2,
        "hidden_dim": 32,
        "num_heads": 4,
        "intermediate_dim": 48,
        "max_positions": 24,
        "num_segments": 2,
        "activation": "gelu",
        "layer_norm_epsilon": 1e-12,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "lowercase": False,
        **more,
    }
    save_weights(step / "weights.safetensors", weights, {"model": model, "vocab_size": 40})
    if averaged:
        half = {f"ema/{name}": value / 2 for name, value in weights.items()}
        save_weights(step / "ema.safetensors", half)
    folders.write_vocab(step)
    (folder / "checkpoints" / "best").write_text("step-7\n", encoding="utf-8")
    return folder


def test_rows_past_the_table_are_read_where_positions_are_stretched(folders, tmp_path):
    face = folders.write_face(tmp_path / "x")
    long = np.arange(60).reshape(2, 30) % 40
    with pytest.raises(UsageError, match=r'positions="hierarchical"\) reads up to 576'):
        clue_runner.load_backbone(face)(long)
    expected, _ = clue_runner.load_backbone(face, positions="hierarchical", positions_alpha=0.3)(long)
    # a run says how its weights were trained; one of an earlier version says nothing and means learned
    run = write_run(folders, tmp_path / "run", positions="hierarchical", positions_alpha=0.3)
    encode = clue_runner.load_backbone(run)
    assert (encode.settings.positions, encode.settings.positions_alpha) == ("hierarchical", 0.3)
    np.testing.assert_array_equal(encode(long)[0], expected)
    old = clue_runner.load_backbone(write_run(folders, tmp_path / "old"))
    assert (old.settings.positions, old.settings.position_limit) == ("learned", 24)


def test_the_fused_kernel_is_refused_where_it_cannot_run(folders, tmp_path):
    with pytest.raises(UsageError, match="fused attention kernel cannot run here"):
        clue_runner.load_backbone(folders.write_face(tmp_path / "x"), attention="fused")


def test_an_encoder_and_a_tokenizer_from_a_run(folders, tmp_path):
    run = write_run(folders, tmp_path / "run")
    expected = clue_runner.load_backbone(folders.write_face(tmp_path / "x"))(**BATCH)
    encode = clue_runner.load_backbone(run)
    for found, wanted in zip(encode(**BATCH), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert [use.rule for use in encode.checkpoint.report if use.rule] == ["task-head"]
    tokenizer = clue_runner.load_tokenizer(run)
    assert tokenizer.vocab_size == 40 and tokenizer.lowercase is False
    assert clue_runner.load_tokenizer(tmp_path / "x").lowercase is True


def test_averaged_weights_are_the_ones_that_were_scored(folders, tmp_path):
    run = write_run(folders, tmp_path / "run", averaged=True)
    checkpoint = clue_runner.load_backbone(run).checkpoint
    half = folders.our_weights()["backbone/embeddings/word"] / 2
    np.testing.assert_array_equal(checkpoint.weights["backbone/embeddings/word"], half)
    assert set(checkpoint.hashes) == {"ema.safetensors", "vocab.txt", "weights.safetensors"}


def test_weights_that_do_not_say_their_model(folders, tmp_path):
    run = write_run(folders, tmp_path / "run")
    save_weights(
        run / "checkpoints/step-7/weights.safetensors", folders.our_weights(), {"model": {"num_layers": "2"}}
    )
    with pytest.raises(CheckpointError, match="model.num_layers: missing or of the wrong type .*, got '2'"):
        clue_runner.load_backbone(run)
    (run / "checkpoints" / "best").write_text("../../elsewhere\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="best.*does not name a saved state"):
        clue_runner.load_backbone(run)


def test_another_backend_in_one_process_is_refused(folders, tmp_path):
    import keras

    other = "jax" if keras.config.backend() == "tensorflow" else "tensorflow"
    with pytest.raises(UsageError):
        clue_runner.load_backbone(folders.write_face(tmp_path / "x"), backend=other)


def test_evaluate_scores_gold_against_itself(tmp_path):
    from clue_runner.data.cards import find_card

    dev = find_card("afqmc").folder / "sample" / "dev.json"
    result = clue_runner.evaluate("afqmc", dev, data="sample")
    assert result["score"] == 100.0 and result["ok"] is True and result["examples"] == 256
    with pytest.raises(DataError):
        clue_runner.evaluate("afqmc", tmp_path / "absent.json", data="sample")
    with pytest.raises(UsageError, match="--gold and --data"):
        clue_runner.evaluate("afqmc", dev, gold=dev, data="sample")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recompute": "block"}, "recompute: no such option"),
        ({"set": [("train.batch_size", "auto")]}, "set: not text"),
        ({"set": "model.recompute=blocks"}, "model.recompute has an invalid value"),
    ],
)
def test_mistakes_in_options_are_said_as_the_command_says_them(options, said):
    with pytest.raises(UsageError, match=said):
        clue_runner.train("afqmc", data="sample", **options)


def test_predict_has_its_own_options():
    with pytest.raises(UsageError, match="seeds: no such option"):
        clue_runner.predict(seeds=3)
