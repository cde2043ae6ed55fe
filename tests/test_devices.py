"""`switchyard devices`: what is there, why the rest is not, over this machine and over made-up roots."""

import json
import os
import re

import pytest

from harness import ROOT, run_binary

LIBRARIES = "usr/lib/x86_64-linux-gnu"
USER = "Uid:\t5000\t5000\t5000\t5000\nGid:\t5000\t5000\t5000\t5000\nGroups:\t44\nCpus_allowed_list:\t0-2\n"


@pytest.fixture
def root(tmp_path):
    """A folder, and a function that writes files below it."""

    def write(path, text="", mode=0o644):
        file = tmp_path / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return tmp_path / "root"

    write("proc/self/status", USER)
    write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: sse4_2 avx2 amx_tile amx_bf16\n\n" * 4)
    write("sys/fs/cgroup/cpu.max", "150000 100000\n")
    return write


def report(*args):
    done = run_binary("devices", "--json", *args)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    document = json.loads(done.stdout)
    return {device["name"]: device for device in document["devices"]}, document


def test_this_machine():
    devices, document = report()
    cpu = devices["CPU"]
    assert cpu["state"] == "well" and cpu["type"] == "CPU" and cpu["full_name"] and cpu["reason"] is None
    assert "FP32" in cpu["capabilities"] and cpu["memory_total_bytes"] > cpu["memory_used_bytes"] > 0
    assert document["runtime"].startswith("OpenVINO ") and document["sysroot"] is None
    assert document["cpu"]["usable_processors"] <= len(os.sched_getaffinity(0))
    for kind in ("GPU", "NPU"):
        found = [device for name, device in devices.items() if name.split(".")[0] == kind]
        assert found
        for device in found:
            assert device["state"] == "well" or (device["reason"] and device["remedy"])


def test_text_names_the_same_devices():
    done = run_binary("devices")
    assert done.returncode == 0, done.stderr
    for name, device in report()[0].items():
        assert re.search(rf"^{re.escape(name)} +{device['state']} ", done.stdout, re.MULTILINE), done.stdout
        if device["state"] == "absent":
            assert f"{name} is absent: {device['reason']}\n  remedy: {device['remedy']}\n" in done.stdout
    assert "\nProcessor\n" in done.stdout


def test_made_up_root_is_all_that_is_looked_at(root):
    folder = root("sys/bus/pci/devices/.keep").as_posix()
    devices, document = report("--sysroot", folder)
    assert document["runtime"] is None and document["sysroot"] == folder and "OpenVINO was not asked" in document["notes"][0]
    assert set(devices) == {"GPU", "NPU"}
    assert "no Intel GPU on the PCI bus" in devices["GPU"]["reason"]
    assert "no Intel NPU on the PCI bus" in devices["NPU"]["reason"]
    cpu = document["cpu"]
    assert cpu["model"] == "Some CPU" and cpu["processors"] == 4 and cpu["affinity"] == "0-2"
    assert cpu["quota_processors"] == 1.5 and cpu["usable_processors"] == 2
    assert cpu["instruction_sets"] == ["sse4_2", "avx2", "amx_tile", "amx_bf16"]


def test_causes_go_away_one_by_one(root):
    def gpu():
        device = report("--sysroot", folder)[0]["GPU"]
        return device["reason"], device["remedy"]

    folder = root(".dockerenv")
    reason, remedy = gpu()
    assert reason.startswith("no /dev/dri/renderD*") and "docker run --device /dev/dri" in remedy
    node = root("dev/dri/renderD128", mode=0o660) / "dev/dri/renderD128"
    group = node.stat().st_gid
    reason, remedy = gpu()
    assert f"(uid 5000) is not in its group {group}" in reason and f"--group-add {group} " in remedy
    root("proc/self/status", USER.replace("Groups:\t44", f"Groups:\t44 {group}"))
    reason, remedy = gpu()
    assert "no OpenCL loader" in reason and "ocl-icd-libopencl1" in remedy
    root(f"{LIBRARIES}/libOpenCL.so.1")
    reason, remedy = gpu()
    assert "no OpenCL driver (ICD)" in reason and "intel-opencl-icd" in remedy
    root("etc/OpenCL/vendors/intel.icd", f"/{LIBRARIES}/libigdrcl.so\n")
    root(f"{LIBRARIES}/libigdrcl.so")
    assert gpu() == (None, None)
    text = run_binary("devices", "--sysroot", folder).stdout
    assert re.search(r"^GPU +well ", text, re.MULTILINE) and "GPU is absent" not in text and "NPU is absent" in text


def test_a_registered_plugin_is_a_device():
    plugin = next(ROOT.glob(".deps/openvino-*/openvino/libs/libopenvino_intel_cpu_plugin.so"))
    devices, _ = report("--device_plugin", f"VCPU={plugin}")
    assert devices["VCPU"]["state"] == "well" and devices["VCPU"]["full_name"] == devices["CPU"]["full_name"]


def test_a_driver_that_hangs_does_not_hang_the_command(tmp_path):
    pipe = tmp_path / "plugin.so"
    os.mkfifo(pipe)  # loading it waits for somebody to write
    devices, document = report("--device_plugin", f"SLOW={pipe}", "--timeout_ms", "200")
    assert "has not answered within 200 ms" in document["notes"][0]
    assert {device["state"] for device in devices.values()} == {"absent"}


@pytest.mark.parametrize(
    "args, code, text",
    [
        (["--no_such"], 64, "--no_such"),
        (["extra"], 64, "extra"),
        (["--sysroot", "/nowhere/at/all"], 64, "--sysroot /nowhere/at/all: no such folder"),
        (["--device_plugin", "NAME"], 64, "expected NAME=PATH"),
        (["--device_plugin", "X=/nowhere.so"], 1, "the file is not there; expected the path of a device plugin"),
        (["--device_plugin", f"X={__file__}"], 1, "cannot be loaded"),
    ],
)
def test_bad_input(args, code, text):
    done = run_binary("devices", *args)
    assert done.returncode == code and done.stdout == "" and text in done.stderr, done.stderr


def test_help():
    done = run_binary("devices", "--help")
    assert done.returncode == 0 and "--sysroot" in done.stdout and "--device_plugin" in done.stdout
