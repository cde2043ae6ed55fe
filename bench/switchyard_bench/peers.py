"""Other servers that speak the same protocols, with the same OpenVINO inside: each in an environment of its own.

bench/peers/requirements-NAME.txt pins what it is, bench/peers/NAME_server.py starts it.
"""

import json
import os
import pathlib
import socket
import urllib.request

from . import paths, servers, wire

LITSERVE_JSON = "its own REST JSON"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _litserve_request(_protocol, _model, tensors):
    return wire.Request("rest", "/predict", ("content-type: application/json",), wire.kserve_json(tensors))


class _Starter:
    def __init__(self, name, title, ready_path):
        self.name = name
        self.title = title
        self.ready_path = ready_path
        self.python = None
        self.fault = None

    def find_python(self):
        if self.fault is None and self.python is None:
            paths.progress(f"  {self.title}: its environment ...")
            try:
                self.python = paths.make_venv(f"peer-{self.name}", paths.BENCH / "peers" / f"requirements-{self.name}.txt")
            except RuntimeError as error:
                self.fault = f"it cannot be installed: {error}"
        if self.fault is not None:
            raise servers.Unavailable(self.fault)
        return self.python

    def __call__(self, workload, model, folder, pin):
        python = self.find_python()
        folder = pathlib.Path(folder)
        settings = folder / "peer.json"
        settings.write_text(json.dumps({**workload.peer_settings(model), "name": workload.name}))
        grpc, rest = free_port(), free_port()
        environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(folder)}
        environment.update(VIRTUAL_ENV=str(python.parent.parent), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        command = [*pin, python, paths.BENCH / "peers" / f"{self.name}_server.py", settings, grpc, rest]
        server = servers.Server(self.title, command, folder / f"{self.name}.log", environment, cwd=folder)
        server.wait(lambda: _answers(f"http://127.0.0.1:{rest}{self.ready_path.format(workload.name)}"), 0.05)
        server.address = {"grpc": f"127.0.0.1:{grpc}", "rest": f"127.0.0.1:{rest}"}
        return server


def _peer(name, title, protocols, ready_path, note, **more):
    return servers.Offer(title, protocols, _Starter(name, title, ready_path), note, **more)


ALL = {
    "pytriton": _peer("pytriton", "Triton (PyTriton)", (wire.KSERVE_GRPC, wire.KSERVE_BINARY, wire.KSERVE_JSON),
                      "/v2/models/{}/ready", "NVIDIA's tritonserver as nvidia-pytriton carries it; it has no OpenVINO backend, "
                      "so a Python callable runs OpenVINO in a process beside it"),
    "kserve": _peer("kserve", "KServe", (wire.KSERVE_GRPC, wire.KSERVE_BINARY, wire.KSERVE_JSON), "/v2/models/{}/ready",
                    "KServe's Python model server; the model is a Python class that runs OpenVINO"),
    "mlserver": _peer("mlserver", "MLServer", (wire.KSERVE_GRPC, wire.KSERVE_JSON), "/v2/models/{}/ready",
                      "the runtime is a Python class that runs OpenVINO, in the server's process"),
    "litserve": _peer("litserve", "LitServe", (LITSERVE_JSON,), "/health",
                      "a protocol of its own: the same JSON, posted to /predict", request_of=_litserve_request),
}


def prepare(offers):
    """Makes their environments, so that this is over before anything is measured; what fails is said by start again."""
    for offer in offers:
        try:
            offer.start.find_python()
        except servers.Unavailable as error:
            paths.progress(f"  {offer.name}: {error}")


def chosen(text):
    """The peers that --peers names."""
    if text == "none":
        return []
    names = list(ALL) if text == "all" else text.split(",")
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise SystemExit(f"--peers: expected none, all, or some of {','.join(ALL)}; got {','.join(unknown)}")
    return [ALL[name] for name in names]
