"""pytriton_server.py SETTINGS GRPC_PORT REST_PORT: tritonserver by PyTriton, with a Python callable that runs OpenVINO."""

import logging
import os
import sys
import sysconfig

import numpy as np
from openvino_model import NUMPY_TYPES, OpenVinoModel
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

if __name__ == "__main__":
    logging.disable(logging.INFO)  # no line for each request
    # Triton's own process for the callable must have the library of this very Python, not another one of the system's.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    model = OpenVinoModel(sys.argv[1])

    def infer(requests):
        answers = []
        for request in requests:
            answers.append(model.infer({name: np.ascontiguousarray(value) for name, value in request.items()}))
        return answers

    config = TritonConfig(http_address="127.0.0.1", http_port=int(sys.argv[3]), grpc_address="127.0.0.1",
                          grpc_port=int(sys.argv[2]), allow_metrics=False, log_verbose=0)
    with Triton(config=config) as triton:
        triton.bind(
            model_name=model.name,
            infer_func=infer,
            inputs=[Tensor(name=t["name"], dtype=NUMPY_TYPES[t["kind"]], shape=tuple(t["shape"])) for t in model.inputs],
            outputs=[Tensor(name=name, dtype=kind.to_dtype().type, shape=tuple(shape)) for name, shape, kind in model.outputs],
            config=ModelConfig(batching=False),
        )
        triton.serve()
