"""One table of requests and what must come of them, run through every front end."""

import dataclasses
import re

import ml_dtypes
import numpy as np
import pytest

from clients import FRONT_ENDS, NUMPY, Tensor, tensor

TEN = np.arange(10, dtype=np.float32).reshape(1, 10) / 4

# Values that show a wrong width, a wrong sign or a detour over another type.
SAMPLES = {
    "BOOL": [[True, False, True]],
    "INT8": [[-128, 0, 127]],
    "INT16": [[-32768, 1, 32767]],
    "INT32": [[-(2**31), 1, 2**31 - 1]],
    "INT64": [[-(2**63), 2**53 + 1, 2**63 - 1]],
    "UINT8": [[0, 128, 255]],
    "UINT16": [[0, 1, 65535]],
    "UINT32": [[0, 1, 2**32 - 1]],
    "UINT64": [[0, 2**53 + 1, 2**64 - 1]],
    "FP16": [[1 / 3, 6e-8, 65504]],
    "BF16": [[1 / 3, 1e-38, 3e38]],
    "FP32": [[1 / 3, 1e-45, -3.4028235e38]],
    "FP64": [[1 / 3, 5e-324, -1.7976931348623157e308]],
    "BYTES": [[b"", "späť".encode(), b"a" * 300]],
}


@dataclasses.dataclass
class Case:
    id: str
    model: str
    inputs: list
    want: object = "OK"  # a code of gRPC, or the outputs: name -> array
    text: str = ""  # what the message must match
    version: str = ""
    outputs: tuple = ()
    states_shape: bool = False  # only where shape and data are said apart
    states_datatype: bool = False  # only where the type is said
    rest_tfs: bool = True  # False: JSON of TFS has no way to say it, or says something else by it
    rows: bool = True  # False: not for the row layout
    fewer_values_fill: bool = False  # no fault in TensorFlow's typed fields, whose last value fills what is missing


def fault(id, inputs, text, code="INVALID_ARGUMENT", model="dummy", **more):
    return Case(id, model, inputs, code, text, **more)


def good(id, model, inputs, want, **more):
    return Case(id, model, inputs, want, **more)


def b(data, datatype="FP32", name="b"):
    return tensor(name, datatype, data)


def said(shape, count=10, datatype="FP32"):
    """`count` elements of which `shape` is said."""
    return Tensor("b", datatype, shape, np.zeros(count, NUMPY[datatype]))


X = np.arange(8, dtype=np.float32).reshape(2, 4)
FOUR = np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)

CASES = [
    good("plus_one", "dummy", [b(TEN)], {"a": TEN + 1}),
    good("version_1", "dummy", [b(TEN)], {"a": TEN + 1}, version="1"),
    good("fp64", "dummy_fp64", [tensor("input:0", "FP64", TEN)], {"output:0": TEN.astype(np.float64) + 1}),
    good("two_inputs", "add_two_inputs", [b(TEN, name="input1"), b(TEN * 2, name="input2")], {"sum": TEN * 3}),
    good("inputs_in_another_order", "add_two_inputs", [b(TEN * 2, name="input2"), b(TEN, name="input1")], {"sum": TEN * 3}),
    good("rank_4", "increment_1x3x4x5", [b(FOUR, name="input")], {"output": FOUR + 1}),
    good(
        "scalar",
        "scalar",
        [tensor("model_scalar_input", "FP32", np.float32(2.5))],
        {"model_scalar_output": np.float32(3.5)},
        rows=False,
    ),
    good("batch_of_3", "dynamic_batch", [b(np.repeat(TEN, 3, 0))], {"a": np.repeat(TEN, 3, 0) + 1}),
    good(
        "empty_batch",
        "dynamic_batch",
        [b(np.zeros((0, 10), np.float32))],
        {"a": np.zeros((0, 10), np.float32)},
        rest_tfs=False,
    ),
    good("two_outputs", "two_outputs", [b(X, name="x")], {"doubled": X * 2, "total": X.sum(1, keepdims=True)}),
    good("one_of_two_outputs", "two_outputs", [b(X, name="x")], {"total": X.sum(1, keepdims=True)}, outputs=("total",)),
    good(
        "outputs_without_names",
        "no_name_output",
        [b(X[:1], name="x")],
        {"out_0": X[:1] + 1, "out_1": X[:1] * 2},
    ),
    good("strings", "passthrough_string", [tensor("my_name", "BYTES", [b"one", b""])], {"my_name": [b"one", b""]}),
    good("strings_in_a_matrix", "passthrough_bytes", [tensor("data", "BYTES", SAMPLES["BYTES"])], {"data": SAMPLES["BYTES"]}),
    good("nothing_for_a_model_without_inputs", "no_inputs", [], {"c": np.arange(4, dtype=np.float32)}, rows=False),
    fault("an_input_where_there_is_none", [b(TEN)], "Invalid number of inputs - Expected: 0; Actual: 1", model="no_inputs"),
    good(
        "open_shapes",
        "divide",
        [b([6, 9], "INT32", "x"), b([3], "INT32", "d")],
        {"quotient": np.array([2, 3], np.int32)},
        rows=False,
    ),
    fault(
        "shapes_that_do_not_fit_each_other",
        [b([1, 2, 3], "INT32", "x"), b([1, 2], "INT32", "d")],
        r"^The shapes of the inputs do not fit each other in the model: (?!.*src/)",
        model="divide",
        rows=False,
    ),
    fault("unknown_model", [b(TEN)], "is not|not found|requested name", "NOT_FOUND", "no_such_model"),
    fault("unknown_version", [b(TEN)], "requested version|version 7", "NOT_FOUND", version="7"),
    fault("failed_model", [b(TEN)], "broken", "UNAVAILABLE", "broken"),
    fault("no_inputs", [], "Invalid number of inputs - Expected: 1; Actual: 0|no inputs found", rest_tfs=False),
    fault(
        "too_few_inputs",
        [b(TEN, name="input1")],
        "Invalid number of inputs - Expected: 2; Actual: 1",
        model="add_two_inputs",
    ),
    fault("too_many_inputs", [b(TEN), b(TEN, name="c")], "Invalid number of inputs - Expected: 1; Actual: 2"),
    fault("renamed_input", [b(TEN, name="c")], "Missing input with specific name - Required input: b"),
    fault(
        "wrong_type",
        [b(np.zeros((1, 10)), "INT32")],
        r"Invalid input precision - Expected: FP32; Actual: \w+; input name: b",
        states_datatype=True,
    ),
    fault(
        "strings_for_numbers",
        [tensor("b", "BYTES", [[b"a"] * 10])],
        "Invalid input precision - Expected: FP32; Actual: (STRING|BYTES); input name: b",
        states_datatype=True,
    ),
    fault("numbers_for_strings", [tensor("my_name", "FP32", [1, 2])], "", model="passthrough_string"),
    fault(
        "wrong_rank",
        [b(np.zeros((1, 10, 1)))],
        r"Invalid number of shape dimensions - Expected: \(1,10\); Actual: \(1,10,1\)",
    ),
    fault("rank_0", [b(np.float32(1))], r"Invalid number of shape dimensions - Expected: \(1,10\)", rows=False),
    fault("wrong_batch", [b(np.zeros((3, 10)))], "Invalid input batch size - Expected: 1; Actual: 3"),
    fault(
        "wrong_dimension",
        [b(np.zeros((1, 11)))],
        r"Invalid input shape - Expected: \(1,10\); Actual: \(1,11\); input name: b",
    ),
    fault("zero_dimension", [b(np.zeros((1, 0)))], r"Invalid input shape - Expected: \(1,10\); Actual: \(1,0\)"),
    fault("negative_dimension", [said((1, -10))], "(?i)invalid input shape|negative", states_shape=True),
    fault("both_dimensions_negative", [said((-1, -10))], "(?i)invalid input shape|negative", states_shape=True),
    fault("most_negative_dimension", [said((1, -(2**63)))], "(?i)invalid|negative", states_shape=True),
    fault(
        "one_element_short",
        [said((1, 10), 9)],
        "Expected: (10|40)( bytes)?; Actual: (9|36)",
        states_shape=True,
        fewer_values_fill=True,
    ),
    fault("one_element_too_many", [said((1, 10), 11)], "Expected: (10|40)( bytes)?; Actual: (11|44)", states_shape=True),
    fault("no_data", [said((1, 10), 0)], "Expected: (10|40)( bytes)?; Actual: 0", states_shape=True),
    fault(
        "size_overflows",
        [Tensor("data", "FP32", (2**62, 2**62), np.zeros(4, np.float32))],
        "(?i)overflow|too large",
        model="passthrough_fp32",
        states_shape=True,
    ),
    fault(
        "size_overflows_to_zero",
        [Tensor("data", "FP32", (2**32, 2**32), np.zeros(0, np.float32))],
        "(?i)overflow|too large",
        model="passthrough_fp32",
        states_shape=True,
    ),
    fault(
        "huge_size_of_nothing",
        [Tensor("data", "FP32", (2**40, 1), np.zeros(1, np.float32))],
        "Expected: .*; Actual: |too large",
        model="passthrough_fp32",
        states_shape=True,
    ),
    fault(
        "one_string_short",
        [Tensor("my_name", "BYTES", (3,), [b"a", b"b"])],
        "Expected: 3; Actual: 2|does not match",
        model="passthrough_string",
        states_shape=True,
        fewer_values_fill=True,
    ),
    fault(
        "unknown_output",
        [b(TEN)],
        "no_such_output",
        outputs=("no_such_output",),
    ),
]
CASES += [
    good(
        f"type_{datatype.lower()}",
        f"passthrough_{datatype.lower()}",
        [tensor("data", datatype, values)],
        {"data": np.asarray(values, NUMPY[datatype])},
    )
    for datatype, values in SAMPLES.items()
    if datatype != "BYTES"
]


def applies(front_end, case):
    if any(item.datatype not in front_end.datatypes for item in case.inputs):
        return False
    if case.states_shape and not front_end.states_shape or case.states_datatype and not front_end.states_datatype:
        return False
    if case.outputs and not front_end.selects_outputs:
        return False
    if front_end.name == "tfs-rest-row" and not case.rows:
        return False
    # Strings have no other form there than the typed one.
    strings = any(item.datatype == "BYTES" for item in case.inputs)
    typed = front_end.name == "tfs-grpc-typed" or front_end.name == "tfs-grpc-content" and strings
    if case.fewer_values_fill and typed:
        return False
    return case.rest_tfs or not front_end.name.startswith("tfs-rest")


MATRIX = [
    pytest.param(front_end, case, id=f"{front_end.name}-{case.id}")
    for front_end in FRONT_ENDS
    for case in CASES
    if applies(front_end, case)
]


@pytest.fixture(scope="module")
def front_ends(server):
    made = {kind.name: kind(server) for kind in FRONT_ENDS}
    yield made
    for front_end in made.values():
        front_end.close()


def equal_bits(found, wanted):
    if isinstance(wanted, list):
        return list(found.flat()) == list(np.array(wanted, dtype=object).reshape(-1))
    data = np.asarray(found.data)
    if not found.datatype:  # JSON without types: what the number is, in the type that is wanted
        data = data.astype(wanted.dtype)
    return data.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind,case", MATRIX)
def test_case(front_ends, kind, case):
    front_end = front_ends[kind.name]
    outcome = front_end.infer(case.model, case.inputs, case.version, case.outputs)
    if isinstance(case.want, str):
        assert outcome.code == front_end.expected_code(case.want), outcome
        assert re.search(case.text, outcome.message), outcome.message
        return
    assert outcome.ok, outcome
    assert set(outcome.outputs) == set(case.want)
    for name, wanted in case.want.items():
        found = outcome.outputs[name]
        assert tuple(found.shape) == np.shape(wanted), name
        if found.datatype and not isinstance(wanted, list):
            assert NUMPY[found.datatype] == wanted.dtype
        assert equal_bits(found, wanted), (found, wanted)
    if outcome.model:
        assert (outcome.model, outcome.version) == (case.model, "1")


@pytest.mark.parametrize("kind", [kind for kind in FRONT_ENDS if kind.family == "tfs"], ids=lambda kind: kind.name)
def test_version_zero_of_tensorflow_serving_is_the_default(front_ends, kind):
    outcome = front_ends[kind.name].infer("dummy", [b(TEN)], "0")
    assert outcome.ok, outcome


METADATA = {
    "dummy": ([("b", "FP32", (1, 10))], [("a", "FP32", (1, 10))]),
    "dynamic_batch": ([("b", "FP32", (-1, 10))], [("a", "FP32", (-1, 10))]),
    "scalar": ([("model_scalar_input", "FP32", ())], [("model_scalar_output", "FP32", ())]),
    "passthrough_string": ([("my_name", "BYTES", (-1,))], [("my_name", "BYTES", (-1,))]),
    "passthrough_bf16": ([("data", "BF16", (-1, -1))], [("data", "BF16", (-1, -1))]),
    "passthrough_bool": ([("data", "BOOL", (-1, -1))], [("data", "BOOL", (-1, -1))]),
    "add_two_inputs": ([("input1", "FP32", (1, 10)), ("input2", "FP32", (1, 10))], [("sum", "FP32", (1, 10))]),
    "no_name_output": ([("x", "FP32", (1, 4))], [("out_0", "FP32", (1, 4)), ("out_1", "FP32", (1, 4))]),
}
WITH_METADATA = [
    kind for kind in FRONT_ENDS if kind.name in ("kserve-grpc-raw", "kserve-rest-json", "tfs-grpc-content", "tfs-rest-column")
]


@pytest.mark.parametrize("model", METADATA)
@pytest.mark.parametrize("kind", WITH_METADATA, ids=lambda kind: kind.name)
@pytest.mark.parametrize("version", ["", "1"])
def test_metadata(front_ends, kind, model, version):
    outcome, inputs, outputs = front_ends[kind.name].metadata(model, version)
    assert outcome.ok, outcome
    assert (outcome.model, outcome.version) == (model, "1")
    assert sorted(inputs) == METADATA[model][0]
    assert sorted(outputs) == METADATA[model][1]


@pytest.mark.parametrize("kind", WITH_METADATA, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "model,version,code",
    [("no_such_model", "", "NOT_FOUND"), ("dummy", "7", "NOT_FOUND"), ("broken", "", "UNAVAILABLE")],
    ids=["unknown_model", "unknown_version", "failed_model"],
)
def test_metadata_that_is_not_there(front_ends, kind, model, version, code):
    front_end = front_ends[kind.name]
    outcome, _, _ = front_end.metadata(model, version)
    assert outcome.code == front_end.expected_code(code), outcome


@pytest.mark.parametrize("kind", [FRONT_ENDS[0], FRONT_ENDS[2]], ids=lambda kind: kind.name)
def test_a_version_that_is_no_number_is_refused(front_ends, kind):
    outcome = front_ends[kind.name].infer("dummy", [b(TEN)], "first")
    assert outcome.code in ("INVALID_ARGUMENT", "400"), outcome
    assert "version" in outcome.message.lower() or "url" in outcome.message.lower()


WITH_VERSIONS_AS_TEXT = [kind for kind in FRONT_ENDS if not kind.name.startswith("tfs-grpc")]


@pytest.mark.parametrize("kind", WITH_VERSIONS_AS_TEXT, ids=lambda kind: kind.name)
@pytest.mark.parametrize("version", ["99999999999999999999", "9223372036854775808"])
def test_a_version_beyond_64_bits_is_told_as_it_came(front_ends, kind, version):
    front_end = front_ends[kind.name]
    outcome = front_end.infer("dummy", [b(TEN)], version)
    assert outcome.code == front_end.expected_code("NOT_FOUND"), outcome
    assert f"Model with requested version is not found - Name: dummy; Version: {version}" in outcome.message


def test_half_types_keep_their_bits(front_ends):
    """Every bit pattern of the 16-bit types goes through, the NaNs with their payload too."""
    patterns = np.arange(65536, dtype=np.uint16).reshape(1, -1)
    for datatype, dtype in (("FP16", np.float16), ("BF16", ml_dtypes.bfloat16)):
        for name in ("kserve-grpc-raw", "kserve-rest-binary", "tfs-grpc-content", "tfs-grpc-typed"):
            outcome = front_ends[name].infer(
                f"passthrough_{datatype.lower()}", [tensor("data", datatype, patterns.view(dtype))]
            )
            assert outcome.ok, outcome
            assert outcome.outputs["data"].raw() == patterns.tobytes(), (datatype, name)
