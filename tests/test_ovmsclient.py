"""OVMS's own client package, over gRPC and REST."""

import numpy as np
import ovmsclient
import pytest

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)


@pytest.fixture(scope="module", params=["grpc", "http"])
def client(request, server):
    if request.param == "grpc":
        yield ovmsclient.make_grpc_client(server.grpc)
    else:
        yield ovmsclient.make_http_client(server.rest)


def test_predict(client):
    assert np.array_equal(client.predict({"b": TEN}, "dummy"), TEN + 1)
    assert np.array_equal(client.predict({"b": TEN}, "dummy", 1), TEN + 1)


def test_predict_several(client):
    assert np.array_equal(client.predict({"input1": TEN, "input2": TEN}, "add_two_inputs"), TEN * 2)
    x = np.ones((3, 4), np.float32)
    outputs = client.predict({"x": x}, "two_outputs")
    assert np.array_equal(outputs["doubled"], x * 2) and np.array_equal(outputs["total"], [[4.0]] * 3)


def test_metadata(client):
    metadata = client.get_model_metadata("dummy")
    assert metadata["model_version"] == 1
    assert metadata["inputs"] == {"b": {"shape": [1, 10], "dtype": "DT_FLOAT"}}
    assert metadata["outputs"] == {"a": {"shape": [1, 10], "dtype": "DT_FLOAT"}}


def test_status(client):
    status = client.get_model_status("dummy")
    assert status[1]["state"] == "AVAILABLE" and status[1]["error_code"] == 0


def test_errors(client):
    with pytest.raises(Exception) as error:
        client.predict({"b": TEN[:, :9]}, "dummy")
    assert "Invalid input shape - Expected: (1,10); Actual: (1,9)" in str(error.value)
    assert type(error.value).__name__ == "InvalidInputError"
    with pytest.raises(Exception) as error:
        client.predict({"b": TEN}, "no_such_model")
    assert type(error.value).__name__ == "ModelNotFoundError"


def test_strings(client):
    found = client.predict({"my_name": [b"one", b"two"]}, "passthrough_string")
    assert [bytes(item) if isinstance(item, bytes) else str(item).encode() for item in np.asarray(found).reshape(-1)] == [
        b"one",
        b"two",
    ]
