"""The bytes of one inference request, in each protocol, without any protocol's library."""

import dataclasses
import json
import struct

from .workloads import KINDS

KSERVE_GRPC, TFS_GRPC = "KServe gRPC", "TFS gRPC"
KSERVE_BINARY, KSERVE_JSON, TFS_JSON = "KServe REST binary", "KServe REST JSON", "TFS REST JSON"
PROTOCOLS = (KSERVE_GRPC, TFS_GRPC, KSERVE_BINARY, KSERVE_JSON, TFS_JSON)
# Inputs in a region of shared memory that was registered under this name, one after the other; outputs in the answer.
GRPC_SHARED, REST_SHARED = "KServe gRPC, shared memory", "KServe REST, shared memory"
REGION = "inputs"


@dataclasses.dataclass(frozen=True)
class Request:
    kind: str  # "grpc" or "rest": which of a server's addresses
    path: str
    headers: tuple
    body: bytes


def _varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number, payload):
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def in_region(tensors):
    """(tensor, KServe's parameters that say where in the region it is) of each."""
    offset = 0
    for tensor in tensors:
        size = len(tensor.raw)
        yield tensor, {"shared_memory_region": REGION, "shared_memory_offset": offset, "shared_memory_byte_size": size}
        offset += size


def _parameter(name, value):
    choice = _field(3, value.encode()) if isinstance(value, str) else b"\x10" + _varint(value)
    return _field(4, _field(1, name.encode()) + _field(2, choice))


def _kserve_input(tensor, parameters=()):
    shape = b"".join(_varint(size) for size in tensor.shape)
    message = _field(1, tensor.name.encode()) + _field(2, tensor.kind.encode()) + _field(3, shape)
    return _field(5, message + b"".join(_parameter(*each) for each in parameters))


def _kserve(model, tensors):
    message = _field(1, model.encode()) + b"".join(_kserve_input(tensor) for tensor in tensors)
    return message + b"".join(_field(7, tensor.raw) for tensor in tensors)


def _kserve_shared(model, tensors):
    inputs = (_kserve_input(tensor, parameters.items()) for tensor, parameters in in_region(tensors))
    return _field(1, model.encode()) + b"".join(inputs)


def _tfs(model, tensors):
    message = _field(1, _field(1, model.encode()))
    for tensor in tensors:
        dims = b"".join(_field(2, b"\x08" + _varint(size)) for size in tensor.shape)
        proto = b"\x08" + _varint(KINDS[tensor.kind].tfs) + _field(2, dims) + _field(4, tensor.raw)
        message += _field(2, _field(1, tensor.name.encode()) + _field(2, proto))
    return message


def _grpc(path, message):
    headers = ("content-type: application/grpc", "te: trailers")
    return Request("grpc", path, headers, b"\0" + struct.pack(">I", len(message)) + message)


def _described(tensor, **more):
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.kind, **more}


def kserve_json(tensors):
    return json.dumps({"inputs": [_described(t, data=t.values()) for t in tensors]}).encode()


def _nested(values, shape):
    for size in reversed(shape[1:]):
        values = [values[i : i + size] for i in range(0, len(values), size)]
    return values


def _tfs_json(tensors):
    return json.dumps({"inputs": {t.name: _nested(t.values(), t.shape) for t in tensors}}).encode()


def request(protocol, model, tensors):
    if protocol in (KSERVE_GRPC, GRPC_SHARED):
        message = _kserve if protocol == KSERVE_GRPC else _kserve_shared
        return _grpc("/inference.GRPCInferenceService/ModelInfer", message(model, tensors))
    if protocol == TFS_GRPC:
        return _grpc("/tensorflow.serving.PredictionService/Predict", _tfs(model, tensors))
    if protocol == TFS_JSON:
        return Request("rest", f"/v1/models/{model}:predict", ("content-type: application/json",), _tfs_json(tensors))
    path = f"/v2/models/{model}/infer"
    if protocol == KSERVE_JSON:
        return Request("rest", path, ("content-type: application/json",), kserve_json(tensors))
    if protocol == REST_SHARED:
        inputs = [_described(t, parameters=parameters) for t, parameters in in_region(tensors)]
        body = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        return Request("rest", path, ("content-type: application/json",), body)
    head = json.dumps({
        "inputs": [_described(t, parameters={"binary_data_size": len(t.raw)}) for t in tensors],
        "parameters": {"binary_data_output": True},
    }).encode()
    headers = (f"inference-header-content-length: {len(head)}", "content-type: application/octet-stream")
    return Request("rest", path, headers, head + b"".join(t.raw for t in tensors))
