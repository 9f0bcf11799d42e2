"""Serve a classifier with LitServe, with our decoding and our compiled network.

    python benchmarks/serving_litserve.py MODEL PORT

So that only the servers differ. Of LitServe it has what its documentation advises for
images: batching with a short wait, and decoding by threads in `batch`.
"""

import concurrent.futures
import os
import pathlib
import sys

import litserve
import numpy as np

BATCH, BATCH_TIMEOUT = 32, 0.01


class Photos(litserve.LitAPI):
    """Decode a batch by threads, and run it at once."""

    def __init__(self, model: str):
        super().__init__(max_batch_size=BATCH, batch_timeout=BATCH_TIMEOUT)
        self._model = model

    def setup(self, device: str) -> None:
        # Here, for each worker is a process of its own.
        from keras_transfer.serving.served import load_served

        self._served = load_served(pathlib.Path(self._model))
        self._threads = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

    def decode_request(self, request) -> bytes:
        return request["images"].file.read()

    def batch(self, inputs: list[bytes]) -> np.ndarray:
        return np.stack([*self._threads.map(self._served.decode, inputs)])

    def predict(self, x: np.ndarray) -> list:
        return self._served.answer(x)

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output) -> dict:
        names, row = self._served.class_names, output.probabilities.tolist()
        return {
            "class_name": output.class_name,
            "probability": output.probability,
            "probabilities": dict(zip(names, row, strict=True)),
        }


def main(model: str, port: str) -> None:
    server = litserve.LitServer(Photos(model), accelerator="cpu")
    server.run(
        host="127.0.0.1",
        port=int(port),
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
