"""The encoder against ``transformers`` on the same random weights, by the script that makes the long runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from clue_runner import load_backbone
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.errors import CheckpointError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer

SMALL = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL |= {"intermediate_size": 64, "max_position_embeddings": 40}


@pytest.fixture(scope="module")
def parity():
    path = Path(__file__).parents[2] / "scripts" / "check_parity.py"
    spec = importlib.util.spec_from_file_location("check_parity", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["huggingface", "google"])
def checkpoint(parity, request, tmp_path_factory):
    if request.param == "google":
        pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp(request.param)
    return folder, parity.write_checkpoint(folder, layers=2, hidden=64, layout=request.param, vocabulary=500)


@pytest.mark.parametrize("padded", [False, True])
def test_hidden_states_and_pooled_agree(parity, checkpoint, padded):
    folder, model = checkpoint
    batch = parity.make_batch(500, rows=5, length=33, padded=padded)
    assert set(np.unique(batch["segment_ids"])) == {0, 1}
    hidden, pooled = parity.differences(folder, model, batch)
    assert hidden <= parity.LIMIT and pooled <= parity.LIMIT


def test_the_comparison_sees_a_swapped_pair(parity, checkpoint):
    """Negative control: one exchanged pair of biases is far outside the limit."""
    folder, model = checkpoint
    batch = parity.make_batch(500, rows=5, length=33, padded=True)
    layer = model.encoder.layer[1]
    with torch.no_grad():
        first, second = layer.attention.output.dense.bias, layer.output.dense.bias
        kept = first.clone(), second.clone()
        first.copy_(kept[1])
        second.copy_(kept[0])
    try:
        assert parity.differences(folder, model, batch)[0] > 100 * parity.LIMIT
    finally:
        with torch.no_grad():
            first.copy_(kept[0])
            second.copy_(kept[1])


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_activations_agree(parity, tmp_path, activation):
    model = save(tmp_path, transformers.BertModel, hidden_act=activation)
    batch = parity.make_batch(60, rows=4, length=20, padded=False)
    assert max(parity.differences(tmp_path, model, batch)) <= parity.LIMIT
    # the two forms of gelu are close, yet the comparison tells them apart
    ours = read_checkpoint(tmp_path).config["activation"]
    other = "gelu_tanh" if ours == "gelu" else "gelu"
    found, wrong = (load_backbone(tmp_path, activation=name)(**batch)[0] for name in (ours, other))
    assert np.abs(found - wrong).max() > 10 * parity.LIMIT


def save(folder, kind, **config):
    torch.manual_seed(0)
    model = kind(transformers.BertConfig(**SMALL, **config)).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.normal_(1 if "LayerNorm.weight" in name else 0, 0.2)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("kind", "rules", "has_pooler"),
    [
        ("BertForMaskedLM", {"mlm-head", "no-pooler"}, False),
        ("BertForPreTraining", {"mlm-head", "nsp-head"}, True),
        ("BertForSequenceClassification", {"task-head"}, True),
        ("BertForQuestionAnswering", {"task-head", "no-pooler"}, False),
    ],
)
def test_encoders_inside_larger_models(parity, tmp_path, kind, rules, has_pooler):
    model = save(tmp_path, getattr(transformers, kind))
    found = read_checkpoint(tmp_path)
    assert {use.rule for use in found.report if use.rule} == rules
    assert found.has_pooler is has_pooler
    batch = parity.make_batch(60, rows=4, length=20, padded=True)
    inside = np.arange(20) < batch["lengths"][:, None]
    with torch.no_grad():
        theirs = model.bert(
            torch.from_numpy(batch["token_ids"]),
            token_type_ids=torch.from_numpy(batch["segment_ids"]),
            attention_mask=torch.from_numpy(inside.astype(int)),
        )
    sequence, pooled = load_backbone(tmp_path)(**batch)
    assert np.abs(sequence - theirs.last_hidden_state.numpy())[inside].max() <= parity.LIMIT
    assert (pooled is not None) is has_pooler


def test_shards_of_transformers(parity, tmp_path):
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**SMALL)).eval()
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    batch = parity.make_batch(60, rows=4, length=20, padded=True)
    assert max(parity.differences(tmp_path, model, batch)) <= parity.LIMIT


@pytest.mark.parametrize("fault", ["renamed", "missing", "misshaped"])
def test_a_faulty_tensor_is_refused_by_name(tmp_path, fault):
    from safetensors.numpy import load_file, save_file

    save(tmp_path, transformers.BertModel)
    path, name = tmp_path / "model.safetensors", "encoder.layer.1.attention.self.value.weight"
    tensors = load_file(path)
    tensor = tensors.pop(name)
    if fault == "renamed":
        tensors["encoder.layer.1.attention.self.values.weight"] = tensor
    elif fault == "misshaped":
        tensors[name] = np.zeros((32, 31), np.float32)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as caught:
        read_checkpoint(tmp_path)
    assert caught.value.exit_code == 4
    expected = {
        "renamed": "self.values.weight: unmapped",
        "missing": "missing tensor",
        "misshaped": "got [32, 31]",
    }
    assert expected[fault] in str(caught.value)
