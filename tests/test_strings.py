"""Texts: for inputs of bytes in two dimensions, from outputs of that kind, and through OpenVINO's tokenizers."""

import base64
import json

import numpy as np
import openvino as ov
import openvino_tokenizers
import pytest
import tritonclient.http
from openvino import opset13 as ops

from clients import FRONT_ENDS, Tensor, TfsRest, tensor
from conftest import write_config
from harness import Server
from testing.models import ir

TEXTS = [b"one", b"", "späť".encode()]
ROWS = np.array([list(text.ljust(7, b"\0")) for text in TEXTS], np.uint8)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    entries = []
    models = {"rows": ("text", (-1, -1)), "wide": ("text", (-1, 16)), "named_string": ("named_string", (-1, -1))}
    for name, (tensor_name, shape) in models.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        ir.passthrough(version, ov.Type.u8, shape, tensor_name)
        entries.append({"name": name, "base_path": str(folder / name), "target_device": "CPU"})
    with Server(folder, "--config_path", write_config(folder / "config.json", entries)) as running:
        yield running


@pytest.fixture(scope="module", params=FRONT_ENDS, ids=lambda front_end: front_end.name)
def front_end(request, texts):
    made = request.param(texts)
    yield made
    made.close()


def as_text(item):
    """BYTES, from whatever the front end gives."""
    return [text if isinstance(text, bytes) else str(text).encode() for text in np.asarray(item.data, object).reshape(-1)]


def test_rows_with_zeros_behind(front_end):
    outcome = front_end.infer("rows", [tensor("text", "BYTES", TEXTS)])
    assert outcome.ok, outcome.message
    assert np.array_equal(np.asarray(outcome.outputs["text"].data).reshape(outcome.outputs["text"].shape), ROWS)


def test_rows_of_a_fixed_width(front_end):
    outcome = front_end.infer("wide", [tensor("text", "BYTES", TEXTS)])
    assert outcome.ok, outcome.message
    found = np.asarray(outcome.outputs["text"].data).reshape(3, 16)
    assert np.array_equal(found[:, :7], ROWS) and not found[:, 7:].any()
    outcome = front_end.infer("wide", [tensor("text", "BYTES", [b"a" * 16])])
    assert outcome.code in ("INVALID_ARGUMENT", "400")
    assert "Invalid input shape - Expected: (-1,16); Actual: (1,17)" in outcome.message
    if not isinstance(front_end, TfsRest):
        outcome = front_end.infer("rows", [tensor("text", "BYTES", [TEXTS])])
        assert "binary input shape dimensions: 1" in outcome.message


def test_rows_of_numbers_are_still_taken(front_end):
    outcome = front_end.infer("rows", [tensor("text", "UINT8", ROWS)])
    assert outcome.ok, outcome.message
    assert np.array_equal(np.asarray(outcome.outputs["text"].data).reshape(3, 7), ROWS)


def test_outputs_that_are_called_strings(front_end):
    for given in (tensor("named_string", "BYTES", TEXTS), tensor("named_string", "UINT8", ROWS)):
        outcome = front_end.infer("named_string", [given])
        assert outcome.ok, outcome.message
        found = outcome.outputs["named_string"]
        assert found.datatype == "BYTES" and tuple(found.shape) == (3,) and as_text(found) == TEXTS
    full = Tensor("named_string", "UINT8", (1, 3), np.frombuffer(b"abc", np.uint8))
    assert as_text(front_end.infer("named_string", [full]).outputs["named_string"]) == [b"abc"]


def test_one_gigabyte_of_zeros_is_refused(texts):
    """A long text among many short ones would become as many long rows."""
    front = next(kind for kind in FRONT_ENDS if kind.name == "kserve-grpc-raw")(texts)
    outcome = front.infer("rows", [Tensor("text", "BYTES", (20001,), [b"a" * 100_000] + [b""] * 20_000)])
    assert outcome.code == "INVALID_ARGUMENT" and "too large together" in outcome.message
    front.close()


def test_base64_of_texts(texts):
    front = next(kind for kind in FRONT_ENDS if kind.name == "tfs-rest-column")(texts)
    body = {"instances": [{"text": {"b64": base64.b64encode(text).decode()}} for text in TEXTS]}
    answer = front.call("POST", "/v1/models/rows:predict", json.dumps(body).encode())
    assert answer.code == 200 and answer.json() == {"predictions": ROWS.tolist()}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A model whose only operation is one of the tokenizers' library: texts in upper case to texts in lower case."""
    version = tmp_path_factory.mktemp("tokenizer") / "lower" / "1"
    version.mkdir(parents=True)
    from openvino_tokenizers import _get_factory

    text = ops.parameter(ov.PartialShape([-1]), ov.Type.string, name="text")
    text.output(0).set_names({"text"})
    unpacked = _get_factory("opset15").create("StringTensorUnpack", text.outputs()).outputs()
    lowered = _get_factory().create("CaseFold", unpacked, {"encoding": "utf-8"}).outputs()
    packed = _get_factory("opset15").create("StringTensorPack", lowered)
    packed.output(0).set_names({"lowered"})
    ov.save_model(ov.Model([ops.result(packed.output(0))], [text], "lower"), version / "model.xml")
    return version.parent


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_tokenizers(tokenizer, tmp_path, how):
    library = str(openvino_tokenizers._ext_path)
    flags = ["--tokenizers_extension", library] if how == "flag" else []
    env = {"OV_TOKENIZER_PREBUILD_EXTENSION_PATH": library} if how == "environment" else {}
    arguments = ["--model_name", "lower", "--model_path", tokenizer, "--target_device", "CPU", *flags]
    with Server(tmp_path, *arguments, env=env) as server:
        client = tritonclient.http.InferenceServerClient(server.rest)
        given = tritonclient.http.InferInput("text", [2], "BYTES")
        given.set_data_from_numpy(np.array(["MiXeD", "ÀÉ"], object))
        assert list(client.infer("lower", [given]).as_numpy("lowered")) == ["mixed".encode(), "àé".encode()]
        client.close()


def test_a_library_that_is_none(tokenizer, tmp_path):
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"no library")
    arguments = ["--model_name", "lower", "--model_path", tokenizer, "--target_device", "CPU"]
    failed = Server(tmp_path / "named", *arguments, "--tokenizers_extension", wrong)
    assert failed.process.wait(60) == 1 and "tokenizers_extension" in failed.log
    # Found by itself, it is a warning, and the model that needs it fails.
    found = Server(tmp_path / "found", *arguments, env={"OV_TOKENIZER_PREBUILD_EXTENSION_PATH": str(wrong)})
    assert found.process.wait(60) == 1
    assert "models that take or give texts" in found.log
