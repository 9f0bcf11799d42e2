"""Photos of many requests through one network: as many at once as are waiting.

Where the network is idle, a photo does not wait for others. While it is busy, photos
gather, and go together as soon as it is free.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_transfer.serving.limits import busy
from keras_transfer.serving.metrics import Metrics
from keras_transfer.serving.served import Answer, Served

# The rest is decoded meanwhile. Larger ones have all clients wait for each other.
MOST = 16


@dataclasses.dataclass(eq=False)
class _Photo:
    image: np.ndarray
    explain: bool
    answer: asyncio.Future


class Batcher:
    """Answer photos in batches, on a thread of their own.

    Args:
        served: What answers.
        thread: Runs the network, one batch at a time.
        most: Photos that are here at once, at most.
        metrics: What is counted.
    """

    def __init__(
        self,
        served: Served,
        thread: concurrent.futures.Executor,
        most: int,
        metrics: Metrics,
    ):
        self._served, self._thread, self._most = served, thread, most
        self._metrics = metrics
        self._held, self._waiting = 0, collections.deque()
        self._some = asyncio.Event()

    @contextlib.contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Hold places for some photos, or raise an error if there are not as many."""
        if self._held + count > self._most:
            raise busy(
                f"{self._held} photos are waiting, and no more than {self._most} may. "
                "Try again in a second."
            )
        self._hold(count)
        try:
            yield
        finally:
            self._hold(-count)

    def _hold(self, count: int) -> None:
        self._held += count
        self._metrics.queue.set(self._held)

    async def answer(
        self, image: np.ndarray, explain: bool
    ) -> tuple[Answer, np.ndarray | None]:
        """Return the answer for a photo, and its heat map if it is asked for.

        A photo whose caller is cancelled meanwhile leaves the queue.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(_Photo(image, explain, future))
        self._some.set()
        return await future

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._some.wait()
            batch = self._next()
            if not batch:
                self._some.clear()
                continue
            try:
                await self._answer(batch)
            except Exception as error:  # A fault of ours, and not of the next batch.
                for photo in batch:
                    if not photo.answer.done():
                        photo.answer.set_exception(error)

    def _next(self) -> list[_Photo]:
        batch = []
        while self._waiting and len(batch) < MOST:
            photo = self._waiting.popleft()
            if not photo.answer.done():  # Else nobody waits for it any more.
                batch.append(photo)
        return batch

    async def _answer(self, batch: list[_Photo]) -> None:
        self._metrics.batch.observe(len(batch))
        images = np.stack([photo.image for photo in batch])
        answers = await self._on_thread(self._served.answer, images)
        for photo, answer in zip(batch, answers, strict=True):
            if not photo.explain and not photo.answer.done():
                photo.answer.set_result((answer, None))
        for photo, answer in zip(batch, answers, strict=True):
            if not photo.answer.done():
                index = int(np.argmax(answer.probabilities))
                drawn = await self._on_thread(self._served.heat_map, photo.image, index)
                if not photo.answer.done():
                    photo.answer.set_result((answer, drawn))

    async def _on_thread(self, function, *arguments):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)
