"""Ask a service as many clients do at once, with as little work as can be.

Who asks runs on the cores of the service, so a request is bytes that were made before,
and of an answer only its status and length are read: about 0.1 ms of a core each.
"""

import asyncio
import collections
import dataclasses
import itertools
import math
import time
import urllib.parse
from collections.abc import Iterator, Sequence

import numpy as np

OK, BUSY = 200, (429, 503)
# Seconds after which a client asks again that was refused.
PATIENCE = 0.2
BOUNDARY = "photo-of-a-benchmark"


@dataclasses.dataclass
class Load:
    """Hold what clients saw of a service.

    Attributes:
        seconds: How long they asked, without the warm-up.
        latencies: Seconds of each answer.
        statuses: How often each status was answered.
        answered: How many photos were answered, those of the warm-up among them.
        processor: Seconds of processor time that asking took.
    """

    seconds: float
    latencies: list[float] = dataclasses.field(default_factory=list)
    statuses: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    answered: int = 0
    processor: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def refused(self) -> int:
        """How many were sent away."""
        return sum(self.statuses[status] for status in BUSY)

    def percentile(self, share: float) -> float:
        """Return the milliseconds that this percentage of answers took at most."""
        if not self.latencies:
            return math.inf
        return 1000 * float(np.percentile(self.latencies, share))


def requests_for(address: str, photos: Sequence[bytes]) -> list[bytes]:
    """Return the bytes of one `POST /predict` a photo."""
    host = urllib.parse.urlsplit(address).netloc
    return [_request(host, photo) for photo in photos]


def ask(
    address: str,
    requests: Sequence[bytes],
    clients: int,
    *,
    seconds: float = math.inf,
    most: float = math.inf,
    warm_up: float = 0.0,
) -> Load:
    """Have so many clients ask, each as soon as it has its answer.

    Args:
        address: Of the service, such as `"http://127.0.0.1:8000"`.
        requests: What they ask, in turn.
        clients: How many ask at once, each on a connection that it keeps.
        seconds: How long, after the warm-up. Defaults to no end.
        most: How many requests altogether. Defaults to no end.
        warm_up: Seconds before it counts. Defaults to `0.0`.
    """
    return asyncio.run(_ask(address, requests, clients, seconds, most, warm_up))


async def _ask(address, requests, clients, seconds, most, warm_up) -> Load:
    where = urllib.parse.urlsplit(address)
    begin = time.perf_counter() + warm_up
    load, left = Load(seconds), _each_in_turn(requests, most)

    async def client() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        for request in left:
            start = time.perf_counter()
            if start > begin + seconds:
                break
            writer.write(request)
            status = await _status(reader)
            now = time.perf_counter()
            load.answered += status == OK
            if begin <= now <= begin + seconds:
                load.statuses[status] += 1
                if status == OK:
                    load.latencies.append(now - start)
            if status in BUSY:
                await asyncio.sleep(PATIENCE)
        writer.close()

    before = time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    load.processor = time.process_time() - before
    load.seconds = min(seconds, time.perf_counter() - begin)
    return load


def _each_in_turn(requests: Sequence[bytes], most: float) -> Iterator[bytes]:
    for number, request in enumerate(itertools.cycle(requests)):
        if number >= most:
            return
        yield request


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return int(head[9:12])


def _request(host: str, photo: bytes) -> bytes:
    body = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="images"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body += photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
