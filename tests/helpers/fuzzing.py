"""Send a service what no honest client sends, and see that it goes on as before.

    python -m tests.helpers.fuzzing [--count 3000] [--model MODEL]

A small model is served unless one is named. The status is 0 if no answer was 500, the
service answered photos after each hundred requests, and its memory came back.
"""

import argparse
import collections
import contextlib
import pathlib
import re
import socket
import sys
import tempfile
import time

import httpx

from tests.helpers.malformed import Sent, malformed
from tests.helpers.services import PATIENCE, Running, form, photo, serving

# What a request can be answered: never that the service has failed.
FINE = {200, 400, 401, 404, 405, 408, 413, 415, 422, 429, 431, 503, 504}
ANSWER = re.compile(rb"(?m)^HTTP/1\.\d ([2-5]\d\d) ")
# Seconds after which an answer was the last one.
SILENCE = 0.02
MEGABYTE = 2**20
GOOD_AFTER = 100
# Memory that may be held more at the end than after the first requests.
MORE = 64 * MEGABYTE


def attack(service: Running, sent: Sent) -> int | None:
    """Send a request, and return the status of its answer, if there is one."""
    address = ("127.0.0.1", service.port)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        # It may have answered, and closed the connection, before it has all.
        with contextlib.suppress(OSError):
            for part in sent.parts:
                connection.sendall(part)
        if not sent.waits:
            return None
        found = _answers(connection)
    # Of several requests one after the other, the worst.
    statuses = map(int, ANSWER.findall(found))
    return max(statuses, default=None)


def _answers(connection: socket.socket) -> bytes:
    """Return what comes until the service has no more to say."""
    found = b""
    with contextlib.suppress(OSError):
        while part := connection.recv(2**16):
            found += part
            if ANSWER.search(found):
                connection.settimeout(SILENCE)
    return found


def check_good(service: Running) -> None:
    """Raise an error unless the service answers a photo as it should."""
    answer = httpx.post(f"{service.url}/predict", files=form(photo()), timeout=PATIENCE)
    assert answer.status_code == 200, answer.text


def fuzz(service: Running, count: int, seed: int = 0) -> collections.Counter:
    """Send so many requests, and return how many had which status, by kind.

    Raises:
        AssertionError: If an answer says that the service has failed, or the next good
            request is not answered.
    """
    found = collections.Counter()
    for number, (kind, sent) in enumerate(malformed(count, seed), start=1):
        status = attack(service, sent)
        found[kind, status] += 1
        assert status is None or status in FINE, (kind, status, number)
        if number % GOOD_AFTER == 0:
            check_good(service)
    check_good(service)
    return found


def settled_memory(service: Running, most: int, seconds: float = 20) -> int:
    """Return the memory that is held when it is at most this, or when time is up."""
    end = time.monotonic() + seconds
    while service.memory() > most and time.monotonic() < end:
        time.sleep(0.2)
    return service.memory()


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--count", type=int, default=3_000)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--model", type=pathlib.Path)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        model = options.model or _small_model(pathlib.Path(folder))
        service = stack.enter_context(serving(model, "--read", "1"))
        # The largest of what is taken: what the libraries keep is then there.
        fuzz(service, 300, options.seed + 1)
        before = service.memory()
        started = time.monotonic()
        found = fuzz(service, options.count, options.seed)
        after = settled_memory(service, before + MORE)
        seconds = time.monotonic() - started
        status = service.stop()
    for kind in sorted({kind for kind, _ in found}):
        counts = {s: n for (k, s), n in found.items() if k == kind}
        words = ", ".join(f"{s or 'no answer'}: {n}" for s, n in counts.items())
        print(f"{kind:20s} {words}")
    print(
        f"{found.total():,} requests in {seconds:.0f} s; exit status {status}; memory "
        f"{before / MEGABYTE:.0f} MB before, {after / MEGABYTE:.0f} MB after"
    )
    for line in service.lines:
        if "Traceback" in line or "Error" in line:
            print(line)
    return int(after > before + MORE or status != 0)


def _small_model(folder: pathlib.Path) -> pathlib.Path:
    import keras_transfer as kt
    from tests.helpers.small_networks import small_classifier

    path = folder / "model.keras"
    return kt.save_classifier(small_classifier(size=32), path, ["cat", "dog"])


if __name__ == "__main__":
    sys.exit(main())
