"""Clients that call a server without pause and check every answer, while something else happens to it."""

import threading
import time

import numpy as np
import tritonclient.grpc as triton


class SteadyClients:
    """`count` threads that call `model`, which computes b + 1, over KServe gRPC for as long as the `with` block lasts.

    `faults` gets a line for each error and each wrong answer; `computes` says that there are right answers (a recording GPU has
    none: its outputs are whatever was in that memory).
    """

    def __init__(self, address, computes=True, count=8, model="dummy"):
        self.address = address
        self.computes = computes
        self.model = model
        self.stopping = threading.Event()
        self.faults = []
        self.calls = [0] * count
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(count)]

    def run(self, index):
        client = triton.InferenceServerClient(self.address)
        value = np.full((1, 10), index, np.float32)
        tensor = triton.InferInput("b", [1, 10], "FP32")
        tensor.set_data_from_numpy(value)
        while not self.stopping.is_set():
            try:
                answer = client.infer(self.model, [tensor], client_timeout=20).as_numpy("a")
            except Exception as error:  # every error of a call is what this looks for
                self.faults.append(str(error))
                continue
            if self.computes and not self.is_right(answer, value):
                self.faults.append(f"{answer} for {value}")
            self.calls[index] += 1
        client.close()

    def is_right(self, answer, value):
        return np.array_equal(answer, value + 1)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def go_on(self, limit_s=30):
        """Waits until every client got another answer."""
        before = list(self.calls)
        end = time.monotonic() + limit_s
        while not all(now > then for now, then in zip(self.calls, before)):
            assert time.monotonic() < end, f"not every client got another answer within {limit_s} s"
            time.sleep(0.005)
