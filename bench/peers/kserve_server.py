"""kserve_server.py SETTINGS GRPC_PORT REST_PORT: KServe's Python model server, one worker."""

import logging
import sys

import kserve
import numpy as np
from kserve.protocol.infer_type import InferOutput, InferResponse
from kserve.utils.numpy_codec import from_np_dtype
from openvino_model import OpenVinoModel


class Model(kserve.Model):
    def __init__(self, settings_file):
        self.openvino = OpenVinoModel(settings_file)
        super().__init__(self.openvino.name)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        arrays = {tensor.name: np.ascontiguousarray(tensor.as_numpy()) for tensor in payload.inputs}
        binary = payload.from_grpc or payload.use_binary_outputs
        outputs = []
        for name, value in self.openvino.infer(arrays).items():
            output = InferOutput(name=name, shape=list(value.shape), datatype=from_np_dtype(value.dtype))
            output.set_data_from_numpy(value, binary_data=binary)
            outputs.append(output)
        return InferResponse(response_id=payload.id or "none", model_name=self.name, infer_outputs=outputs)


if __name__ == "__main__":
    logging.disable(logging.INFO)  # no line for each request
    model = Model(sys.argv[1])
    server = kserve.ModelServer(http_port=int(sys.argv[3]), grpc_port=int(sys.argv[2]), workers=1, access_log_format=None,
                                enable_docs_url=False, enable_latency_logging=False)
    server.start([model])
