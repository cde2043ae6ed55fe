"""Models in OpenVINO IR. Each maker writes model.xml and model.bin into the version folder it is given."""

import functools
import re

import numpy as np
import openvino as ov
from openvino import opset13 as ops

# KServe's name of each element type -> OpenVINO's. BYTES is the string type.
ELEMENT_TYPES = {
    "BOOL": ov.Type.boolean,
    "INT8": ov.Type.i8,
    "INT16": ov.Type.i16,
    "INT32": ov.Type.i32,
    "INT64": ov.Type.i64,
    "UINT8": ov.Type.u8,
    "UINT16": ov.Type.u16,
    "UINT32": ov.Type.u32,
    "UINT64": ov.Type.u64,
    "FP16": ov.Type.f16,
    "BF16": ov.Type.bf16,
    "FP32": ov.Type.f32,
    "FP64": ov.Type.f64,
    "BYTES": ov.Type.string,
}


def _input(name, shape, element_type=ov.Type.f32):
    node = ops.parameter(ov.PartialShape(shape), element_type, name=name)
    node.output(0).set_names({name})
    return node


def _output(node, name):
    result = ops.result(node, name=f"{name}/result")
    result.output(0).set_names({name})
    return result


def _save(folder, results, inputs, name, info=None):
    """`info`: what the model says of itself, as rt_info."""
    model = ov.Model(results, inputs, name)
    for key, value in (info or {}).items():
        model.set_rt_info(value, ["model_info", *key.split("/")])
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)


def plus_one(folder, shape=(1, 10), element_type=ov.Type.f32, source="b", target="a", addend=1):
    """One input, one output, output = input + addend."""
    value = _input(source, list(shape), element_type)
    total = ops.add(value, ops.convert(ops.constant(np.array(addend, np.float32)), element_type))
    _save(folder, [_output(total, target)], [value], "plus_one")


def add_two_inputs(folder):
    left, right = _input("input1", [1, 10]), _input("input2", [1, 10])
    _save(folder, [_output(ops.add(left, right), "sum")], [left, right], "add_two_inputs")


def increment_4d(folder):
    """[1,3,4,5], every element plus one."""
    plus_one(folder, (1, 3, 4, 5), source="input", target="output")


def passthrough(folder, element_type, shape=(-1, -1), name="data"):
    """What goes in comes out, bit for bit, whatever the sizes: no operation stands between, because the CPU device computes
    64-bit types in 32 bits. Input and output are one tensor to OpenVINO, so they have one name."""
    value = _input(name, list(shape), element_type)
    _save(folder, [_output(value, name)], [value], "passthrough")


def two_outputs(folder):
    """x [?,4] -> doubled [?,4] and total [?,1], in this order."""
    x = _input("x", [-1, 4])
    doubled = ops.multiply(x, ops.constant(np.array(2, np.float32)))
    total = ops.reduce_sum(x, ops.constant(np.array([1], np.int64)), keep_dims=True)
    _save(folder, [_output(doubled, "doubled"), _output(total, "total")], [x], "two_outputs",
          {"labels": "cat dog", "confidence_threshold": 0.5, "more/deep": "1"})


def no_name_output(folder):
    """Two outputs that have no names at all: input + 1 and input * 2."""
    x = _input("x", [1, 4])
    one = ops.add(x, ops.constant(np.array(1, np.float32)))
    two = ops.multiply(x, ops.constant(np.array(2, np.float32)))
    _save(folder, [ops.result(one), ops.result(two)], [x], "no_name_output")
    # OpenVINO names the outputs after their Result nodes when it writes them; older writers did not.
    file = folder / "model.xml"
    file.write_text(re.sub(r' (output_)?names="Result_[0-9]+"', "", file.read_text()))


def dynamic_batch(folder):
    """[?,10] -> the same plus one; the batch may be zero."""
    plus_one(folder, (-1, 10))


def sink(folder):
    """602 KB in, 4 bytes out: what a big request costs by itself."""
    x = _input("x", [1, 3, 224, 224])
    total = ops.reduce_sum(x, ops.constant(np.array([1, 2, 3], np.int64)), keep_dims=False)
    _save(folder, [_output(total, "sum")], [x], "sink")


def mlp(folder, width, layers, batch=1):
    """x [batch,width] -> y: matrix products with a ReLU after each. Large ones are bound by reading their weights, so that more
    rows cost little. For measuring; not among the models that the tests share."""
    draw = np.random.default_rng(0)
    x = _input("x", [batch, width])
    node = x
    for _ in range(layers):
        weights = draw.standard_normal((width, width), np.float32) / np.float32(np.sqrt(width / 2))
        node = ops.relu(ops.matmul(node, ops.constant(weights), False, True))
    _save(folder, [_output(node, "y")], [x], "mlp")


def loop(folder, trip_count=None):
    """Adds one to `x` FP32 [1,10], one element-wise step after the other: the time is in proportion to the number of steps.

    The steps are `trip_count`, or the input `n` INT64 [] where that is None.
    """
    x = _input("x", [1, 10])
    inputs = [x]
    if trip_count is None:
        count = _input("n", [], ov.Type.i64)
        inputs.append(count)
    else:
        count = ops.constant(np.array(trip_count, np.int64))
    state = ops.parameter(ov.PartialShape([1, 10]), ov.Type.f32)
    stepped = ops.add(state, ops.constant(np.ones((1, 10), np.float32)))
    go_on = ops.constant(np.array([True]))
    body = ov.Model([stepped, go_on], [state], "step")
    steps = ops.loop(count, ops.constant(np.array(True)))
    steps.set_function(body)
    steps.set_special_body_ports([-1, 1])
    steps.set_merged_input(body.get_parameters()[0], x.output(0), body.get_results()[0].output(0))
    final = steps.get_iter_value(body.get_results()[0].output(0), -1)
    _save(folder, [_output(final, "y")], inputs, "loop")


def _variable(name, shape, element_type=ov.Type.f32):
    """The variable's value as the call before left it; zeros in the first one."""
    zeros = ops.constant(np.zeros(shape, np.float32))
    return ops.read_value(zeros, name, element_type, list(shape))


def accumulator(folder, size=10, steps=0):
    """Keeps state: `sum` FP32 [1,size] is the sum of all `x` so far, `count` FP32 [1,1] the number of calls.

    With `steps` it does so many element-wise steps besides, so that an inference takes time.
    """
    x = _input("x", [1, size])
    value = ops.add(_variable("sum", (1, size)), x)
    count = ops.add(_variable("count", (1, 1)), ops.constant(np.ones((1, 1), np.float32)))
    result = value
    if steps:
        state = ops.parameter(ov.PartialShape([1, size]), ov.Type.f32)
        stepped = ops.add(state, ops.constant(np.zeros((1, size), np.float32)))
        go_on = ops.constant(np.array([True]))
        body = ov.Model([stepped, go_on], [state], "step")
        loop_node = ops.loop(ops.constant(np.array(steps, np.int64)), ops.constant(np.array(True)))
        loop_node.set_function(body)
        loop_node.set_special_body_ports([-1, 1])
        loop_node.set_merged_input(body.get_parameters()[0], value.output(0), body.get_results()[0].output(0))
        result = loop_node.get_iter_value(body.get_results()[0].output(0), -1)
    sinks = [ops.assign(value, "sum"), ops.assign(count, "count")]
    model = ov.Model([_output(result, "sum"), _output(count, "count")], sinks, [x], "accumulator")
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)


def recurrent(folder, size=64):
    """Keeps state: h = tanh(x W + h U + b), `y` FP32 [1,size] is h; where rounding differs, answers differ."""
    random = np.random.default_rng(7)

    def weights(*shape):
        return ops.constant(random.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(size)))

    x = _input("x", [1, size])
    before = _variable("h", (1, size))
    total = ops.add(
        ops.add(ops.matmul(x, weights(size, size), False, False), ops.matmul(before, weights(size, size), False, False)),
        weights(1, size),
    )
    after = ops.tanh(total)
    model = ov.Model([_output(after, "y")], [ops.assign(after, "h")], [x], "recurrent")
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)


def scan(folder, size=8):
    """A loop over the second dimension of `x` FP32 [1,1,size]: `y` is the running sum, kept in one call alone."""
    x = _input("x", [1, 1, size])
    step = ops.parameter(ov.PartialShape([1, 1, size]), ov.Type.f32)
    before = ops.parameter(ov.PartialShape([1, 1, size]), ov.Type.f32)
    after = ops.add(step, before)
    iterator = ops.tensor_iterator()
    body = ov.Model([after], [step, before], "scan_step")
    iterator.set_body(body)
    iterator.set_sliced_input(step, x.output(0), 0, 1, 1, -1, 1)
    zeros = ops.constant(np.zeros((1, 1, size), np.float32))
    iterator.set_merged_input(before, zeros.output(0), body.get_results()[0].output(0))
    last = iterator.get_iter_value(body.get_results()[0].output(0), -1)
    _save(folder, [_output(last, "y")], [x], "scan")


def two_operations(folder):
    """ReLU(x + 1): two operations, so that each may go to a device of its own."""
    x = _input("x", [1, 10])
    added = ops.add(x, ops.constant(np.ones((1, 10), np.float32)))
    _save(folder, [_output(ops.relu(added), "y")], [x], "two_operations")


def no_inputs(folder):
    """Gives 0, 1, 2, 3 and takes nothing."""
    _save(folder, [_output(ops.relu(ops.constant(np.arange(4, dtype=np.float32))), "c")], [], "no_inputs")


def divide(folder):
    """x INT32 [?] / d INT32 [?], by element: shapes that the model takes, and that may not fit each other."""
    x, d = _input("x", [-1], ov.Type.i32), _input("d", [-1], ov.Type.i32)
    _save(folder, [_output(ops.divide(x, d), "quotient")], [x, d], "divide")


def broken(folder):
    """Files with the right names that no runtime can read."""
    (folder / "model.xml").write_text("<net name='broken' version='11'><layers>")
    (folder / "model.bin").write_bytes(b"\0" * 16)


# On one core a step of the loop takes 1 to 4 us: an inference of `slow` takes about a quarter of a second.
SLOW_STEPS = 150_000

MAKERS = {
    "dummy": plus_one,
    "dummy_fp64": functools.partial(plus_one, element_type=ov.Type.f64, source="input:0", target="output:0"),
    "add_two_inputs": add_two_inputs,
    "increment_1x3x4x5": increment_4d,
    "scalar": functools.partial(plus_one, shape=(), source="model_scalar_input", target="model_scalar_output"),
    "dynamic_batch": dynamic_batch,
    "two_outputs": two_outputs,
    "no_name_output": no_name_output,
    "sink": sink,
    "two_operations": two_operations,
    "no_inputs": no_inputs,
    "divide": divide,
    "accumulator": accumulator,
    "accumulator_slow": functools.partial(accumulator, steps=SLOW_STEPS // 50),
    "recurrent": recurrent,
    "scan": scan,
    "loop": loop,
    "slow": functools.partial(loop, trip_count=SLOW_STEPS),
    "broken": broken,
    "passthrough_string": functools.partial(passthrough, element_type=ov.Type.string, shape=(-1,), name="my_name"),
    **{
        f"passthrough_{name.lower()}": functools.partial(passthrough, element_type=element_type)
        for name, element_type in ELEMENT_TYPES.items()
    },
}
