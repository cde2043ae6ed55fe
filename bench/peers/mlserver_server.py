"""mlserver_server.py SETTINGS GRPC_PORT REST_PORT: MLServer, with the model in the server's own process."""

import asyncio
import logging
import pathlib
import sys

HERE = str(pathlib.Path(__file__).resolve().parent)
sys.path.insert(0, HERE)

import numpy as np  # noqa: E402
from mlserver import MLModel, MLServer, ModelSettings, Settings  # noqa: E402
from mlserver.codecs import NumpyCodec  # noqa: E402
from mlserver.types import InferenceResponse  # noqa: E402
from openvino_model import OpenVinoModel, name_of  # noqa: E402


class Model(MLModel):
    async def load(self):
        self.openvino = OpenVinoModel(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        arrays = {tensor.name: np.ascontiguousarray(NumpyCodec.decode_input(tensor)) for tensor in payload.inputs}
        answers = self.openvino.infer(arrays)
        outputs = [NumpyCodec.encode_output(name, value) for name, value in answers.items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def serve():
    name = name_of(sys.argv[1])
    settings = Settings(host="127.0.0.1", http_port=int(sys.argv[3]), grpc_port=int(sys.argv[2]), metrics_endpoint=None,
                        parallel_workers=0, load_models_at_startup=False, grpc_max_message_length=64 << 20, debug=False)
    server = MLServer(settings)
    model = ModelSettings(name=name, implementation=f"{Model.__module__}.Model", parameters={"uri": sys.argv[1]})
    await server.start([model])


if __name__ == "__main__":
    logging.disable(logging.INFO)  # no line for each request
    asyncio.run(serve())
