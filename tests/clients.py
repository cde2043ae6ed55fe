"""The front ends of the server behind one face, so that one table of cases can run through all of them.

A request is a model, a version and a list of Tensors; an Outcome is what came back. Nothing here checks or corrects what a test
wants to send: a wrong shape goes out as it is.
"""

import dataclasses
import json

import grpc
import ml_dtypes
import numpy as np
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tritonclient.grpc import service_pb2, service_pb2_grpc

from harness import http_call

NUMPY = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "FP32": np.float32,
    "FP64": np.float64,
}

# datatype -> number of tensorflow.DataType, field of TensorProto
TENSORFLOW = {
    "FP32": (1, "float_val"),
    "FP64": (2, "double_val"),
    "INT32": (3, "int_val"),
    "UINT8": (4, "int_val"),
    "INT16": (5, "int_val"),
    "INT8": (6, "int_val"),
    "BYTES": (7, "string_val"),
    "INT64": (9, "int64_val"),
    "BOOL": (10, "bool_val"),
    "BF16": (14, "half_val"),
    "UINT16": (17, "int_val"),
    "FP16": (19, "half_val"),
    "UINT32": (22, "uint32_val"),
    "UINT64": (23, "uint64_val"),
}
TENSORFLOW_NAMES = {number: name for name, (number, _) in TENSORFLOW.items()}

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

# What gRPC calls it -> what HTTP does.
HTTP_CODES = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
}


@dataclasses.dataclass
class Tensor:
    """`data` is what is sent, flat or not; `shape` is what is said of it. BYTES data is a list of bytes."""

    name: str
    datatype: str
    shape: tuple
    data: object

    def flat(self):
        if self.datatype == "BYTES":
            return list(np.array(self.data, dtype=object).reshape(-1))
        return np.asarray(self.data, NUMPY[self.datatype]).reshape(-1)

    def raw(self) -> bytes:
        if self.datatype == "BYTES":
            return b"".join(len(item).to_bytes(4, "little") + item for item in self.flat())
        return self.flat().tobytes()

    def plain(self) -> list:
        """Python values: bool, int, float or str."""
        if self.datatype == "BYTES":
            return [item.decode() for item in self.flat()]
        return self.flat().tolist()

    def nested(self):
        """Nested lists after the shape, which must fit."""
        return np.array(self.plain(), dtype=object).reshape(self.shape).tolist()


def tensor(name, datatype, data):
    """A Tensor whose shape is that of its data."""
    if datatype == "BYTES":
        data = np.array(data, dtype=object)
        return Tensor(name, datatype, data.shape, list(data.reshape(-1)))
    data = np.asarray(data, NUMPY[datatype])
    return Tensor(name, datatype, data.shape, data)


@dataclasses.dataclass
class Outcome:
    code: str  # of gRPC, or the number of HTTP as text
    message: str = ""
    outputs: dict = dataclasses.field(default_factory=dict)  # name -> Tensor; JSON of TFS has no datatype: ""
    model: str = ""
    version: str = ""
    id: str = ""

    @property
    def ok(self):
        return self.code in ("OK", "200")


def unpack_strings(raw):
    items, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        items.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    assert at == len(raw)
    return items


def from_raw(name, datatype, shape, raw):
    if datatype == "BYTES":
        return Tensor(name, datatype, tuple(shape), unpack_strings(raw))
    return Tensor(name, datatype, tuple(shape), np.frombuffer(raw, NUMPY[datatype]).reshape(shape))


def rpc(call, *args, **kwargs):
    """(response, None) or (None, Outcome)."""
    try:
        return call(*args, timeout=30, **kwargs), None
    except grpc.RpcError as error:
        return None, Outcome(error.code().name, error.details())


class FrontEnd:
    name = ""
    family = ""
    datatypes = tuple(TENSORFLOW)
    states_shape = True  # shape and data can disagree
    states_datatype = True
    selects_outputs = True

    def __init__(self, server):
        self.server = server

    def expected_code(self, name):
        return name if self.name.split("-")[1] == "grpc" else str(HTTP_CODES[name])

    def close(self):
        pass


GRPC_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class KserveGrpc(FrontEnd):
    """Tensors in raw_input_contents."""

    name = "kserve-grpc-raw"
    family = "kserve"
    typed = False

    def __init__(self, server):
        super().__init__(server)
        self.channel = grpc.insecure_channel(server.grpc, options=GRPC_OPTIONS)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def close(self):
        self.channel.close()

    def request(self, model, inputs, version="", outputs=(), **fields):
        message = service_pb2.ModelInferRequest(model_name=model, model_version=version, **fields)
        for item in inputs:
            entry = message.inputs.add(name=item.name, datatype=item.datatype, shape=list(item.shape))
            if not self.typed:
                message.raw_input_contents.append(item.raw())
            elif item.datatype == "BYTES":
                entry.contents.bytes_contents.extend(item.flat())
            else:
                getattr(entry.contents, CONTENTS[item.datatype]).extend(item.plain())
        for name in outputs:
            message.outputs.add(name=name)
        return message

    @staticmethod
    def outcome(response):
        outputs = {}
        for item, raw in zip(response.outputs, response.raw_output_contents, strict=True):
            outputs[item.name] = from_raw(item.name, item.datatype, item.shape, raw)
        return Outcome("OK", "", outputs, response.model_name, response.model_version, response.id)

    def infer(self, model, inputs, version="", outputs=()):
        response, failed = rpc(self.stub.ModelInfer, self.request(model, inputs, version, outputs))
        return failed or self.outcome(response)

    def metadata(self, model, version=""):
        """(Outcome, inputs, outputs), each tensor as (name, datatype, shape)."""
        request = service_pb2.ModelMetadataRequest(name=model, version=version)
        response, failed = rpc(self.stub.ModelMetadata, request)
        if failed:
            return failed, [], []
        sides = [[(t.name, t.datatype, tuple(t.shape)) for t in side] for side in (response.inputs, response.outputs)]
        return Outcome("OK", model=response.name, version=",".join(response.versions)), *sides


class KserveGrpcTyped(KserveGrpc):
    """Tensors in the typed fields of `contents`."""

    name = "kserve-grpc-typed"
    typed = True
    datatypes = tuple(CONTENTS)


class Rest(FrontEnd):
    def call(self, method, path, body=None, headers=None):
        return http_call(self.server.rest, method, path, body, headers)

    @staticmethod
    def failed(answer):
        return Outcome(str(answer.code), answer.error)


class KserveRest(Rest):
    """Everything in JSON."""

    name = "kserve-rest-json"
    family = "kserve"
    datatypes = tuple(CONTENTS)

    @staticmethod
    def path(model, version, tail=""):
        return f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + tail

    def body(self, inputs, outputs):
        document = {"inputs": []}
        for item in inputs:
            entry = {"name": item.name, "datatype": item.datatype, "shape": list(item.shape), "data": item.plain()}
            document["inputs"].append(entry)
        if outputs:
            document["outputs"] = [{"name": name} for name in outputs]
        return json.dumps(document).encode(), {}

    @classmethod
    def outcome(cls, answer):
        if answer.code != 200:
            return cls.failed(answer)
        size = int(answer.headers.get("inference-header-content-length", len(answer.body)))
        document, rest = json.loads(answer.body[:size]), answer.body[size:]
        outputs = {}
        for item in document["outputs"]:
            if "data" in item:
                data = item["data"]
                if item["datatype"] == "BYTES":
                    data = [text.encode() for text in data]
                else:
                    data = np.array(data, NUMPY[item["datatype"]]).reshape(item["shape"])
                outputs[item["name"]] = Tensor(item["name"], item["datatype"], tuple(item["shape"]), data)
            else:
                count = item["parameters"]["binary_data_size"]
                outputs[item["name"]] = from_raw(item["name"], item["datatype"], item["shape"], rest[:count])
                rest = rest[count:]
        assert not rest, "bytes that belong to no output"
        return Outcome("200", "", outputs, document["model_name"], document["model_version"], document.get("id", ""))

    def infer(self, model, inputs, version="", outputs=()):
        body, headers = self.body(inputs, outputs)
        return self.outcome(self.call("POST", self.path(model, version, "/infer"), body, headers))

    def metadata(self, model, version=""):
        answer = self.call("GET", self.path(model, version))
        if answer.code != 200:
            return self.failed(answer), [], []
        document = answer.json()
        sides = [[(t["name"], t["datatype"], tuple(t["shape"])) for t in document[side]] for side in ("inputs", "outputs")]
        return Outcome("200", model=document["name"], version=",".join(document["versions"])), *sides


class KserveRestBinary(KserveRest):
    """Inputs and outputs by the binary extension."""

    name = "kserve-rest-binary"
    datatypes = tuple(TENSORFLOW)

    def body(self, inputs, outputs):
        document = {"inputs": [], "parameters": {"binary_data_output": True}}
        tail = b""
        for item in inputs:
            raw = item.raw()
            entry = {"name": item.name, "datatype": item.datatype, "shape": list(item.shape)}
            entry["parameters"] = {"binary_data_size": len(raw)}
            document["inputs"].append(entry)
            tail += raw
        if outputs:
            document["outputs"] = [{"name": name} for name in outputs]
        head = json.dumps(document).encode()
        return head + tail, {"Inference-Header-Content-Length": str(len(head))}


class TfsGrpc(FrontEnd):
    """Tensors in tensor_content."""

    name = "tfs-grpc-content"
    family = "tfs"
    typed = False

    def __init__(self, server):
        super().__init__(server)
        self.channel = grpc.insecure_channel(server.grpc, options=GRPC_OPTIONS)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def close(self):
        self.channel.close()

    def proto(self, item):
        number, field = TENSORFLOW[item.datatype]
        message = tensor_pb2.TensorProto(dtype=number)
        for size in item.shape:
            message.tensor_shape.dim.add().size = size
        if item.datatype == "BYTES":
            message.string_val.extend(item.flat())
        elif not self.typed:
            message.tensor_content = item.raw()
        elif field == "half_val":
            message.half_val.extend(item.flat().view(np.uint16).tolist())
        else:
            getattr(message, field).extend(item.plain())
        return message

    @staticmethod
    def decode(name, message):
        datatype = TENSORFLOW_NAMES[message.dtype]
        shape = tuple(dim.size for dim in message.tensor_shape.dim)
        if datatype == "BYTES":
            return Tensor(name, datatype, shape, list(message.string_val))
        return from_raw(name, datatype, shape, message.tensor_content)

    def request(self, model, inputs, version="", outputs=()):
        message = predict_pb2.PredictRequest(output_filter=outputs)
        message.model_spec.name = model
        if version:
            message.model_spec.version.value = int(version)
        for item in inputs:
            message.inputs[item.name].CopyFrom(self.proto(item))
        return message

    def infer(self, model, inputs, version="", outputs=()):
        response, failed = rpc(self.stub.Predict, self.request(model, inputs, version, outputs))
        if failed:
            return failed
        found = {name: self.decode(name, message) for name, message in response.outputs.items()}
        return Outcome("OK", "", found, response.model_spec.name, str(response.model_spec.version.value))

    def metadata(self, model, version=""):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = model
        if version:
            request.model_spec.version.value = int(version)
        response, failed = rpc(self.stub.GetModelMetadata, request)
        if failed:
            return failed, [], []
        packed = response.metadata["signature_def"]
        assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        signatures = get_model_metadata_pb2.SignatureDefMap.FromString(packed.value).signature_def
        assert list(signatures) == ["serving_default"]
        sides = []
        for side in (signatures["serving_default"].inputs, signatures["serving_default"].outputs):
            sides.append(
                [
                    (name, TENSORFLOW_NAMES[info.dtype], tuple(dim.size for dim in info.tensor_shape.dim))
                    for name, info in side.items()
                ]
            )
        spec = response.model_spec
        return Outcome("OK", model=spec.name, version=str(spec.version.value)), *sides

    def status(self, model, version=""):
        """(Outcome, [(version, state, error code, error message)])."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        if version:
            request.model_spec.version.value = int(version)
        response, failed = rpc(self.models.GetModelStatus, request)
        if failed:
            return failed, []
        entries = response.model_version_status
        return Outcome("OK"), [(e.version, e.state, e.status.error_code, e.status.error_message) for e in entries]


class TfsGrpcTyped(TfsGrpc):
    """Tensors in the typed *_val fields."""

    name = "tfs-grpc-typed"
    typed = True


class TfsRest(Rest):
    """The column layout with names."""

    name = "tfs-rest-column"
    family = "tfs"
    datatypes = tuple(CONTENTS)
    states_shape = False
    states_datatype = False
    selects_outputs = False

    @staticmethod
    def path(model, version, tail=""):
        return f"/v1/models/{model}" + (f"/versions/{version}" if version else "") + tail

    def body(self, inputs):
        return {"inputs": {item.name: item.nested() for item in inputs}}

    def outputs(self, document, names):
        found = document["outputs"]
        if len(names) == 1:
            found = {names[0]: found}
        return {name: self.decode(name, value) for name, value in found.items()}

    @staticmethod
    def decode(name, value):
        array = np.array(value, dtype=object)  # Python's own numbers: integers of 64 bits stay whole
        if array.size and isinstance(array.flat[0], str):
            return Tensor(name, "BYTES", array.shape, [text.encode() for text in array.flat])
        return Tensor(name, "", array.shape, array)

    def infer(self, model, inputs, version="", outputs=(), names=None):
        """`names`: the model's outputs; asked of the server when not given."""
        answer = self.call("POST", self.path(model, version, ":predict"), self.body(inputs))
        if answer.code != 200:
            return self.failed(answer)
        if names is None:
            names = [name for name, _, _ in self.metadata(model, version)[2]]
        return Outcome("200", "", self.outputs(answer.json(), names))

    def metadata(self, model, version=""):
        answer = self.call("GET", self.path(model, version, "/metadata"))
        if answer.code != 200:
            return self.failed(answer), [], []
        document = answer.json()
        spec = document.get("modelSpec") or document["model_spec"]
        signatures = document["metadata"]["signature_def"]
        signature = (signatures.get("signatureDef") or signatures["signature_def"])["serving_default"]
        sides = []
        for side in ("inputs", "outputs"):
            entries = []
            for name, info in signature[side].items():
                shape = info.get("tensorShape") or info.get("tensor_shape") or {}
                number = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_name[info["dtype"]]
                dims = tuple(int(dim["size"]) for dim in shape.get("dim", []))
                entries.append((name, TENSORFLOW_NAMES[number.number], dims))
            sides.append(entries)
        return Outcome("200", model=spec["name"], version=str(spec["version"])), *sides

    def status(self, model, version=""):
        answer = self.call("GET", self.path(model, version))
        if answer.code != 200:
            return self.failed(answer), []
        entries = answer.json()["model_version_status"]
        return Outcome("200"), [
            (e["version"], e["state"], e["status"]["error_code"], e["status"]["error_message"]) for e in entries
        ]


class TfsRestRow(TfsRest):
    """The row layout with names."""

    name = "tfs-rest-row"

    def body(self, inputs):
        rows = inputs[0].shape[0] if inputs else 0
        return {"instances": [{item.name: item.nested()[row] for item in inputs} for row in range(rows)]}

    def outputs(self, document, names):
        rows = document["predictions"]
        if len(names) == 1:
            return {names[0]: self.decode(names[0], rows)}
        return {name: self.decode(name, [row[name] for row in rows]) for name in names}


FRONT_ENDS = (
    KserveGrpc,
    KserveGrpcTyped,
    KserveRest,
    KserveRestBinary,
    TfsGrpc,
    TfsGrpcTyped,
    TfsRest,
    TfsRestRow,
)


def ask(server, front_end, model, tensors):
    """The outputs of one good inference over a connection of its own."""
    made = front_end(server)
    try:
        outcome = made.infer(model, tensors)
    finally:
        made.close()
    assert outcome.ok, outcome
    return outcome.outputs
