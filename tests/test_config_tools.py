"""`switchyard check`, --list_models, --add_to_config and --remove_from_config."""

import concurrent.futures
import json
import os

import numpy as np
import pytest

from conftest import write_config
from harness import Server, run_binary
from testing.devices import gpu_env, npu_env
from test_config_reload import add_model, answer_of, entry


def models_of(config):
    return [element["config"] for element in json.loads(config.read_text())["model_config_list"]]


def test_check_finds_nothing_in_a_good_file(tmp_path):
    add_model(tmp_path, "a", (1, 2))
    config = write_config(tmp_path / "config.json", [entry("a", model_version_policy={"all": {}}, labels={"stable": 1})])
    done = run_binary("check", config)
    assert done.returncode == 0 and "no faults" in done.stdout, done
    done = run_binary("check", config, "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"models": 1, "faults": []}, done


def test_check_lists_every_fault(tmp_path):
    for name in "abc":
        add_model(tmp_path, name)
    (tmp_path / "b" / "1" / "model.xml").write_text("<broken")
    (tmp_path / "c" / "2").mkdir()
    config = write_config(
        tmp_path / "config.json",
        [
            entry("a", nireq=-3, plugin_config={"NUM_STREAM": 1}),
            entry("b"),
            entry("c", model_version_policy={"all": {}}),
            entry("d"),
            entry("e", base_path="a", shape={"no_such_input": "(1,10)"}),
        ],
    )
    done = run_binary("check", config, "--json")
    faults = json.loads(done.stdout)["faults"]
    at = "/model_config_list/{}/config/{}".format
    assert done.returncode == 1 and sorted(fault["pointer"] for fault in faults) == sorted(
        [at(0, "nireq"), at(0, "plugin_config/NUM_STREAM"), *(at(entry, "base_path") for entry in (1, 2, 3)), at(4, "shape")]
    ), faults
    assert all(set(fault) == {"pointer", "expected", "got"} and all(fault[k] for k in ("expected", "got")) for fault in faults)
    done = run_binary("check", config)
    assert done.returncode == 1 and all(fault["pointer"] in done.stdout for fault in faults), done.stdout


def test_check_finds_every_faulty_property_of_every_device(tmp_path):
    add_model(tmp_path, "a")
    properties = {"CPU": {"NUM_STREAM": 1, "NUM_STREAMS": 1, "PERF_COUNTS": 1}}
    plugin_config = {"DEVICE_PROPERTIES": properties, "PERFORMANCE_HINT": "SPEED"}
    config = write_config(tmp_path / "config.json", [entry("a", target_device="AUTO:CPU", plugin_config=plugin_config)])
    done = run_binary("check", config, "--json")
    at = "/model_config_list/0/config/plugin_config/"
    pointers = [fault["pointer"] for fault in json.loads(done.stdout)["faults"]]
    assert sorted(pointers) == sorted(
        at + key for key in ("DEVICE_PROPERTIES/CPU/NUM_STREAM", "DEVICE_PROPERTIES/CPU/PERF_COUNTS", "PERFORMANCE_HINT")
    ), done.stdout


def test_check_finds_what_a_load_would_refuse_of_its_devices(models, tmp_path):
    """A device that strict_placement wants used and that gets no layer, and a GPU without room: nothing is compiled for it."""
    path = str(models / "sink")
    config = write_config(
        tmp_path / "config.json",
        [
            entry("idle", base_path=path, target_device="HETERO:NPU,CPU", strict_placement=True),
            entry("idle_too", base_path=path, target_device="HETERO:NPU,CPU"),
            entry("large", base_path=path, target_device="GPU", nireq=100000),
            entry("elsewhere", base_path=path, target_device="GPU", nireq=100000, fallback_devices=["CPU"]),
        ],
    )
    done = run_binary("check", config, "--json", env={**npu_env(), **gpu_env()})
    faults = {fault["pointer"]: fault["got"] for fault in json.loads(done.stdout)["faults"]}
    at = "/model_config_list/{}/config/target_device".format
    assert set(faults) == {at(0), at(2)}, done.stdout
    assert "CPU got no layer of the model" in faults[at(0)]
    assert "the model needs at least" in faults[at(2)] and "100000 requests" in faults[at(2)]


def test_check_finds_what_needs_no_compiling(tmp_path):
    add_model(tmp_path, "a")
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "garbage.json").write_text("garbage")
    recorded = {"name": "no_such_input", "shape": [1, 10], "datatype": "FP32", "data": [0] * 10}
    (tmp_path / "other.json").write_text(json.dumps({"inputs": [recorded]}))
    (tmp_path / "right.json").write_text(json.dumps({"inputs": [{**recorded, "name": "b"}]}))
    np.save(tmp_path / "other.npy", np.zeros((1, 11), np.float32))
    (tmp_path / "half" / "1").mkdir(parents=True)
    (tmp_path / "half" / "1" / "m.xml").write_text("<net/>")
    config = write_config(
        tmp_path / "config.json",
        [
            entry("a", stateful=True),
            entry("b", base_path="a", target_device="BATCH:CPU(4)", shape="(-1,10)"),
            entry("c", base_path="a", warmup={"file": "empty.json"}),
            entry("d", base_path="a", warmup={"file": "garbage.json"}),
            entry("half"),
            entry("e", base_path="a", warmup={"file": "other.json"}),
            entry("f", base_path="a", warmup={"file": "other.npy"}),
            entry("g", base_path="a", warmup={"file": "right.json"}),
        ],
    )
    faults = json.loads(run_binary("check", config, "--json").stdout)["faults"]
    at = "/model_config_list/{}/config/{}".format
    assert [fault["pointer"] for fault in faults] == [
        at(0, "stateful"), at(1, "target_device"), at(2, "warmup/file"), at(3, "warmup/file"), at(4, "base_path"),
        at(5, "warmup/file"), at(6, "warmup/file"),
    ], faults  # fmt: skip
    assert "Required input: b" in faults[5]["got"] and "(1,11)" in faults[6]["got"]
    assert "m.bin beside m.xml" in faults[4]["got"]


def test_check_tells_which_setting_the_model_does_not_take(tmp_path):
    add_model(tmp_path, "a")  # its input: b FP32 (1,10)
    refused = [
        {"shape": {"no_such_input": "(1,10)"}},
        {"layout": "NC", "mean": [1, 2], "precision": "FP32"},
        {"layout": "NC", "scale": [1, 2], "mean": 1},
        {"layout": {"no_such_port": "NC"}},
        {"batch_size": 2, "dynamic_batching": {"max_batch_size": 4}},
        {"target_device": "BATCH:CPU(4)", "batch_size": "-1"},
    ]
    keys = ["shape", "mean", "scale", "layout", "dynamic_batching", "target_device"]
    entries = [entry(f"m{i}", base_path="a", **settings) for i, settings in enumerate(refused)]
    faults = json.loads(run_binary("check", write_config(tmp_path / "config.json", entries), "--json").stdout)["faults"]
    assert [fault["pointer"] for fault in faults] == [
        f"/model_config_list/{i}/config/{key}" for i, key in enumerate(keys)
    ], faults


def test_check_names_keys_that_are_there_twice(tmp_path):
    add_model(tmp_path, "a")
    config = tmp_path / "config.json"
    config.write_text('{"model_config_list": [{"config": {"name": "a", "base_path": "a", "nireq": 1, "nireq": 2}}]}')
    done = run_binary("check", config)
    assert done.returncode == 1 and '/model_config_list/0/config/nireq: expected each key once' in done.stdout, done


def test_check_of_no_file_and_no_command(tmp_path):
    done = run_binary("check", tmp_path / "nowhere.json")
    assert done.returncode == 1 and "cannot be read" in done.stdout and "--config_path" not in done.stdout
    assert run_binary("check").returncode == 64
    assert run_binary("check", "a", "b").returncode == 64
    assert run_binary("check", "--port", "1").returncode == 64
    assert run_binary("check", "--help").returncode == 0


def test_check_strict(tmp_path):
    add_model(tmp_path, "a")
    config = write_config(tmp_path / "config.json", [{"name": "a", "target_device": "AUTO:GPU.9,CPU"}])
    assert run_binary("check", config).returncode == 0
    done = run_binary("check", config, "--strict")
    assert done.returncode == 1 and "GPU.9" in done.stdout, done
    write_config(config, [entry("a", batch_size=1, shape="(1,10)")])
    done = run_binary("check", config)
    assert done.returncode == 0 and done.stderr.count("batch_size is not used") == 1, done
    done = run_binary("check", config, "--strict")
    assert done.returncode == 1 and "/batch_size: expected none beside shape" in done.stdout, done


def test_list_models(tmp_path):
    add_model(tmp_path, "a")
    add_model(tmp_path / "deep" / "er", "b")
    (tmp_path / "empty" / "1").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    done = run_binary("--list_models", "--model_repository_path", tmp_path)
    assert done.returncode == 0 and done.stdout.split("\n") == ["a", "deep/er/b", ""], done
    done = run_binary("--list_models", env={"OVMS_MODEL_REPOSITORY_PATH": str(tmp_path)})
    assert done.returncode == 0 and "deep/er/b" in done.stdout
    assert run_binary("--list_models", "--model_repository_path", tmp_path / "nowhere").returncode == 1
    assert run_binary("--list_models", "--port", "1").returncode == 64


def test_add_and_remove(tmp_path):
    for name in "ab":
        add_model(tmp_path, name)
    config = tmp_path / "config.json"
    flags = ["--config_path", config, "--model_name"]
    done = run_binary("--add_to_config", *flags, "a", "--model_path", tmp_path / "a", "--target_device", "CPU", "--nireq", 2,
                      "--plugin_config", '{"NUM_STREAMS": 1}', "--shape", '{"b": "(1,10)"}', "--batch_size", "1")  # fmt: skip
    assert done.returncode == 0, done
    assert models_of(config) == [
        {
            "name": "a",
            "base_path": str(tmp_path / "a"),
            "batch_size": "1",
            "shape": {"b": "(1,10)"},
            "nireq": 2,
            "target_device": "CPU",
            "plugin_config": {"NUM_STREAMS": 1},
        }
    ]
    config.chmod(0o640)
    done = run_binary("--add_to_config", *flags, "b", "--model_repository_path", tmp_path)
    assert done.returncode == 0 and [m["name"] for m in models_of(config)] == ["a", "b"], done
    assert config.stat().st_mode & 0o777 == 0o640
    done = run_binary("--add_to_config", *flags, "a", "--model_path", tmp_path / "b")
    assert done.returncode == 1 and "occupied" in done.stderr
    with Server(tmp_path / "server", "--config_path", config) as server:
        assert answer_of(server, "a") == answer_of(server, "b") == 1
        assert run_binary("--remove_from_config", *flags, "a").returncode == 0
        assert server.http("POST", "/v1/config/reload").code in (200, 201)
        assert answer_of(server, "a") is None and answer_of(server, "b") == 1
    assert [m["name"] for m in models_of(config)] == ["b"]
    done = run_binary("--remove_from_config", *flags, "a")
    assert done.returncode == 1 and '"a"' in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "config.json", "server"], "nothing is left beside"


@pytest.mark.parametrize(
    "flags, code, part",
    [
        (["--model_path", "nowhere"], 1, "/base_path"),
        (["--target_device", "TPU"], 1, "/target_device"),
        (["--nireq", "-1"], 1, "/nireq"),
        (["--shape", "(1,"], 1, "/shape"),
        (["--shape", '{"nobody": "(1,10)"}'], 1, "/shape"),
        (["--plugin_config", '{"NUM_STREAM": 2}'], 1, "/plugin_config"),
        (["--plugin_config", "{"], 64, "--plugin_config"),
        (["--port", "9000"], 64, "--port"),
        (["--remove_from_config"], 64, "--remove_from_config"),
        (["--list_models"], 64, "--list_models"),
    ],
)
def test_what_a_server_would_refuse_is_not_written(tmp_path, flags, code, part):
    add_model(tmp_path, "a")
    config = write_config(tmp_path / "config.json", [entry("x", base_path="a")])
    before = config.read_text()
    path = [] if flags[0] == "--model_path" else ["--model_path", tmp_path / "a"]
    done = run_binary("--add_to_config", "--config_path", config, "--model_name", "a", *path, *flags)
    assert done.returncode == code and part in done.stderr, done
    assert config.read_text() == before and sorted(os.listdir(tmp_path)) == ["a", "config.json"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]"])
def test_a_file_that_is_no_config_is_at_fault_not_the_command_line(tmp_path, text):
    add_model(tmp_path, "a")
    config = tmp_path / "config.json"
    config.write_text(text)
    flags = ["--config_path", config, "--model_name", "a"]
    for command in (["--add_to_config", *flags, "--model_path", tmp_path / "a"], ["--remove_from_config", *flags]):
        done = run_binary(*command)
        assert done.returncode == 1 and str(config) in done.stderr, done
    assert config.read_text() == text
    config.unlink()
    done = run_binary("--remove_from_config", *flags)
    assert done.returncode == 1 and "cannot be read" in done.stderr, done


def test_only_the_new_entry_is_held_against_the_machine(tmp_path):
    add_model(tmp_path, "a")
    config = write_config(tmp_path / "config.json", [entry("elsewhere", base_path="elsewhere")])
    assert run_binary("check", config).returncode == 1
    done = run_binary("--add_to_config", "--config_path", config, "--model_name", "a", "--model_path", tmp_path / "a")
    assert done.returncode == 0 and [m["name"] for m in models_of(config)] == ["elsewhere", "a"], done
    write_config(config, [entry("elsewhere", nireq=-1)])
    done = run_binary("--add_to_config", "--config_path", config, "--model_name", "a", "--model_path", tmp_path / "a")
    assert done.returncode == 1 and "/model_config_list/0/config/nireq" in done.stderr, done


def test_edits_at_the_same_time_lose_nothing(tmp_path):
    add_model(tmp_path, "a")
    config = tmp_path / "config.json"

    def add(i):
        return run_binary("--add_to_config", "--config_path", config, "--model_name", f"m{i}", "--model_path", tmp_path / "a")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(add, range(8)))
    assert all(one.returncode == 0 for one in done), done
    assert sorted(model["name"] for model in models_of(config)) == sorted(f"m{i}" for i in range(8))
