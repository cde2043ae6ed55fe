"""One model in each format that is not OpenVINO IR. All compute a = b + 1 for FP32 [1,10], with a constant of the model's own,
so that what is read is a graph and its weights.

ONNX comes from its own package, TensorFlow's messages from `ovmsclient`, which carries them; TensorFlow Lite's and Paddle's
files are written here field by field, after their published schemas.
"""

import struct

import flatbuffers
import numpy as np
import onnx
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import graph_pb2, types_pb2
from ovmsclient.tfs_compat.protos.tensorflow.core.protobuf import saved_model_pb2

ONES = np.ones((1, 10), np.float32)


def onnx_model(folder):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["b", "one"], ["a"])],
        "dummy",
        [onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [1, 10])],
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [1, 10])],
        [onnx.numpy_helper.from_array(ONES, "one")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "model.onnx")


def onnx_dynamic_model(folder):
    """b [batch,10] -> a: the batch is a name, not a number."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["b", "one"], ["a"])],
        "dummy",
        [onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, ["batch", 10])],
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, ["batch", 10])],
        [onnx.numpy_helper.from_array(ONES, "one")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "model.onnx")


def _set_shape(shape, dims):
    for size in dims:
        shape.dim.add().size = size


def _tensorflow_graph(graph):
    """b (a placeholder) + one (a constant) = a."""
    graph.versions.producer = 1395
    source = graph.node.add(name="b", op="Placeholder")
    source.attr["dtype"].type = types_pb2.DT_FLOAT
    _set_shape(source.attr["shape"].shape, ONES.shape)
    one = graph.node.add(name="one", op="Const")
    one.attr["dtype"].type = types_pb2.DT_FLOAT
    tensor = one.attr["value"].tensor
    tensor.dtype = types_pb2.DT_FLOAT
    _set_shape(tensor.tensor_shape, ONES.shape)
    tensor.tensor_content = ONES.tobytes()
    total = graph.node.add(name="a", op="AddV2", input=["b", "one"])
    total.attr["T"].type = types_pb2.DT_FLOAT


def tensorflow_frozen(folder):
    graph = graph_pb2.GraphDef()
    _tensorflow_graph(graph)
    (folder / "model.pb").write_bytes(graph.SerializeToString())


def tensorflow_saved_model(folder):
    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = saved.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.meta_info_def.tensorflow_version = "2.12.0"
    _tensorflow_graph(meta.graph_def)
    signature = meta.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for infos, name in ((signature.inputs, "b"), (signature.outputs, "a")):
        infos[name].name = f"{name}:0"
        infos[name].dtype = types_pb2.DT_FLOAT
        _set_shape(infos[name].tensor_shape, ONES.shape)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())


class _Table:
    """A flatbuffer table, its fields by number. Strings, vectors and tables that it refers to are made before it."""

    def __init__(self, builder):
        self.builder = builder

    def make(self, count, **fields):
        builder = self.builder
        builder.StartObject(count)
        for key, value in fields.items():
            kind, slot = key.split("_")
            slot = int(slot)
            if kind == "ref":
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            elif kind == "u32":
                builder.PrependUint32Slot(slot, value, 0)
            elif kind == "i32":
                builder.PrependInt32Slot(slot, value, 0)
            elif kind == "u8":
                builder.PrependUint8Slot(slot, value, 0)
            else:
                raise ValueError(kind)
        return builder.EndObject()

    def refs(self, offsets):
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def numbers(self, values, dtype=np.int32):
        return self.builder.CreateNumpyVector(np.array(values, dtype))


def tflite_model(folder):
    """Model{1: operator codes, 2: subgraphs, 4: buffers}, schema 3; builtin operator 0 is ADD, its options number 11."""
    builder = flatbuffers.Builder(1024)
    table = _Table(builder)
    empty = table.make(1)
    weights = table.make(1, ref_0=table.numbers(np.frombuffer(ONES.tobytes(), np.uint8), np.uint8))
    tensors = []
    for name, buffer in (("b", 1), ("one", 2), ("a", 3)):
        text = builder.CreateString(name)
        shape = table.numbers(ONES.shape)
        tensors.append(table.make(4, ref_0=shape, u32_2=buffer, ref_3=text))
    inputs, outputs = table.numbers([0, 1]), table.numbers([2])
    options = table.make(1)
    operator = table.make(5, ref_1=inputs, ref_2=outputs, u8_3=11, ref_4=options)
    tensor_list, operator_list = table.refs(tensors), table.refs([operator])
    graph_inputs, graph_outputs = table.numbers([0]), table.numbers([2])
    graph_name = builder.CreateString("main")
    graph = table.make(5, ref_0=tensor_list, ref_1=graph_inputs, ref_2=graph_outputs, ref_3=operator_list, ref_4=graph_name)
    code = table.make(4, i32_2=1)
    codes, graphs, buffers = table.refs([code]), table.refs([graph]), table.refs([empty, empty, weights, empty])
    model = table.make(5, u32_0=3, ref_1=codes, ref_2=graphs, ref_4=buffers)
    builder.Finish(model, file_identifier=b"TFL3")
    (folder / "model.tflite").write_bytes(bytes(builder.Output()))


def _varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number, value):
    """One field of a protobuf message: an int is a varint, a float 32 bits, text and bytes have their length before them."""
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, str):
        value = value.encode()
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _message(*fields):
    return b"".join(_field(number, value) for number, value in fields)


_FP32, _DENSE, _FEED, _FETCH = 5, 7, 9, 10


def _paddle_tensor_desc():
    return _message((1, _FP32), *((2, size) for size in ONES.shape))


def _paddle_variable(name, persistable):
    dense = _message((1, _paddle_tensor_desc()), (2, 0))
    return _message((1, name), (2, _message((1, _DENSE), (3, dense))), (3, persistable), (4, 0))


def _paddle_operator(kind, inputs, outputs, **attributes):
    def slots(number, named):
        return [(number, _message((1, slot), (2, name))) for slot, name in named.items()]

    attrs = [(4, _message((1, name), (2, 0), (3, value))) for name, value in attributes.items()]
    return _message(*slots(1, inputs), *slots(2, outputs), (3, kind), *attrs)


def paddle_model(folder):
    """ProgramDesc{1: blocks, 4: version}; the weights' file holds each persistable variable: version, LoD, descriptor, data."""
    variables = [
        _message((1, "feed"), (2, _message((1, _FEED))), (3, 1)),
        _message((1, "fetch"), (2, _message((1, _FETCH))), (3, 1)),
        _paddle_variable("b", 0),
        _paddle_variable("one", 1),
        _paddle_variable("a", 0),
    ]
    operators = [
        _paddle_operator("feed", {"X": "feed"}, {"Out": "b"}, col=0),
        _paddle_operator("elementwise_add", {"X": "b", "Y": "one"}, {"Out": "a"}, axis=-1),
        _paddle_operator("fetch", {"X": "a"}, {"Out": "fetch"}, col=0),
    ]
    block = _message((1, 0), (2, -1), *((3, v) for v in variables), *((4, o) for o in operators))
    program = _message((1, block), (4, _message((1, 2004000))))
    (folder / "model.pdmodel").write_bytes(program)
    description = _paddle_tensor_desc()
    (folder / "model.pdiparams").write_bytes(struct.pack("<IQIi", 0, 0, 0, len(description)) + description + ONES.tobytes())


MAKERS = {
    "onnx": onnx_model,
    "onnx_dynamic": onnx_dynamic_model,
    "tensorflow": tensorflow_frozen,
    "saved_model": tensorflow_saved_model,
    "tflite": tflite_model,
    "paddle": paddle_model,
}
