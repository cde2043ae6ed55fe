"""What is served: models, inputs, settings. Those are the same for every server: one stream, hint LATENCY, on the CPU."""

import dataclasses
import json
import pathlib
import struct
import subprocess
import typing

from . import paths

SHARED_SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
MEAN, SCALE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclasses.dataclass(frozen=True)
class Kind:
    tfs: int  # TensorFlow's number of the type
    code: str  # struct's letter
    largest: int


KINDS = {"FP32": Kind(1, "f", 1), "UINT8": Kind(4, "B", 255), "INT32": Kind(3, "i", 255), "INT64": Kind(9, "q", 30000)}


@dataclasses.dataclass(frozen=True)
class Tensor:
    name: str
    kind: str
    shape: tuple
    ones: bool = False  # a mask

    @property
    def count(self):
        product = 1
        for size in self.shape:
            product *= size
        return product

    def values(self):
        if self.ones:
            return [1] * self.count
        fractions = (i * 37 % 101 / 101 for i in range(self.count))
        # As Python's clients write them: a float32 that was made a double has some 17 digits.
        if self.kind == "FP32":
            return [struct.unpack("f", struct.pack("f", f))[0] for f in fractions]
        return [int(f * KINDS[self.kind].largest) for f in fractions]

    @property
    def raw(self):
        return struct.pack(f"<{self.count}{KINDS[self.kind].code}", *self.values())


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    title: str
    path: typing.Callable  # -> the model's file; fetches or makes it when it is not there
    inputs: tuple
    reshape: bool = False  # the model's own shapes are open: give it those of the inputs
    bytes_nhwc: bool = False  # clients send bytes, NHWC; conversion, mean and scale are made part of the model
    json_too: bool = True
    shared_too: bool = False  # inputs so large that it matters where they lie
    by_sink: str = ""  # compute hides what serving costs: derive it from this workload's microseconds as well

    def switchyard_flags(self):
        return ["--target_device", "CPU", "--plugin_config", json.dumps(SHARED_SETTINGS), *self.model_flags()]

    def model_flags(self):
        """Of those, the ones that say what the model takes."""
        flags = []
        if self.reshape:
            shapes = {t.name: "(" + ",".join(map(str, t.shape)) + ")" for t in self.inputs}
            flags += ["--shape", json.dumps(shapes)]
        if self.bytes_nhwc:
            flags += ["--precision", "UINT8:FP32", "--layout", "NHWC:NCHW"]
            flags += ["--mean", json.dumps(MEAN), "--scale", json.dumps(SCALE)]
        return flags

    def inprocess_arguments(self, folder):
        """Of `inprocess run`; writes the inputs' values into `folder`."""
        arguments = []
        for index, tensor in enumerate(self.inputs):
            file = pathlib.Path(folder) / f"input{index}.raw"
            file.write_bytes(tensor.raw)
            arguments += ["--input", f"{tensor.name}={file}"]
            if self.reshape:
                arguments += ["--shape", f"{tensor.name}=[{','.join(map(str, tensor.shape))}]"]
        for name, value in SHARED_SETTINGS.items():
            arguments += ["--property", f"{name}={value}"]
        if self.bytes_nhwc:
            arguments += ["--bytes_nhwc", "--mean", ",".join(map(str, MEAN)), "--scale", ",".join(map(str, SCALE))]
        return arguments

    def peer_settings(self, path):
        """What bench/peers/openvino_model.py is told; a peer has nothing of its own for any of this."""
        return {
            "model": str(path),
            "properties": SHARED_SETTINGS,
            "inputs": [dataclasses.asdict(tensor) for tensor in self.inputs],
            "reshape": self.reshape,
            "bytes_nhwc": self.bytes_nhwc,
            "mean": MEAN,
            "scale": SCALE,
        }


def _lines(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()


def _small(name):
    folder = paths.BUILD / "bench-models"
    _lines(paths.BUILD / "inprocess", "make", folder)
    return folder / name / "1" / "model.xml"


def _fetched(name):
    return pathlib.Path(_lines(paths.ROOT / "scripts" / "fetch_bench_models", name)[0])


def _magika():
    _lines(paths.ROOT / "scripts" / "fetch_magika")
    return paths.DEPS / "models" / "magika" / "1" / "model.onnx"


def _made(name):
    """By make_models.py, in the environment that quantization has."""
    python = paths.make_venv("models", paths.ROOT / "share" / "int8" / "requirements.txt")
    script = pathlib.Path(__file__).parent / "make_models.py"
    return pathlib.Path(_lines(python, script, name, paths.DEPS / "models")[0])


PICTURE = (1, 3, 224, 224)
BYTES = (1, 224, 224, 3)  # the same, as decoders have it
ALL = (
    Workload("add", "Add, FP32 [1,10]", lambda: _small("add"), (Tensor("b", "FP32", (1, 10)),)),
    Workload("sink", "Sum of 150,528 FP32 (602 KB in)", lambda: _small("sink"), (Tensor("image", "FP32", PICTURE),),
             shared_too=True),
    Workload("sink_u8", "The same of bytes, conversion in its graph (151 KB in)", lambda: _small("sink"),
             (Tensor("image", "UINT8", BYTES),), bytes_nhwc=True, json_too=False, shared_too=True),
    Workload("resnet", "ResNet-50, FP32 input (602 KB in)", lambda: _fetched("resnet50"),
             (Tensor("gpu_0/data_0", "FP32", PICTURE),), json_too=False, shared_too=True, by_sink="sink"),
    Workload("resnet_u8", "ResNet-50, U8 input, conversion in its graph (151 KB in)", lambda: _fetched("resnet50"),
             (Tensor("gpu_0/data_0", "UINT8", BYTES),), bytes_nhwc=True, json_too=False, shared_too=True, by_sink="sink_u8"),
    Workload("mobilenet_int8", "MobileNetV2-like, INT8, FP32 input (602 KB in)", lambda: _made("mobilenet_int8"),
             (Tensor("image", "FP32", PICTURE),), json_too=False, shared_too=True, by_sink="sink"),
    Workload("mobilenet_int8_u8", "MobileNetV2-like, INT8, U8 input, conversion in its graph (151 KB in)",
             lambda: _made("mobilenet_int8"), (Tensor("image", "UINT8", BYTES),), bytes_nhwc=True, json_too=False,
             shared_too=True, by_sink="sink_u8"),
    Workload("magika", "Magika, INT32 [1,2048]", _magika, (Tensor("bytes", "INT32", (1, 2048)),), reshape=True),
    Workload("ocr", "PP-OCR detection, FP32 [1,3,640,640] (4.9 MB in, 1.6 MB out)", lambda: _fetched("ppocr_det"),
             (Tensor("x", "FP32", (1, 3, 640, 640)),), reshape=True, json_too=False, shared_too=True),
    Workload("bert", "BERT-like (6 layers of 384), 128 tokens", lambda: _made("bert"),
             (Tensor("input_ids", "INT64", (1, 128)), Tensor("attention_mask", "INT64", (1, 128), ones=True)), reshape=True),
)
BY_NAME = {workload.name: workload for workload in ALL}
