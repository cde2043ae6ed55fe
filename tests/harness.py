"""Starts and stops the server under test, and talks to it in plain HTTP."""

import functools
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
START_LIMIT_S = 60
STOP_LIMIT_S = 40


def binary() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("SWITCHYARD_BINARY", "build/release/switchyard"))
    return path if path.is_absolute() else ROOT / path


@functools.cache
def sanitized() -> bool:
    return any(name in binary().read_bytes() for name in (b"libasan.so", b"libtsan.so"))


def wait_until(condition, limit_s=10.0, what="a condition"):
    """Returns the first true value of `condition()`; fails when there is none in time."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {limit_s} s")
        time.sleep(0.01)


def free_port() -> int:
    """A port nobody listens on at the moment, for the few tests that must know it before the server is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One process of the server, on loopback, with ports of its own choice unless `args` name others.

    `with Server(folder, "--model_name", ...) as server:` waits until it is ready, and on the way out ends it by SIGTERM and
    insists on exit code 0.
    """

    def __init__(self, folder, *args, env=None, cwd=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ready_file = self.folder / "ready.json"
        self.ready_file.unlink(missing_ok=True)
        self.log_file = self.folder / "server.log"
        command = [str(binary()), *map(str, args), "--ready_file", str(self.ready_file)]
        for flag, value in (
            ("--port", "auto"),
            ("--rest_port", "auto"),
            ("--grpc_bind_address", "127.0.0.1"),
            ("--rest_bind_address", "127.0.0.1"),
        ):
            if flag not in args:
                command += [flag, value]
        self.command = command
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )
        self.addresses = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_ready(self, limit_s=START_LIMIT_S):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            return self.ready_file.exists()

        try:
            wait_until(ready, limit_s, "the ready file")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log}") from None
        self.addresses = json.loads(self.ready_file.read_text())
        return self

    @property
    def grpc(self) -> str:
        return self.addresses["grpc"]

    @property
    def rest(self) -> str:
        return self.addresses["rest"]

    def wait_exit(self, limit_s=STOP_LIMIT_S) -> int:
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end within {limit_s} s:\n{self.log}") from None

    def stop(self, how=signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.wait_exit()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self.wait_ready()

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            code = self.stop()
            if kind is None:
                assert code == 0, f"exit code {code}:\n{self.log[-8000:]}"
        elif kind is None:
            raise AssertionError(f"the server had ended with {self.process.returncode}:\n{self.log[-8000:]}")

    def http(self, method, path, body=None, headers=None, timeout_s=30):
        return http_call(self.rest, method, path, body, headers, timeout_s)

    def metric(self, pattern) -> float:
        """The sum of the samples of /metrics whose line the pattern finds."""
        lines = self.http("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.search(pattern, line))

    def resident_bytes(self) -> int:
        """0 for a binary with a sanitizer, whose memory says nothing."""
        if sanitized():
            return 0
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")


class Answer:
    """Status code, headers (lower-case names) and body of an HTTP answer."""

    def __init__(self, code, headers, body):
        self.code, self.headers, self.body = code, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error answer, which is an object with this one key."""
        document = self.json()
        assert list(document) == ["error"], document
        return document["error"]

    def __repr__(self):
        return f"HTTP {self.code} {self.body[:500]!r}"


def http_call(address, method, path, body=None, headers=None, timeout_s=30) -> Answer:
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, (bytes, type(None))))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def run_binary(*args, timeout_s=60, cwd=None, env=None):
    """Runs the program until it ends by itself."""
    return subprocess.run(
        [str(binary()), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
