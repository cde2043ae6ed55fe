"""A round of calls by the `tensorflow-serving-api` package. Runs in an environment of its own (requirements-tfs.txt), started
by test_tfs_api.py with the server's gRPC address; prints `ok` at the end."""

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

channel = grpc.insecure_channel(sys.argv[1])
prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)


def predict(model, version=None, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value)
    response = prediction.Predict(request, 10)
    assert response.model_spec.name == model and response.model_spec.version.value == 1
    return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


ten = np.arange(10, dtype=np.float32).reshape(1, 10)
for version in (None, 0, 1):
    assert np.array_equal(predict("dummy", version, b=tf.make_tensor_proto(ten))["a"], ten + 1)
# One value for all elements: TensorFlow writes it into float_val.
assert np.array_equal(predict("dummy", b=tf.make_tensor_proto(2.0, shape=[1, 10]))["a"], np.full((1, 10), 3, np.float32))
assert predict("scalar", model_scalar_input=tf.make_tensor_proto(2.0))["model_scalar_output"] == 3.0

samples = {
    "bool": [[True, False]],
    "int8": [[-128, 127]],
    "int16": [[-(2**15), 2**15 - 1]],
    "int32": [[-(2**31), 2**31 - 1]],
    "int64": [[-(2**63), 2**63 - 1]],
    "uint8": [[0, 255]],
    "uint16": [[0, 2**16 - 1]],
    "uint32": [[0, 2**32 - 1]],
    "uint64": [[0, 2**64 - 1]],
    "float16": [[1 / 3, 65504]],
    "bfloat16": [[1 / 3, 3e38]],
    "float32": [[1 / 3, np.inf]],
    "float64": [[1 / 3, 1e300]],
}
served = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64"}
for name, values in samples.items():
    for data in (values, [values[0][:1]]):
        array = np.array(data, tf.as_dtype(name).as_numpy_dtype)
        found = predict(f"passthrough_{served.get(name, name)}", data=tf.make_tensor_proto(array))["data"]
        assert found.dtype == array.dtype and found.tobytes() == array.tobytes(), name
found = predict("passthrough_string", my_name=tf.make_tensor_proto([b"one", b"\xff\x00"]))["my_name"]
assert found.tolist() == [b"one", b"\xff\x00"]

request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
request.model_spec.name = "dummy"
signatures = get_model_metadata_pb2.SignatureDefMap()
assert prediction.GetModelMetadata(request, 10).metadata["signature_def"].Unpack(signatures)
info = signatures.signature_def["serving_default"].inputs["b"]
assert info.dtype == tf.float32.as_datatype_enum and tf.TensorShape(info.tensor_shape) == [1, 10]

status = get_model_status_pb2.GetModelStatusRequest()
status.model_spec.name = "dummy"
(entry,) = models.GetModelStatus(status, 10).model_version_status
assert entry.version == 1 and entry.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE

try:
    predict("dummy", b=tf.make_tensor_proto(ten[:, :9]))
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "Invalid input shape" in error.details()
else:
    raise AssertionError("a wrong shape was accepted")
print("ok")
