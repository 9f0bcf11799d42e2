"""Serve a classifier with LitServe, with our decoding and our compiled network.

    python benchmarks/serving_litserve.py MODEL PORT [BATCH WORKERS]

So that only the servers differ. The settings are those that LitServe's own benchmark of
an image classifier has on a CPU: batches of 8 that wait 10 ms to fill, decoding by
threads in `batch`, two workers, and its fast queue.
"""

import concurrent.futures
import os
import pathlib
import sys

import litserve
import numpy as np

BATCH, BATCH_TIMEOUT, WORKERS = 8, 0.01, 2


class Photos(litserve.LitAPI):
    """Decode a batch by threads, and run it at once."""

    def __init__(self, model: str, batch: int):
        super().__init__(max_batch_size=batch, batch_timeout=BATCH_TIMEOUT)
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


def main(model: str, port: str, batch=BATCH, workers=WORKERS) -> None:
    server = litserve.LitServer(
        Photos(model, int(batch)),
        accelerator="cpu",
        workers_per_device=int(workers),
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(port),
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
