"""What is served, changed by calls: KServe's model repository, TensorFlow Serving's config request, labels and aliases."""

import json
from contextlib import ExitStack

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import get_model_status_pb2, model_management_pb2
from tritonclient.utils import InferenceServerException

from clients import KserveGrpc, KserveRest, TfsGrpc, rpc, tensor
from conftest import write_config
from harness import Server, wait_until
from openapi import Api
from test_config_reload import add_model, answer_of, entry

ZEROS = np.zeros((1, 10), np.float32)


@pytest.fixture
def folder(tmp_path):
    add_model(tmp_path, "a")
    add_model(tmp_path, "m", (3, 4))
    write_config(tmp_path / "config.json", [entry("a")])
    return tmp_path


def serve(folder, *flags):
    return Server(folder / "server", "--config_path", folder / "config.json", "--file_system_poll_wait_seconds", 0, *flags)


class Triton:
    """One flavour of Triton's client, with the same answers from both."""

    def __init__(self, flavour, server):
        module, address = (grpc_client, server.grpc) if flavour == "grpc" else (http_client, server.rest)
        self.client = module.InferenceServerClient(address)
        self.grpc = flavour == "grpc"

    def index(self):
        index = self.client.get_model_repository_index()
        if self.grpc:
            index = [{"name": m.name, "version": m.version, "state": m.state, "reason": m.reason} for m in index.models]
        return {(m["name"], m.get("version", "")): m["state"] for m in index}

    def __getattr__(self, name):
        return getattr(self.client, name)


@pytest.mark.parametrize("flavour", ["grpc", "http"])
def test_triton_loads_and_unloads(folder, flavour):
    with serve(folder) as server:
        triton = Triton(flavour, server)
        assert triton.index() == {("a", "1"): "READY"}
        with pytest.raises(InferenceServerException, match="not found"):
            triton.load_model("m")
        config = {"base_path": "m", "target_device": "CPU", "model_version_policy": {"all": {}}, "labels": {"stable": 3}}
        triton.load_model("m", config=json.dumps(config))
        assert triton.index() == {("a", "1"): "READY", ("m", "3"): "READY", ("m", "4"): "READY"}
        assert triton.is_model_ready("m") and triton.is_model_ready("m", "stable")
        assert answer_of(server, "m") == 4
        # Anew, with other settings; what is not given is as by default.
        triton.load_model("m", config=json.dumps({"target_device": "CPU"}))
        assert answer_of(server, "m", "/versions/3") is None and answer_of(server, "m") == 4
        triton.unload_model("m")
        assert not triton.is_model_ready("m") and answer_of(server, "m") is None
        assert triton.index()[("m", "4")] == "UNAVAILABLE"
        triton.unload_model("a", unload_dependents=True)
        assert answer_of(server, "a") is None
        triton.load_model("a")
        assert answer_of(server, "a") == 1
        with pytest.raises(InferenceServerException, match="not found"):
            triton.unload_model("nobody")
        triton.close()


@pytest.mark.parametrize("flavour", ["grpc", "http"])
def test_a_refused_load_says_what_is_wrong(folder, flavour):
    with serve(folder) as server:
        triton = Triton(flavour, server)
        for config, part in (
            ("nonsense", "JSON"),
            ('{"nireq": "two", "base_path": "m"}', "/nireq: expected a non-negative integer"),
            ('{"base_path": "nowhere"}', "/base_path"),
            ('{"name": "n", "base_path": "m"}', "/name"),
            ('{"base_path": "m", "target_device": "TPU"}', "/target_device"),
            ("{}", "base_path"),
        ):
            with pytest.raises(InferenceServerException) as refused:
                triton.load_model("m", config=config)
            assert part in refused.value.message(), (config, refused.value)
        with pytest.raises(InferenceServerException, match="no model files"):
            triton.load_model("m", config="{}", files={"file:1/model.onnx": b"x"})
        assert triton.index() == {("a", "1"): "READY"}
        triton.close()


def test_nothing_is_kept_of_a_model_whose_first_load_failed(folder):
    """The answer has the reason; the name is as unknown as before, and no call can fill the pages with names."""
    (folder / "m" / "4" / "model.xml").write_text("<broken")
    with serve(folder) as server:
        parameters = {"config": '{"base_path": "m", "target_device": "CPU"}'}
        for name in ("m", "n"):
            answer = server.http("POST", f"/v2/repository/models/{name}/load", {"parameters": parameters})
            assert answer.code >= 400 and f"Model {name} version 4 could not be loaded" in answer.error, answer
        index = server.http("POST", "/v2/repository/index").json()
        assert [(row["name"], row["state"]) for row in index] == [("a", "READY")]
        Api().check("RepositoryIndex", index)
        assert set(server.http("GET", "/v1/config").json()) == {"a"}
        for path in ("/v1/models/m", "/v2/models/m/ready", "/v2/models/m/stats"):
            answer = server.http("GET", path)
            assert answer.code == 404 and "not found" in answer.error, (path, answer)
        metrics = server.http("GET", "/metrics").body.decode()
        assert 'model="a"' in metrics and 'model="m"' not in metrics and 'model="n"' not in metrics
        assert "Model m version 4 failed to load" in server.log and "trying again" not in server.log


def test_a_model_that_served_stays_listed_when_a_later_load_fails(folder):
    with serve(folder) as server:
        parameters = {"config": '{"base_path": "m", "target_device": "CPU"}'}
        assert server.http("POST", "/v2/repository/models/m/load", {"parameters": parameters}).code == 200
        assert server.http("POST", "/v2/repository/models/m/unload").code == 200
        (folder / "m" / "4" / "model.xml").write_text("<broken")
        assert server.http("POST", "/v2/repository/models/m/load").code >= 400
        statuses = server.http("GET", "/v1/models/m").json()["model_version_status"]
        told = [(status["version"], status["state"], status["status"]["error_code"]) for status in statuses]
        assert told == [("3", "END", "OK"), ("4", "END", "OK")]
        rows = [row for row in server.http("POST", "/v2/repository/index").json() if row["name"] == "m"]
        assert [(row["version"], row["state"], row["reason"]) for row in rows] == [
            (version, "UNAVAILABLE", "unloaded") for version in "34"
        ]


def test_hostile_repository_calls(folder):
    with serve(folder) as server:
        bodies = (b"{", b"[]", b'{"parameters": 7}', b'{"parameters": {"config": 7}}', b'{"parameters": {"x": "y"}}', b"\xff")
        for body in bodies:
            answer = server.http("POST", "/v2/repository/models/a/load", body)
            assert answer.code == 400 and answer.error, (body, answer)
        assert server.http("POST", "/v2/repository/index", {"ready": 3}).code == 400
        assert server.http("POST", "/v2/repository/models/a/unload", {"parameters": {"x": 1}}).code == 400
        assert server.http("POST", "/v2/repository/models//load").code == 404
        assert answer_of(server, "a") == 1


def test_only_calls_load(folder):
    write_config(folder / "config.json", [entry("a"), entry("m")])
    with serve(folder, "--model_control", "explicit") as server:
        assert {row["name"]: row["state"] for row in server.http("POST", "/v2/repository/index").json()} == {
            "a": "UNAVAILABLE",
            "m": "UNAVAILABLE",
        }
        assert answer_of(server, "a") is None
        assert server.http("POST", "/v2/repository/models/a/load").code == 200
        assert answer_of(server, "a") == 1 and answer_of(server, "m") is None


def test_nothing_changes_what_is_fixed(folder):
    with serve(folder, "--model_control", "none") as server:
        for path in ("/v1/config/reload", "/v2/repository/models/a/load", "/v2/repository/models/a/unload"):
            answer = server.http("POST", path)
            assert answer.code == 403 and "--model_control none" in answer.error, answer
        assert server.http("POST", "/v2/repository/index").json()[0]["state"] == "READY"
        assert answer_of(server, "a") == 1


def test_folders_are_watched_only_where_changes_come_by_themselves(folder, tmp_path_factory):
    """Files that change are for calls to tell of, or for the next start."""
    modes = ("poll", "explicit", "none")
    flags = ("--config_path", folder / "config.json", "--file_system_poll_wait_seconds", 1)
    with ExitStack() as stack:
        servers = {
            mode: stack.enter_context(Server(tmp_path_factory.mktemp(mode), *flags, "--model_control", mode)) for mode in modes
        }
        assert servers["explicit"].http("POST", "/v2/repository/models/a/load").code == 200
        assert [answer_of(servers[mode], "a") for mode in modes] == [1, 1, 1]
        add_model(folder, "a", (2,))
        wait_until(lambda: answer_of(servers["poll"], "a") == 2)
        assert [answer_of(servers[mode], "a") for mode in modes] == [2, 1, 1]
        assert servers["explicit"].http("POST", "/v2/repository/models/a/load").code == 200
        assert [answer_of(servers[mode], "a") for mode in modes] == [2, 2, 1]


@pytest.fixture
def labelled(folder):
    labels = {"stable": 3, "canary": 4}
    models = [entry("m", model_version_policy={"all": {}}, labels=labels, aliases=["front"]), entry("a")]
    write_config(folder / "config.json", models)
    with serve(folder) as server:
        yield server


def test_labels_over_tfs_rest(labelled):
    for label, version in (("stable", 3), ("canary", 4)):
        answer = labelled.http("POST", f"/v1/models/m/labels/{label}:predict", {"inputs": ZEROS.tolist()})
        assert answer.json()["outputs"][0][0] == version, answer
        status = labelled.http("GET", f"/v1/models/m/labels/{label}").json()["model_version_status"]
        assert [row["version"] for row in status] == [str(version)]
        assert labelled.http("GET", f"/v1/models/m/labels/{label}/metadata").json()["modelSpec"]["version"] == str(version)
    answer = labelled.http("POST", "/v1/models/m/labels/gamma:predict", {"inputs": ZEROS.tolist()})
    assert answer.code == 404 and "canary, stable" in answer.error, answer
    assert labelled.http("GET", "/v1/models/a/labels/stable").code == 404
    config = labelled.http("GET", "/v1/config").json()
    assert config["m"]["labels"] == {"stable": 3, "canary": 4} and config["m"]["aliases"] == ["front"]
    assert set(config["a"]) == {"model_version_status"}


def test_labels_over_tfs_grpc(labelled):
    front_end = TfsGrpc(labelled)
    request = front_end.request("m", [tensor("b", "FP32", ZEROS)])
    for label, version in (("stable", 3), ("canary", 4)):
        request.model_spec.version_label = label
        response, failed = rpc(front_end.stub.Predict, request)
        assert failed is None and response.model_spec.version.value == version
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name, status.model_spec.version_label = "m", label
        response, failed = rpc(front_end.models.GetModelStatus, status)
        assert failed is None and [row.version for row in response.model_version_status] == [version]
    request.model_spec.version_label = "gamma"
    _, failed = rpc(front_end.stub.Predict, request)
    assert failed.code == "NOT_FOUND" and "gamma" in failed.message
    front_end.close()


@pytest.mark.parametrize("front_end", [KserveGrpc, KserveRest])
def test_labels_over_kserve(labelled, front_end):
    client = front_end(labelled)
    for label, version in (("stable", 3), ("canary", 4)):
        outcome = client.infer("m", [tensor("b", "FP32", ZEROS)], version=label)
        assert outcome.ok and outcome.version == str(version) and outcome.outputs["a"].data[0][0] == version
    outcome = client.infer("m", [tensor("b", "FP32", ZEROS)], version="gamma")
    assert outcome.code == client.expected_code("INVALID_ARGUMENT") and "canary, stable" in outcome.message
    outcome, _, _ = client.metadata("m", "stable")
    assert outcome.ok
    client.close()


def test_aliases(labelled):
    assert answer_of(labelled, "front") == 4 and answer_of(labelled, "front", "/versions/stable") == 3
    assert labelled.http("GET", "/v1/models/front").code == 200
    assert labelled.http("GET", "/v2/models/front/ready").code == 200
    for path in ("/v2/models/{}/stats", "/v2/models/{}", "/v1/models/{}", "/v1/models/{}/metadata"):
        of_alias, of_model = (labelled.http("GET", path.format(name)).json() for name in ("front", "m"))
        assert of_alias == of_model, path
    assert [model["version"] for model in labelled.http("GET", "/v2/models/front/stats").json()["model_stats"]] == ["3", "4"]
    with grpc_client.InferenceServerClient(labelled.grpc) as client:
        both = client.get_inference_statistics("front", as_json=True)["model_stats"]
        assert [(model["name"], model["version"]) for model in both] == [("m", "3"), ("m", "4")]
        (one,) = client.get_inference_statistics("front", "3", as_json=True)["model_stats"]
        assert (one["name"], one["version"]) == ("m", "3")


def test_a_renamed_model_answers_under_its_old_name(folder):
    """The old name is an alias now: everything that is asked by it is told of the model that serves."""
    with serve(folder) as server:
        write_config(folder / "config.json", [entry("renamed", base_path="a", aliases=["a"])])
        assert server.http("POST", "/v1/config/reload").code == 201
        assert answer_of(server, "a") == 1
        for path in ("/v1/models/{}", "/v1/models/{}/versions/1", "/v2/models/{}", "/v2/models/{}/stats"):
            of_alias, of_model = (server.http("GET", path.format(name)).json() for name in ("a", "renamed"))
            assert of_alias == of_model, path
        assert server.http("GET", "/v1/models/a").json()["model_version_status"][0]["state"] == "AVAILABLE"
        assert server.http("GET", "/v2/models/a").json()["versions"] == ["1"]
        front_end = TfsGrpc(server)
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "a"
        response, failed = rpc(front_end.models.GetModelStatus, request)
        assert failed is None and [row.state for row in response.model_version_status] == [30]
        front_end.close()
        index = server.http("POST", "/v2/repository/index").json()
        assert [(row["name"], row["state"]) for row in index] == [("renamed", "READY")]
        assert set(server.http("GET", "/v1/config").json()) == {"renamed", "last_reload"}
        metrics = server.http("GET", "/metrics").body.decode()
        assert metrics.count("switchyard_load_seconds{") == 1, "one model serves"
        # Without the alias the name is one of a model that is gone.
        write_config(folder / "config.json", [entry("renamed", base_path="a")])
        assert server.http("POST", "/v1/config/reload").code == 201
        assert server.http("GET", "/v1/models/a").json()["model_version_status"][0]["state"] == "END"
        assert server.http("GET", "/v2/models/a").code == 404


def test_a_label_moves_without_a_load(folder):
    models = [entry("m", model_version_policy={"all": {}}, labels={"stable": 3})]
    write_config(folder / "config.json", models)
    with serve(folder) as server:
        loads = server.log.count("Loading model")
        models[0]["labels"] = {"stable": 4}
        write_config(folder / "config.json", models)
        assert server.http("POST", "/v1/config/reload").code == 201
        assert answer_of(server, "m", "/versions/stable") == 4
        assert server.log.count("Loading model") == loads


def test_tensorflow_servings_config_request(folder):
    with serve(folder) as server:
        front_end = TfsGrpc(server)
        call = front_end.models.HandleReloadConfigRequest
        request = model_management_pb2.ReloadConfigRequest()
        model = request.config.model_config_list.config.add(name="m", base_path=str(folder / "m"))
        model.model_version_policy.all.SetInParent()
        model.version_labels["stable"] = 3
        response, failed = rpc(call, request)
        assert failed is None and response.status.error_code == 0, failed
        assert answer_of(server, "m", "/versions/stable") == 3 and answer_of(server, "m") == 4
        assert answer_of(server, "a") is None, "what is not in the list goes"

        refused = model_management_pb2.ReloadConfigRequest()
        refused.config.model_config_list.config.add(name="m", base_path=str(folder / "m"))
        refused.config.model_config_list.config.add(name="n", base_path=str(folder / "nowhere"))
        _, failed = rpc(call, refused)
        assert failed.code == "INVALID_ARGUMENT" and "nowhere" in failed.message
        assert answer_of(server, "m", "/versions/stable") == 3, "nothing changed"

        only = model_management_pb2.ReloadConfigRequest()
        model = only.config.model_config_list.config.add(name="m", base_path=str(folder / "m"))
        model.model_version_policy.specific.versions.append(3)
        _, failed = rpc(call, only)
        assert failed is None and answer_of(server, "m") == 3

        empty = model_management_pb2.ReloadConfigRequest()
        empty.config.model_config_list.SetInParent()
        _, failed = rpc(call, empty)
        assert failed is None and answer_of(server, "m") is None
        front_end.close()
