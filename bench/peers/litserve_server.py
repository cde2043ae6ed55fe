"""litserve_server.py SETTINGS GRPC_PORT REST_PORT: LitServe, REST alone, one worker."""

import logging
import sys

import litserve
from openvino_model import OpenVinoModel


class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = OpenVinoModel(sys.argv[1])

    def decode_request(self, request):
        return {tensor["name"]: self.model.tensor(tensor["name"], tensor["data"]) for tensor in request["inputs"]}

    def predict(self, x):
        return self.model.infer(x)

    def encode_response(self, output):
        return {"outputs": [{"name": name, "shape": list(value.shape), "data": value.reshape(-1).tolist()}
                            for name, value in output.items()]}


if __name__ == "__main__":
    logging.disable(logging.INFO)  # no line for each request
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1, timeout=False, track_requests=False)
    server.run(host="127.0.0.1", port=int(sys.argv[3]), num_api_servers=1, generate_client_file=False, log_level="warning")
