"""System shared memory: Triton's own client over gRPC and REST, and what nobody should send."""

import os
import pathlib
import queue
import threading
import uuid

import cv2
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from conftest import serve_dummy, write_config
from harness import Server, wait_until

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)
MODELS = ("dummy", "sink", "two_outputs", "passthrough_string", "passthrough_int64", "passthrough_fp32", "dynamic_batch",
          "accumulator", "slow", "increment_1x3x4x5")


@pytest.fixture(scope="module")
def sharing(models, tmp_path_factory):
    """A server whose clients may share memory."""
    folder = tmp_path_factory.mktemp("sharing")
    entries = [{"name": name, "base_path": str(models / name), "target_device": "CPU"} for name in MODELS]
    entries.append({"name": "joined", "base_path": str(models / "dynamic_batch"), "target_device": "CPU",
                    "dynamic_batching": {"max_batch_size": 8, "max_delay_us": 200000}})
    entries.append({"name": "picture", "base_path": str(models / "increment_1x3x4x5"), "target_device": "CPU",
                    "layout": "NHWC:NCHW", "shape": "(1,4,5,3)"})
    with Server(folder, "--config_path", write_config(folder / "config.json", entries), "--allow_shared_memory") as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def flavour(request, sharing):
    module, address = (grpc_client, sharing.grpc) if request.param == "grpc" else (http_client, sharing.rest)
    with module.InferenceServerClient(address) as client:
        client.unregister_system_shared_memory()
        yield module, client
        client.unregister_system_shared_memory()


@pytest.fixture
def make_region():
    """Makes an object of so many bytes, as Triton's helper does; its key is the handle's _shm_key."""
    made = []

    def make(size):
        made.append(shm.create_shared_memory_region("made", f"switchyard_{uuid.uuid4().hex}", size, create_only=True))
        return made[-1]

    yield make
    for handle in made:
        shm.destroy_shared_memory_region(handle)


def key_of(handle):
    return "/" + handle._shm_key


def shared_input(module, name, shape, datatype, region, size, offset=0):
    tensor = module.InferInput(name, list(shape), datatype)
    tensor.set_shared_memory(region, size, offset)
    return tensor


def shared_output(module, name, region, size, offset=0):
    output = module.InferRequestedOutput(name)
    output.set_shared_memory(region, size, offset)
    return output


def as_json(client):
    """gRPC's client answers with messages unless it is asked not to; HTTP's does not know the word."""
    return {"as_json": True} if isinstance(client, grpc_client.InferenceServerClient) else {}


def regions_of(client):
    status = client.get_system_shared_memory_status(**as_json(client))
    rows = status.get("regions", {}).values() if isinstance(status, dict) else status
    return {row["name"]: (row["key"], int(row.get("offset", 0)), int(row["byte_size"])) for row in rows}


def test_regions_come_and_go(flavour, make_region):
    module, client = flavour
    handle = make_region(8192)
    client.register_system_shared_memory("one", key_of(handle), 4096)
    client.register_system_shared_memory("two of them", handle._shm_key, 100, offset=4100)
    assert regions_of(client) == {"one": (key_of(handle), 0, 4096), "two of them": (handle._shm_key, 4100, 100)}
    with pytest.raises(InferenceServerException, match="registered already") as error:
        client.register_system_shared_memory("one", key_of(handle), 4096)
    assert error.value.status() in ("StatusCode.ALREADY_EXISTS", "409")
    client.unregister_system_shared_memory("two of them")
    client.unregister_system_shared_memory("two of them")
    assert list(regions_of(client)) == ["one"]
    with pytest.raises(InferenceServerException, match="There is no shared memory region two"):
        client.get_system_shared_memory_status("two of them")
    client.unregister_system_shared_memory()
    assert regions_of(client) == {}


def test_inputs_and_outputs(flavour, make_region):
    module, client = flavour
    handle = make_region(8192)
    shm.set_shared_memory_region(handle, [TEN])
    client.register_system_shared_memory("r", key_of(handle), 8192)
    result = client.infer("dummy", [shared_input(module, "b", (1, 10), "FP32", "r", 40)],
                          outputs=[shared_output(module, "a", "r", 64, 4096)])
    np.testing.assert_array_equal(shm.get_contents_as_numpy(handle, np.float32, [1, 10], 4096), TEN + 1)
    (output,) = result.get_response(**as_json(client))["outputs"]
    assert [int(dim) for dim in output["shape"]] == [1, 10]
    place = output["parameters"]
    if module is grpc_client:
        place = {name: next(iter(value.values())) for name, value in place.items()}
    assert place["shared_memory_region"] == "r" and int(place["shared_memory_byte_size"]) == 40
    assert int(place["shared_memory_offset"]) == 4096
    assert "data" not in output and "contents" not in output
    # One alone: the output in the answer, the input in the request.
    result = client.infer("dummy", [shared_input(module, "b", (1, 10), "FP32", "r", 40)])
    np.testing.assert_array_equal(result.as_numpy("a"), TEN + 1)
    tensor = module.InferInput("b", [1, 10], "FP32")
    tensor.set_data_from_numpy(TEN * 2)
    client.infer("dummy", [tensor], outputs=[shared_output(module, "a", "r", 40, 100)])
    np.testing.assert_array_equal(shm.get_contents_as_numpy(handle, np.float32, [1, 10], 100), TEN * 2 + 1)


def test_large_tensors_some_here_some_there(flavour, make_region):
    module, client = flavour
    rows = 20000
    x = np.random.default_rng(1).standard_normal((rows, 4)).astype(np.float32)
    handle = make_region(2 * x.nbytes)
    shm.set_shared_memory_region(handle, [x])
    client.register_system_shared_memory("r", key_of(handle), 2 * x.nbytes)
    result = client.infer("two_outputs", [shared_input(module, "x", x.shape, "FP32", "r", x.nbytes)],
                          outputs=[shared_output(module, "doubled", "r", x.nbytes, x.nbytes),
                                   module.InferRequestedOutput("total")])
    np.testing.assert_array_equal(shm.get_contents_as_numpy(handle, np.float32, x.shape, x.nbytes), 2 * x)
    np.testing.assert_allclose(result.as_numpy("total"), x.sum(1, keepdims=True), rtol=1e-5, atol=1e-5)


def test_an_image_of_fixed_size_and_the_same_by_request(flavour, make_region, reference):
    module, client = flavour
    x = np.random.default_rng(2).standard_normal((1, 3, 224, 224)).astype(np.float32)
    handle = make_region(x.nbytes + 4096)
    shm.set_shared_memory_region(handle, [x], 64)
    client.register_system_shared_memory("r", key_of(handle), x.nbytes + 4096)
    result = client.infer("sink", [shared_input(module, "x", x.shape, "FP32", "r", x.nbytes, 64)])
    np.testing.assert_array_equal(result.as_numpy("sum"), reference("sink", x)[0])


def test_what_is_handed_on_unchanged(flavour, make_region):
    """OpenVINO has one tensor for an input and an output that is the same; 40 KB are set where they lie."""
    module, client = flavour
    for datatype, dtype in (("FP32", np.float32), ("INT64", np.int64)):
        x = np.arange(10000).reshape(100, 100).astype(dtype)
        handle = make_region(2 * x.nbytes)
        shm.set_shared_memory_region(handle, [x])
        client.register_system_shared_memory(datatype, key_of(handle), 2 * x.nbytes)
        client.infer(f"passthrough_{datatype.lower()}", [shared_input(module, "data", x.shape, datatype, datatype, x.nbytes)],
                     outputs=[shared_output(module, "data", datatype, x.nbytes, x.nbytes)])
        np.testing.assert_array_equal(shm.get_contents_as_numpy(handle, dtype, x.shape, x.nbytes), x)
        np.testing.assert_array_equal(shm.get_contents_as_numpy(handle, dtype, x.shape), x)


def test_texts_have_their_lengths_before_them(flavour, make_region):
    module, client = flavour
    texts = np.array([b"", b"one", bytes(range(256)) * 40], dtype=object)
    raw = serialize_byte_tensor(texts)
    size = len(raw.item())
    handle = make_region(2 * size + 100)
    shm.set_shared_memory_region(handle, [raw])
    client.register_system_shared_memory("r", key_of(handle), 2 * size + 100)
    client.infer("passthrough_string", [shared_input(module, "my_name", [3], "BYTES", "r", size)],
                 outputs=[shared_output(module, "my_name", "r", size + 5, size + 1)])
    np.testing.assert_array_equal(shm.get_contents_as_numpy(handle, np.object_, [3], size + 1), texts)
    with pytest.raises(InferenceServerException, match=f"too small for the output - Expected: at least {size} bytes"):
        client.infer("passthrough_string", [shared_input(module, "my_name", [3], "BYTES", "r", size)],
                     outputs=[shared_output(module, "my_name", "r", size - 1, size)])


def test_pictures(flavour, make_region):
    module, client = flavour
    pixels = np.random.default_rng(3).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    raw = serialize_byte_tensor(np.array([encoded], dtype=object))
    size = len(raw.item())
    handle = make_region(size + 4096)
    shm.set_shared_memory_region(handle, [raw])
    client.register_system_shared_memory("r", key_of(handle), size + 4096)
    offset = (size + 63) // 64 * 64
    client.infer("picture", [shared_input(module, "input", [1], "BYTES", "r", size)],
                 outputs=[shared_output(module, "output", "r", 240, offset)])
    got = shm.get_contents_as_numpy(handle, np.float32, [1, 3, 4, 5], offset)
    np.testing.assert_array_equal(got[0], pixels.transpose(2, 0, 1).astype(np.float32) + 1)


def test_a_sequence(flavour, make_region):
    module, client = flavour
    handle = make_region(4096)
    client.register_system_shared_memory("r", key_of(handle), 4096)
    total = np.zeros((1, 10), np.float32)
    for call in range(4):
        x = TEN * (call + 1)
        total += x
        shm.set_shared_memory_region(handle, [x])
        client.infer("accumulator", [shared_input(module, "x", (1, 10), "FP32", "r", 40)],
                     outputs=[shared_output(module, "sum", "r", 40, 64), shared_output(module, "count", "r", 4, 128)],
                     sequence_id=77 if module is grpc_client else 78, sequence_start=call == 0, sequence_end=call == 3)
        np.testing.assert_array_equal(shm.get_contents_as_numpy(handle, np.float32, [1, 10], 64), total)
        assert shm.get_contents_as_numpy(handle, np.float32, [1], 128)[0] == call + 1


def test_calls_that_are_joined(flavour, sharing, make_region):
    """Eight rows fill a batch, from four clients with a region each."""
    module, client = flavour
    handles = [make_region(1024) for _ in range(4)]
    faults = []

    def call(number):
        x = np.full((2, 10), number, np.float32)
        shm.set_shared_memory_region(handles[number], [x])
        try:
            with module.InferenceServerClient(sharing.grpc if module is grpc_client else sharing.rest) as own:
                own.infer("joined", [shared_input(module, "b", x.shape, "FP32", f"r{number}", x.nbytes)],
                          outputs=[shared_output(module, "a", f"r{number}", 128, 512)])
            np.testing.assert_array_equal(shm.get_contents_as_numpy(handles[number], np.float32, x.shape, 512), x + 1)
        except Exception as error:
            faults.append(error)

    for number, handle in enumerate(handles):
        client.register_system_shared_memory(f"r{number}", key_of(handle), 1024)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


FAULTY_REGISTRATIONS = {
    "key_up": (("/../etc/passwd", 0, 16), "Invalid key"),
    "key_dots": (("..", 0, 16), "Invalid key"),
    "key_empty": (("", 0, 16), "Invalid key"),
    "key_slash": (("/", 0, 16), "Invalid key"),
    "key_inner_slash": (("/a/b", 0, 16), "Invalid key"),
    "key_long": (("/" + "x" * 10000, 0, 16), "Invalid key"),
    "not_there": (("/switchyard_not_there", 0, 16), "no shared memory object"),
    "no_bytes": (("KEY", 0, 0), "Invalid size"),
    "too_many": (("KEY", 0, 4097), "within the 4096 bytes"),
    "beyond": (("KEY", 4096, 1), "within the 4096 bytes"),
    "overflow": (("KEY", 2**64 - 1, 2), "within the 4096 bytes"),
    "huge": (("KEY", 16, 2**64 - 1), "within the 4096 bytes"),
}


@pytest.mark.parametrize("case", FAULTY_REGISTRATIONS)
def test_faulty_registrations(flavour, make_region, case):
    (key, offset, size), text = FAULTY_REGISTRATIONS[case]
    module, client = flavour
    handle = make_region(4096)
    with pytest.raises(InferenceServerException, match=text):
        client.register_system_shared_memory("r", key_of(handle) if key == "KEY" else key, size, offset)
    assert regions_of(client) == {}


FAULTY_PLACES = {
    "unknown": ("nobody", 40, 0),
    "beyond": ("r", 40, 4096),
    "over_the_end": ("r", 40, 4057),
    "overflow": ("r", 40, 2**63 - 1),
    "too_large": ("r", 4097, 0),
    "not_what_is_needed": ("r", 36, 0),
}


@pytest.mark.parametrize("case", FAULTY_PLACES)
def test_faulty_places(flavour, sharing, make_region, case):
    module, client = flavour
    handle = make_region(4096)
    client.register_system_shared_memory("r", key_of(handle), 4096)
    good = shared_input(module, "b", (1, 10), "FP32", "r", 40)
    for inputs, outputs in (([shared_input(module, "b", (1, 10), "FP32", *FAULTY_PLACES[case])], None),
                            ([good], [shared_output(module, "a", *FAULTY_PLACES[case])])):
        with pytest.raises(InferenceServerException) as error:
            client.infer("dummy", inputs, outputs=outputs)
        assert error.value.status() in ("StatusCode.INVALID_ARGUMENT", "400"), error.value
    client.infer("dummy", [good])


@pytest.mark.parametrize("parameters", [
    {"shared_memory_region": "r"},
    {"shared_memory_byte_size": 40},
    {"shared_memory_offset": 0},
    {"shared_memory_region": 7, "shared_memory_byte_size": 40},
    {"shared_memory_region": "r", "shared_memory_byte_size": -1},
    {"shared_memory_region": "r", "shared_memory_byte_size": "many"},
    {"shared_memory_region": "r", "shared_memory_byte_size": 40, "shared_memory_offset": -4},
    {"shared_memory_region": "r", "shared_memory_byte_size": 1.5},
])
def test_faulty_parameters(sharing, parameters):
    tensor = {"name": "b", "shape": [1, 10], "datatype": "FP32"}
    whole = {**tensor, "data": TEN.tolist()}
    for body in ({"inputs": [{**tensor, "parameters": parameters}]},
                 {"inputs": [whole], "outputs": [{"name": "a", "parameters": parameters}]}):
        answer = sharing.http("POST", "/v2/models/dummy/infer", body)
        assert answer.code == 400 and "shared_memory" in answer.error, answer
    both = {**whole, "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 40}}
    answer = sharing.http("POST", "/v2/models/dummy/infer", {"inputs": [both]})
    assert answer.code == 400 and "both" in answer.error


def test_the_calls_over_plain_http(sharing, make_region):
    handle = make_region(4096)
    register = "/v2/systemsharedmemory/region/my%20region/register"
    key = {"key": key_of(handle)}
    for body in ("", "[]", "{", "{}", {"key": 7, "byte_size": 8}, key, {**key, "byte_size": -1}, {**key, "byte_size": 1.5},
                 {**key, "byte_size": 8, "offset": "0"}, "x" * 100000):
        answer = sharing.http("POST", register, body)
        assert answer.code == 400 and answer.error, (body, answer)
    assert sharing.http("POST", register, {"key": key_of(handle), "byte_size": 4096}).code == 200
    row = {"name": "my region", "key": key_of(handle), "offset": 0, "byte_size": 4096}
    assert sharing.http("GET", "/v2/systemsharedmemory/status").json() == [row]
    assert sharing.http("GET", "/v2/systemsharedmemory/region/my%20region/status").json() == [row]
    assert sharing.http("GET", "/v2/systemsharedmemory/region/other/status").code == 404
    assert sharing.http("GET", "/v2/systemsharedmemory/unregister").code == 405
    assert sharing.http("POST", "/v2/systemsharedmemory/register").code == 404
    assert sharing.http("POST", "/v2/systemsharedmemory/region/my%20region/unregister").code == 200
    assert sharing.http("GET", "/v2/systemsharedmemory/status").json() == []
    assert "system_shared_memory" in sharing.http("GET", "/v2").json()["extensions"]


def test_memory_of_cuda_is_known_and_there_is_none(flavour):
    module, client = flavour
    status = client.get_cuda_shared_memory_status(**as_json(client))
    assert not status
    client.unregister_cuda_shared_memory()
    with pytest.raises(InferenceServerException, match="use system shared memory") as error:
        client.register_cuda_shared_memory("r", b"aGFuZGxl", 0, 64)
    assert error.value.status() in ("StatusCode.UNIMPLEMENTED", "501")


@pytest.fixture(scope="module")
def not_sharing(models, tmp_path_factory):
    with serve_dummy(tmp_path_factory.mktemp("not_sharing"), models) as running:
        yield running


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_it_is_off_unless_the_server_allows_it(not_sharing, make_region, protocol):
    module, address = (grpc_client, not_sharing.grpc) if protocol == "grpc" else (http_client, not_sharing.rest)
    handle = make_region(4096)
    with module.InferenceServerClient(address) as client:
        for call in (lambda: client.register_system_shared_memory("r", key_of(handle), 4096),
                     lambda: client.get_system_shared_memory_status(),
                     lambda: client.unregister_system_shared_memory(),
                     lambda: client.infer("dummy", [shared_input(module, "b", (1, 10), "FP32", "r", 40)])):
            with pytest.raises(InferenceServerException, match="--allow_shared_memory") as refused:
                call()
            assert refused.value.status() in ("StatusCode.PERMISSION_DENIED", "403")
        metadata = client.get_server_metadata(**as_json(client))
        assert "system_shared_memory" not in metadata["extensions"]


def truncate(handle, size):
    with open(f"/dev/shm/{handle._shm_key}", "r+b") as file:
        os.ftruncate(file.fileno(), size)


def test_an_object_that_is_made_smaller_ends_calls_not_the_server(flavour, sharing, make_region):
    module, client = flavour
    x = np.ones((1, 3, 224, 224), np.float32)
    handle = make_region(x.nbytes)
    shm.set_shared_memory_region(handle, [x])
    client.register_system_shared_memory("r", key_of(handle), x.nbytes)
    tensor = shared_input(module, "x", x.shape, "FP32", "r", x.nbytes)
    assert client.infer("sink", [tensor]).as_numpy("sum") == x.size
    truncate(handle, 4096)
    for _ in range(2):
        with pytest.raises(InferenceServerException, match="region r has lost its memory"):
            client.infer("sink", [tensor])
    truncate(handle, x.nbytes)
    client.unregister_system_shared_memory("r")
    client.register_system_shared_memory("r", key_of(handle), x.nbytes)
    assert client.infer("sink", [tensor]).as_numpy("sum") == 1024, "the first page is as it was"
    assert sharing.process.poll() is None


def maps_of(server):
    return pathlib.Path(f"/proc/{server.process.pid}/maps").read_text()


def test_regions_come_and_go_under_load(models, tmp_path, make_region):
    """Clients call while regions are registered and unregistered: each answer is right, or says that there is no region."""
    with serve_dummy(tmp_path, models, "--allow_shared_memory") as server:
        stop = threading.Event()
        wrong, right = [], [0]
        handles = [make_region(4096) for _ in range(2)]
        for number, handle in enumerate(handles):
            shm.set_shared_memory_region(handle, [TEN + number])

        def call(number):
            module, address = ((grpc_client, server.grpc), (http_client, server.rest))[number % 2]
            with module.InferenceServerClient(address) as client:
                region = f"r{number // 2}"
                place = 1024 * (1 + number % 2)  # a place of its own for each
                tensor = shared_input(module, "b", (1, 10), "FP32", region, 40)
                outputs = [shared_output(module, "a", region, 40, place)]
                while not stop.is_set():
                    try:
                        client.infer("dummy", [tensor], outputs=outputs)
                    except InferenceServerException as error:
                        if f"There is no shared memory region {region}" not in str(error):
                            wrong.append(str(error))
                        continue
                    got = shm.get_contents_as_numpy(handles[number // 2], np.float32, [1, 10], place)
                    if not np.array_equal(got, TEN + number // 2 + 1):
                        wrong.append(got.copy())
                    got[:] = 0
                    right[0] += 1

        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            with grpc_client.InferenceServerClient(server.grpc) as client:
                for turn in range(200):
                    for number, handle in enumerate(handles):
                        client.register_system_shared_memory(f"r{number}", key_of(handle), 4096)
                    wait_until(lambda before=right[0]: right[0] > before + 4, 30, "calls")
                    client.unregister_system_shared_memory("r0" if turn % 2 else "")
                    client.unregister_system_shared_memory("r1")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not wrong
        wait_until(lambda: not any(handle._shm_key in maps_of(server) for handle in handles), 10, "the regions to be unmapped")


def test_an_object_that_shrinks_under_load(models, tmp_path, make_region):
    size = 602112
    with Server(tmp_path, "--model_name", "sink", "--model_path", models / "sink", "--target_device", "CPU",
                "--allow_shared_memory") as server, grpc_client.InferenceServerClient(server.grpc) as client:
        handle = make_region(size)
        answers = queue.Queue()
        for turn in range(40):
            client.register_system_shared_memory("r", key_of(handle), size)
            tensor = shared_input(grpc_client, "x", (1, 3, 224, 224), "FP32", "r", size)
            for _ in range(8):
                client.async_infer("sink", [tensor], lambda result, error: answers.put((result, error)))
                if _ == turn % 8:
                    truncate(handle, 0)
            for _ in range(8):
                result, error = answers.get(timeout=30)
                assert result.as_numpy("sum") == 0 if error is None else "has lost its memory" in str(error)
            truncate(handle, size)
            client.unregister_system_shared_memory("r")
        assert client.is_server_ready()
        wait_until(lambda: handle._shm_key not in maps_of(server), 10, "the region to be unmapped")


def test_a_call_in_flight_keeps_its_region(models, tmp_path, make_region):
    metrics = ("--metrics_enable", "--metrics_list", "ovms_infer_req_active")
    with Server(tmp_path, "--model_name", "slow", "--model_path", models / "slow", "--target_device", "CPU",
                "--allow_shared_memory", *metrics) as server, grpc_client.InferenceServerClient(server.grpc) as client:
        handle = make_region(4096)
        shm.set_shared_memory_region(handle, [TEN])
        for timeout in (None, 20000):  # the second is given up after 20 ms, while the device is still at work
            client.register_system_shared_memory("r", key_of(handle), 4096)
            answers = queue.Queue()
            client.async_infer("slow", [shared_input(grpc_client, "x", (1, 10), "FP32", "r", 40)],
                               lambda result, error, answers=answers: answers.put(error),
                               outputs=[shared_output(grpc_client, "y", "r", 40, 64)], timeout=timeout)
            if timeout:
                assert "DEADLINE" in str(answers.get(timeout=30).status())
            else:
                wait_until(lambda: server.metric("^ovms_infer_req_active") > 0, 30, "the call to run")
            client.unregister_system_shared_memory("r")
            if not timeout:
                assert answers.get(timeout=60) is None
                got = shm.get_contents_as_numpy(handle, np.float32, [1, 10], 64)
                np.testing.assert_allclose(got, TEN + 150000, rtol=1e-5)
            wait_until(lambda: handle._shm_key not in maps_of(server), 60, "the region to be unmapped")


def test_kserve_raw_contents_go_to_the_other_inputs(models, tmp_path, make_region):
    """gRPC: raw_input_contents has an entry for each input that is not in shared memory, in order."""
    with Server(tmp_path, "--model_name", "two", "--model_path", models / "add_two_inputs", "--target_device", "CPU",
                "--allow_shared_memory") as server, grpc_client.InferenceServerClient(server.grpc) as client:
        handle = make_region(4096)
        shm.set_shared_memory_region(handle, [TEN])
        client.register_system_shared_memory("r", key_of(handle), 4096)
        plain = [grpc_client.InferInput(name, [1, 10], "FP32") for name in ("input1", "input2")]
        for tensor in plain:
            tensor.set_data_from_numpy(TEN * 10)
        for inputs in ([shared_input(grpc_client, "input1", (1, 10), "FP32", "r", 40), plain[1]],
                       [plain[0], shared_input(grpc_client, "input2", (1, 10), "FP32", "r", 40)]):
            np.testing.assert_array_equal(client.infer("two", inputs).as_numpy("sum"), TEN * 11)
        stream = []
        done = threading.Event()
        client.start_stream(lambda result, error: (stream.append((result, error)), done.set()))
        shared = [shared_input(grpc_client, name, (1, 10), "FP32", "r", 40) for name in ("input1", "input2")]
        client.async_stream_infer("two", shared)
        assert done.wait(30) and stream[0][1] is None
        np.testing.assert_array_equal(stream[0][0].as_numpy("sum"), TEN * 2)
        client.stop_stream()
