"""Makes the models that no package carries: made-up weights, for speed, not for answers.

    python make_models.py mobilenet_int8|bert FOLDER        prints the model's path; does nothing when it is there

Needs share/int8/requirements.txt: openvino, and nncf for INT8.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import openvino as ov
from openvino import opset13 as ops

RANDOM = np.random.default_rng(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]


def weights(*shape):
    """Of a size that keeps values about as large as they came."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]
    return ops.constant((RANDOM.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32))


def vector(count, channels_first=False):
    values = (RANDOM.standard_normal(count) * 0.1).astype(np.float32)
    return ops.constant(values.reshape(1, -1, 1, 1) if channels_first else values)


def parameter(name, shape, kind):
    node = ops.parameter(ov.PartialShape(shape), kind, name=name)
    node.output(0).set_names({name})
    return node


def convolution(x, channels_in, channels_out, kernel, stride, activate=True):
    pad = kernel // 2
    y = ops.convolution(x, weights(channels_out, channels_in, kernel, kernel), [stride] * 2, [pad] * 2, [pad] * 2, [1, 1])
    y = ops.add(y, vector(channels_out, True))
    return ops.clamp(y, 0.0, 6.0) if activate else y


def depthwise(x, channels, stride):
    y = ops.group_convolution(x, weights(channels, 1, 1, 3, 3), [stride] * 2, [1, 1], [1, 1], [1, 1])
    return ops.clamp(ops.add(y, vector(channels, True)), 0.0, 6.0)


def mobilenet():
    """MobileNetV2's topology: 17 inverted residuals, 1000 classes."""
    image = parameter("image", [1, 3, 224, 224], ov.Type.f32)
    x, channels = convolution(image, 3, 32, 3, 2), 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expand, out, repeats, first_stride in stages:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            y = convolution(x, channels, channels * expand, 1, 1) if expand > 1 else x
            y = convolution(depthwise(y, channels * expand, stride), channels * expand, out, 1, 1, activate=False)
            x = ops.add(x, y) if stride == 1 and channels == out else y
            channels = out
    x = ops.reduce_mean(convolution(x, channels, 1280, 1, 1), ops.constant(np.array([2, 3])), False)
    scores = ops.add(ops.matmul(x, weights(1000, 1280), False, True), vector(1000))
    scores.output(0).set_names({"scores"})
    return ov.Model([scores], [image], "mobilenet")


def dense(x, size_in, size_out):
    return ops.add(ops.matmul(x, weights(size_out, size_in), False, True), vector(size_out))


def normed(x):
    return ops.mvn(x, ops.constant(np.array([-1])), True, 1e-12, "inside_sqrt")


def bert(layers=6, hidden=384, heads=12, words=30522, longest=512):
    """An encoder of BERT's kind in the size of the small ones for sentence embeddings."""
    ids = parameter("input_ids", [1, -1], ov.Type.i64)
    mask = parameter("attention_mask", [1, -1], ov.Type.i64)
    zero = ops.constant(np.int64(0))
    length = ops.gather(ops.shape_of(ids), ops.constant(np.int64(1)), zero)
    places = ops.range(zero, length, ops.constant(np.int64(1)), ov.Type.i64)
    x = ops.add(ops.gather(weights(words, hidden), ids, zero), ops.gather(weights(longest, hidden), places, zero))
    x = normed(x)
    hidden_mask = ops.subtract(ops.constant(np.float32(1)), ops.convert(mask, ov.Type.f32))
    hidden_mask = ops.multiply(ops.unsqueeze(hidden_mask, ops.constant(np.array([1, 2]))), ops.constant(np.float32(-1e4)))
    split = ops.constant(np.array([0, 0, heads, hidden // heads]))
    swap = ops.constant(np.array([0, 2, 1, 3]))
    join = ops.constant(np.array([0, 0, hidden]))
    for _ in range(layers):
        q, k, v = (ops.transpose(ops.reshape(dense(x, hidden, hidden), split, True), swap) for _ in range(3))
        scores = ops.multiply(ops.matmul(q, k, False, True), ops.constant(np.float32((hidden / heads) ** -0.5)))
        attended = ops.matmul(ops.softmax(ops.add(scores, hidden_mask), 3), v, False, False)
        attended = ops.reshape(ops.transpose(attended, swap), join, True)
        x = normed(ops.add(x, dense(attended, hidden, hidden)))
        x = normed(ops.add(x, dense(ops.gelu(dense(x, hidden, 4 * hidden), "erf"), 4 * hidden, hidden)))
    x.output(0).set_names({"last_hidden_state"})
    return ov.Model([x], [ids, mask], "bert")


def main():
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2]) / sys.argv[1] / "1"
    made = folder / "model.xml"
    if not made.exists():
        print(f"Making the model {name} ...", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            work = pathlib.Path(work)
            (work / "1").mkdir()
            if name == "bert":
                ov.save_model(bert(), work / "1" / "model.xml", compress_to_fp16=False)
            else:
                ov.save_model(mobilenet(), work / "fp32.xml", compress_to_fp16=False)
                script = ROOT / "share" / "int8" / "quantize.py"
                command = [sys.executable, script, "--model", work / "fp32.xml", "--output", work / "1" / "model.xml"]
                subprocess.run([*command, "--result", work / "result.json"], check=True, stdout=sys.stderr)
            (work / "1").rename(folder)
    print(made)


if __name__ == "__main__":
    main()
