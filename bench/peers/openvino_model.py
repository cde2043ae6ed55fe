"""What every peer has inside: the workload's model in OpenVINO with the same settings as Switchyard gets them."""

import json
import pathlib

import numpy as np
import openvino as ov
from openvino.preprocess import PrePostProcessor

NUMPY_TYPES = {"FP32": np.float32, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64}


def name_of(settings_file):
    return json.loads(pathlib.Path(settings_file).read_text(encoding="utf-8"))["name"]


class OpenVinoModel:
    """One infer request; calls come one after the other. Outputs are copies, since the request's memory is used again."""

    def __init__(self, settings_file):
        settings = json.loads(pathlib.Path(settings_file).read_text(encoding="utf-8"))
        self.name = settings["name"]
        self.inputs = settings["inputs"]
        core = ov.Core()
        model = core.read_model(settings["model"])
        if settings["reshape"]:
            model.reshape({tensor["name"]: tensor["shape"] for tensor in self.inputs})
        if settings["bytes_nhwc"]:
            pipeline = PrePostProcessor(model)
            pipeline.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
            pipeline.input().model().set_layout(ov.Layout("NCHW"))
            steps = pipeline.input().preprocess().convert_element_type(ov.Type.f32)
            steps.mean(settings["mean"]).scale(settings["scale"]).convert_layout(ov.Layout("NCHW"))
            model = pipeline.build()
        compiled = core.compile_model(model, "CPU", settings["properties"])
        self.outputs = [(port.get_any_name(), list(port.shape), port.element_type) for port in compiled.outputs]
        self.request = compiled.create_infer_request()

    def infer(self, arrays):
        """By input's name; arrays are used where they lie. Returns arrays by output's name."""
        self.request.infer(arrays, share_inputs=True)
        return {name: self.request.get_output_tensor(i).data.copy() for i, (name, _, _) in enumerate(self.outputs)}

    def tensor(self, name, values):
        """What came as JSON."""
        described = next(tensor for tensor in self.inputs if tensor["name"] == name)
        return np.asarray(values, NUMPY_TYPES[described["kind"]]).reshape(described["shape"])
