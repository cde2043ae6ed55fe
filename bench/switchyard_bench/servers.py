"""Processes that serve one workload: Switchyard and the bare echo; peers.py has the others."""

import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import time
import typing
import urllib.request

from . import paths, wire

READY_LIMIT_S = 120


class Unavailable(Exception):
    """A server that cannot be measured here, and why."""


class Server:
    """A running server. `address` has "grpc" and "rest" as far as it has them."""

    def __init__(self, name, command, log, environment=None, cwd=None):
        self.name = name
        self.address = {}
        self.log = pathlib.Path(log)
        self.begin = time.monotonic()
        with open(self.log, "w", encoding="utf-8") as out:
            command = [str(part) for part in command]
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=cwd)
        self.ready_s = 0.0

    def wait(self, is_ready, pause_s=0.002):
        while not is_ready():
            if self.process.poll() is not None:
                raise Unavailable(f"it ended with {self.process.returncode} while starting: {self.last_line()}")
            if time.monotonic() - self.begin > READY_LIMIT_S:
                self.stop()
                raise Unavailable(f"it was not ready within {READY_LIMIT_S} s: {self.last_line()}")
            time.sleep(pause_s)
        self.ready_s = time.monotonic() - self.begin

    def last_line(self):
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:200] if lines else "it said nothing"

    def pids(self):
        """The process and all that came of it."""
        found, new = [], [self.process.pid]
        while new:
            pid = new.pop()
            found.append(pid)
            for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    new += [int(child) for child in children.read_text().split()]
                except OSError:
                    pass  # a thread that has ended
        return found

    def cpu_s(self):
        """User and system time of all of them, to the nanosecond: clock_getcpuclockid(3)."""
        total = 0.0
        for pid in self.pids():
            try:
                total += time.clock_gettime((~pid << 3) | 2)
            except OSError:
                pass  # a child that has ended
        return total

    def peak_kb(self):
        total = 0
        for pid in self.pids():
            try:
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        total += int(line.split()[1])
            except OSError:
                pass
        return total

    def stop(self):
        if self.process.poll() is not None:
            return
        others = self.pids()[1:]
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in others:  # those that a server left behind
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@dataclasses.dataclass(frozen=True)
class Offer:
    """A kind of server: which protocols it has, and how it is started for a workload."""

    name: str
    protocols: tuple
    start: typing.Callable  # (workload, model's path, folder, pin) -> Server that is ready; raises Unavailable
    note: str = ""
    request_of: typing.Callable = wire.request  # (protocol, model's name, tensors) -> wire.Request

    def protocols_for(self, workload):
        def is_measured(protocol):
            if "JSON" in protocol:
                return workload.json_too
            return workload.shared_too if "shared memory" in protocol else True

        return [protocol for protocol in self.protocols if is_measured(protocol)]

    def request(self, protocol, workload):
        return self.request_of(protocol, workload.name, workload.inputs)


def _ready_file(server, file):
    server.wait(file.exists)
    server.address = json.loads(file.read_text())
    return server


class SwitchyardServer(Server):
    shared = None  # a file in shared memory with the inputs

    def share(self, tensors):
        """Registers the inputs' values as wire.REGION."""
        self.shared = pathlib.Path(f"/dev/shm/switchyard_bench_{self.process.pid}")
        self.shared.write_bytes(b"".join(tensor.raw for tensor in tensors))
        body = {"key": f"/{self.shared.name}", "offset": 0, "byte_size": self.shared.stat().st_size}
        url = f"http://{self.address['rest']}/v2/systemsharedmemory/region/{wire.REGION}/register"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), method="POST"), timeout=10):
            pass

    def stop(self):
        super().stop()
        if self.shared is not None:
            self.shared.unlink(missing_ok=True)

    def answered(self):
        """How many inferences it counted as answered until now."""
        with urllib.request.urlopen(f"http://{self.address['rest']}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if line.startswith("switchyard_requests_total{") and 'code="OK"' in line)


@functools.cache
def _has_shared_memory():
    help_text = subprocess.run([str(paths.BUILD / "switchyard"), "--help"], capture_output=True, text=True, check=False).stdout
    return "--allow_shared_memory" in help_text


def start_switchyard(workload, model, folder, pin, flags=(), settings=None):
    """`settings`: flags in place of the workload's own."""
    folder = pathlib.Path(folder)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [*pin, paths.BUILD / "switchyard", "--model_name", workload.name, "--model_path", model, "--port", "auto",
               "--rest_port", "auto", "--grpc_bind_address", "127.0.0.1", "--rest_bind_address", "127.0.0.1",
               "--ready_file", ready, "--log_level", "WARNING", *flags,
               *(workload.switchyard_flags() if settings is None else settings)]
    if _has_shared_memory():
        command.append("--allow_shared_memory")
    server = _ready_file(SwitchyardServer("Switchyard", command, folder / "switchyard.log"), ready)
    if workload.shared_too and _has_shared_memory():
        server.share(workload.inputs)
    return server


def start_echo(answer_bytes):
    def start(_workload, _model, folder, pin):
        folder = pathlib.Path(folder)
        ready = folder / "echo.json"
        ready.unlink(missing_ok=True)
        command = [*pin, paths.BUILD / "bench_echo", ready, *([answer_bytes] if answer_bytes else [])]
        return _ready_file(Server("echo", command, folder / "echo.log"), ready)

    return start


def switchyard():
    """What the build that is there offers."""
    shared = (wire.GRPC_SHARED, wire.REST_SHARED) if _has_shared_memory() else ()
    return Offer("Switchyard", (*wire.PROTOCOLS, *shared), start_switchyard)


ECHOES = {
    "add": Offer("bare gRPC", (wire.KSERVE_GRPC,), start_echo(0), "sends every message back as it came"),
    "sink": Offer("bare gRPC", (wire.KSERVE_GRPC,), start_echo(60), "answers every message with 60 bytes"),
}
