"""Triton's own client package, over gRPC and REST."""

import asyncio
import queue

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
import tritonclient.http.aio as aio_client
from tritonclient.utils import InferenceServerException

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)


@pytest.fixture(scope="module", params=["grpc", "http"])
def flavour(request, server):
    """(module, client) of one of the two flavours."""
    module, address = (grpc_client, server.grpc) if request.param == "grpc" else (http_client, server.rest)
    client = module.InferenceServerClient(address)
    yield module, client
    client.close()


def make_input(module, name, datatype, data, **how):
    made = module.InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data, **how)
    return made


def test_health_and_metadata(flavour):
    module, client = flavour
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("dummy") and client.is_model_ready("dummy", "1")
    assert not client.is_model_ready("no_such_model") and not client.is_model_ready("broken")
    server_metadata = client.get_server_metadata()
    metadata = client.get_model_metadata("dummy")
    if module is grpc_client:
        assert server_metadata.name and metadata.inputs[0].shape == [1, 10]
    else:
        assert server_metadata["name"] and metadata["inputs"][0]["shape"] == [1, 10]


def test_infer(flavour):
    module, client = flavour
    result = client.infer("dummy", [make_input(module, "b", "FP32", TEN)], request_id="call 1")
    assert np.array_equal(result.as_numpy("a"), TEN + 1)
    response = result.get_response()
    if module is grpc_client:
        assert (response.id, response.model_name, response.model_version) == ("call 1", "dummy", "1")
    else:
        assert (response["id"], response["model_name"], response["model_version"]) == ("call 1", "dummy", "1")


def test_errors_carry_the_servers_text(flavour):
    module, client = flavour
    with pytest.raises(InferenceServerException) as error:
        client.infer("dummy", [make_input(module, "b", "FP32", TEN[:, :9])])
    assert "Invalid input shape - Expected: (1,10); Actual: (1,9); input name: b" in error.value.message()
    assert error.value.status() in ("StatusCode.INVALID_ARGUMENT", "400")
    with pytest.raises(InferenceServerException) as error:
        client.infer("no_such_model", [make_input(module, "b", "FP32", TEN)])
    assert error.value.status() in ("StatusCode.NOT_FOUND", "404")


TYPES = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 2**16 - 1]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "FP16": np.array([[1 / 3, np.inf]], np.float16),
    "FP32": np.array([[1 / 3, np.inf]], np.float32),
    "FP64": np.array([[1 / 3, np.inf]], np.float64),
    "BYTES": np.array([[b"", b"\x00\xff"]], object),
}


@pytest.mark.parametrize("datatype", TYPES)
def test_types(flavour, datatype):
    module, client = flavour
    data = TYPES[datatype]
    result = client.infer(f"passthrough_{datatype.lower()}", [make_input(module, "data", datatype, data)])
    found = result.as_numpy("data")
    assert found.dtype == data.dtype and found.shape == data.shape
    assert (found == data).all() if datatype == "BYTES" else found.tobytes() == data.tobytes()


def test_bf16(flavour):
    """The client takes FP32 for BF16, cuts it, and gives FP32 back."""
    module, client = flavour
    data = np.array([[1.5, -2.0, 3e38]], np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
    try:
        item = make_input(module, "data", "BF16", data)
    except InferenceServerException:
        item = make_input(module, "data", "BF16", data.astype(ml_dtypes.bfloat16))
    found = client.infer("passthrough_bf16", [item]).as_numpy("data")
    assert np.array_equal(np.asarray(found, np.float32), data)


def test_zero_sized_tensor(flavour):
    module, client = flavour
    result = client.infer("dynamic_batch", [make_input(module, "b", "FP32", np.zeros((0, 10), np.float32))])
    assert result.as_numpy("a").shape == (0, 10)


def test_requested_outputs(flavour):
    module, client = flavour
    x = make_input(module, "x", "FP32", np.ones((3, 4), np.float32))
    result = client.infer("two_outputs", [x], outputs=[module.InferRequestedOutput("total")])
    assert result.as_numpy("doubled") is None and result.as_numpy("total").tolist() == [[4.0]] * 3
    with pytest.raises(InferenceServerException, match="no_such_output"):
        client.infer("two_outputs", [x], outputs=[module.InferRequestedOutput("no_such_output")])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(flavour, algorithm):
    module, client = flavour
    data = np.zeros((1, 3, 224, 224), np.float32)
    how = {"compression_algorithm": algorithm} if module is grpc_client else {"request_compression_algorithm": algorithm}
    result = client.infer("sink", [make_input(module, "x", "FP32", data)], **how)
    assert result.as_numpy("sum").tolist() == [0.0]
    if module is http_client:
        rows = make_input(module, "data", "FP32", np.full((1, 5000), 0.5, np.float32))
        for binary in (True, False):
            wanted = [module.InferRequestedOutput("data", binary_data=binary)]
            result = client.infer("passthrough_fp32", [rows], outputs=wanted, response_compression_algorithm=algorithm)
            assert (result.as_numpy("data") == 0.5).all() and result.as_numpy("data").shape == (1, 5000)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("output", [True, False])
def test_http_binary_and_json_mixed(server, first, second, output):
    with http_client.InferenceServerClient(server.rest) as client:
        inputs = [
            make_input(http_client, "input1", "FP32", TEN, binary_data=first),
            make_input(http_client, "input2", "FP32", TEN * 2, binary_data=second),
        ]
        wanted = [http_client.InferRequestedOutput("sum", binary_data=output)]
        assert np.array_equal(client.infer("add_two_inputs", inputs, outputs=wanted).as_numpy("sum"), TEN * 3)


def test_grpc_async_infer(server):
    with grpc_client.InferenceServerClient(server.grpc) as client:
        done = queue.Queue()
        for index in range(50):
            item = make_input(grpc_client, "b", "FP32", TEN + index)
            client.async_infer("dummy", [item], lambda result, error, index=index: done.put((index, result, error)))
        found = {}
        for _ in range(50):
            index, result, error = done.get(timeout=20)
            assert error is None
            found[index] = result.as_numpy("a")
        assert all(np.array_equal(found[index], TEN + index + 1) for index in range(50))


def test_http_async_infer(server):
    with http_client.InferenceServerClient(server.rest, concurrency=8) as client:
        calls = [client.async_infer("dummy", [make_input(http_client, "b", "FP32", TEN + index)]) for index in range(50)]
        for index, call in enumerate(calls):
            assert np.array_equal(call.get_result().as_numpy("a"), TEN + index + 1)


def test_http_asyncio(server):
    """It asks for compression with every call, and undoes it for inferences alone."""

    async def calls():
        async with aio_client.InferenceServerClient(server.rest) as client:
            assert await client.is_server_live() and await client.is_server_ready()
            assert await client.is_model_ready("dummy") and not await client.is_model_ready("broken")
            assert (await client.get_server_metadata())["name"]
            assert (await client.get_model_metadata("dummy"))["inputs"][0]["shape"] == [1, 10]
            assert (await client.get_model_config("dummy"))["name"] == "dummy"
            statistics = await client.get_inference_statistics()
            index = await client.get_model_repository_index()
            for large in (statistics["model_stats"], index):
                assert len(str(large)) > 1024 and "dummy" in [entry["name"] for entry in large]
            assert "log_verbose_level" in await client.get_log_settings()
            rows = make_input(aio_client, "data", "FP32", np.full((1, 5000), 0.5, np.float32))
            for binary in (True, False):
                wanted = [aio_client.InferRequestedOutput("data", binary_data=binary)]
                result = await client.infer("passthrough_fp32", [rows], outputs=wanted)
                assert (result.as_numpy("data") == 0.5).all() and result.as_numpy("data").shape == (1, 5000)
            with pytest.raises(InferenceServerException, match="Invalid input shape"):
                await client.infer("dummy", [make_input(aio_client, "b", "FP32", TEN[:, :9])])

    asyncio.run(calls())


def test_grpc_stream(server):
    with grpc_client.InferenceServerClient(server.grpc) as client:
        done = queue.Queue()
        client.start_stream(lambda result, error: done.put((result, error)))
        for index in range(100):
            width = 9 if index == 40 else 10
            item = make_input(grpc_client, "b", "FP32", np.full((1, width), index, np.float32))
            client.async_stream_infer("dummy", [item], request_id=str(index))
        for index in range(100):
            result, error = done.get(timeout=20)
            if index == 40:
                assert result is None and "Invalid input shape" in error.message()
            else:
                assert error is None and result.get_response().id == str(index)
                assert (result.as_numpy("a") == index + 1).all()
        client.stop_stream()


def test_grpc_client_timeout(server):
    with grpc_client.InferenceServerClient(server.grpc) as client:
        item = make_input(grpc_client, "x", "FP32", TEN)
        with pytest.raises(InferenceServerException) as error:
            client.infer("slow", [item], client_timeout=0.01)
        assert error.value.status() == "StatusCode.DEADLINE_EXCEEDED"
