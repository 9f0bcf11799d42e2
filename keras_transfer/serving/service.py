"""What stands behind the addresses of a service: from uploads to answers."""

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

import numpy as np
from starlette.requests import ClientDisconnect, Request

from keras_transfer.serving.batching import Batcher
from keras_transfer.serving.decoding import Decoder
from keras_transfer.serving.heat_maps import overlay
from keras_transfer.serving.limits import Limits, RefusedError
from keras_transfer.serving.metrics import Metrics
from keras_transfer.serving.served import Served
from keras_transfer.serving.uploads import Upload, Uploads


class Service:
    """Hold a classifier, its queue, and whether it is ready or about to end.

    Args:
        load: Loads the classifier, on the thread that will run it.
        limits: What is taken.

    Attributes:
        served: The classifier; `None` until it is loaded.
        failure: Why it could not be loaded, or `None`.
        closing: Whether no more is taken.
        requests: Requests that are read or answered now.
    """

    def __init__(self, load: Callable[[], Served], limits: Limits):
        self.limits, self.metrics = limits, Metrics()
        self.served, self.failure = None, None
        self.closing, self.requests = False, 0
        self._load, self._uploads = load, Uploads(limits)
        # Of one thread: the network takes all cores by itself.
        self._thread = concurrent.futures.ThreadPoolExecutor(1)

    @contextlib.asynccontextmanager
    async def running(self, ready: Callable[[], None], failed: Callable[[], None]):
        """Load the classifier and answer while the block runs.

        Args:
            ready: Is called when the classifier is loaded.
            failed: Is called when it cannot be; `failure` says why.
        """
        working = asyncio.ensure_future(self._work(ready, failed))
        try:
            yield
        finally:
            working.cancel()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self, ready, failed) -> None:
        loop = asyncio.get_running_loop()
        try:
            served = await loop.run_in_executor(self._thread, self._loaded)
        except Exception as error:
            self.failure = error
            failed()
            return
        self._decoder = Decoder(served, self.limits)
        self._batcher = Batcher(served, self._thread, self.limits.queue, self.metrics)
        self.served = served
        ready()
        try:
            await self._batcher.run()
        finally:
            self._decoder.close()

    def _loaded(self) -> Served:
        served = self._load()
        # What is made at the first call is made before somebody waits for it.
        image = np.zeros((served.image_size, served.image_size, 3), "uint8")
        served.answer(image[None])
        if served.explains:
            served.heat_map(image, 0)
        return served

    def refusal(self) -> RefusedError | None:
        """Return why nothing is answered now, or `None`."""
        if self.closing:
            return RefusedError(503, "ending", "The service is about to end.")
        if self.served is None:
            return RefusedError(
                503,
                "loading",
                "The model is still being loaded. Try again in some seconds.",
                {"Retry-After": "2"},
            )
        return None

    async def predict(self, request: Request, heat_map: bool) -> list[dict]:
        """Return the answer for each photo of a request, as JSON holds it.

        Raises:
            RefusedError: If it is not answered.
            ClientDisconnect: If the client has gone.
        """
        if refusal := self.refusal():
            raise refusal
        with self._counted():
            async with self._uploads.read(request) as files:
                started = time.perf_counter()
                explain = heat_map and self.served.explains
                found = await self._in_time(self._answers(files, explain), request)
        self.metrics.seconds.observe(time.perf_counter() - started)
        for each in found:
            self.metrics.photos.labels(each["class_name"]).inc()
        return found

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    async def _in_time(self, answers: Awaitable, request: Request) -> list[dict]:
        work = asyncio.ensure_future(answers)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait(
                {work, gone},
                timeout=self.limits.wait,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if work.done():
                return work.result()
            if gone.done():
                raise ClientDisconnect
            raise RefusedError(
                504,
                "waited too long",
                f"There was no answer within {self.limits.wait:g} s. Try again later.",
            )
        finally:
            work.cancel()
            gone.cancel()
            # All that they hold is free when they have ended.
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _answers(self, files: list[Upload], explain: bool) -> list[dict]:
        with self._batcher.places(len(files)):
            return await _all(self._answer(each, explain) for each in files)

    async def _answer(self, upload: Upload, explain: bool) -> dict:
        image = await self._decoder.decode(upload)
        answer, heat = await self._batcher.answer(image, explain)
        drawn = None if heat is None else await self._decoder.draw(overlay, heat)
        probabilities = map(float, answer.probabilities)
        return {
            "file": upload.name,
            "class_name": answer.class_name,
            "probability": float(answer.probability),
            "probabilities": dict(
                zip(self.served.class_names, probabilities, strict=True)
            ),
            "unknown": answer.unknown,
            "heat_map": drawn,
        }


async def _all(works: Iterable[Awaitable]) -> list:
    """Return the results of all, or end them all where one raises an error."""
    tasks = [asyncio.ensure_future(each) for each in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
