"""What a result was measured on: without it the figures say little."""

import os
import pathlib
import platform
import subprocess

from . import paths

TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16",
                 "hypervisor")


def _said_by(*command):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, cwd=paths.ROOT)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _cpu():
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return fields.get("model name", platform.machine()), [flag for flag in TELLING_FLAGS if flag in flags]


def describe(server_cores, client_cores):
    name, flags = _cpu()
    memory_kb = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    changed = " with changes" if _said_by("git", "status", "--porcelain", "--untracked-files=no") else ""
    return {
        "cpu": name,
        "flags": flags,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kb / 2**20),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "server_cores": server_cores,
        "client_cores": client_cores,
        "load_before": os.getloadavg()[0],
        "versions": {
            "switchyard": (_said_by(paths.BUILD / "switchyard", "--version").splitlines() or ["?"])[0].split()[-1],
            "commit": _said_by("git", "rev-parse", "--short=12", "HEAD") + changed,
            "compiler": _said_by("c++", "--version").partition("\n")[0],
            "grpc": _said_by("dpkg-query", "-W", "-f", "${Version}", "libgrpc++-dev"),
            "openvino": _openvino(),
            "python": platform.python_version(),
            **_peers(),
        },
    }


def _peers():
    """What their environments are pinned to."""
    found = {}
    for file in sorted((paths.BENCH / "peers").glob("requirements-*.in")):
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, version = line.partition("==")
            if version and name != "openvino":
                found[name] = version
    return found


def _openvino():
    found = sorted(folder.name.partition("-")[2] for folder in paths.DEPS.glob("openvino-*"))
    return found[-1] if found else ""


def stolen_share(before, after):
    """Of the time between two /proc/stat: what the hypervisor gave to others."""
    spent = [b - a for a, b in zip(before, after)]
    return spent[7] / max(1, sum(spent[:8]))


def processor_ticks():
    return [int(number) for number in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
