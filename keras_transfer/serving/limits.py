"""What a service takes, and how it says no."""

import dataclasses

from starlette.exceptions import HTTPException


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bound what requests may take of memory and time.

    Attributes:
        queue: Photos that are in the service at once: more are refused.
        wait: Seconds from the end of an upload to its answer, at most.
        read: Seconds that an upload may take.
        body: Bytes of one upload.
        uploads: Bytes of all uploads that are held at once.
        files: Photos of one request; no more than the queue takes.
        pixels: Pixels of one photo.
        side: Pixels of its longer side: what resizes a photo holds the network's side
            times its width in floats, however low it is.
        scans: Times that a progressive JPEG may go over the picture.
    """

    queue: int = 64
    wait: float = 10.0
    read: float = 30.0
    body: int = 64 * 2**20
    uploads: int = 256 * 2**20
    files: int = 32
    pixels: int = 50_000_000
    side: int = 20_000
    # Some hundred bytes make one more, which takes as long as the whole picture.
    scans: int = 100

    def __post_init__(self):
        object.__setattr__(self, "files", min(self.files, self.queue))


class RefusedError(HTTPException):
    """Answers a request with a status and one sentence.

    Attributes:
        reason: The reason in one word or two, by which refusals are counted.
    """

    def __init__(
        self, status: int, reason: str, detail: str, headers: dict | None = None
    ):
        super().__init__(status, detail, headers)
        self.reason = reason


def busy(detail: str) -> RefusedError:
    """Return what is raised where there is no room."""
    return RefusedError(429, "queue full", detail, {"Retry-After": "1"})
