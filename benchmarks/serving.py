"""Measure photos per second, waiting and memory of the service, from JPEG uploads.

    python benchmarks/serving.py [--backbones NAME ...] [--clients N] [--seconds S]

Beside it are `model.predict` at batch 32 from the same files, decoding included, and
LitServe with the same network and decoding: pip install litserve. The ways take turns,
and while one is measured the processes of the others stand still. The clients are a
few coroutines of this process, which share the cores with the service.
"""

import contextlib
import dataclasses
import importlib.util
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import typing
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import psutil

import clients
import keras_transfer as kt
from keras_transfer.runtime.processes import child_environment
from measuring import Measurement, parse, parser, ratio
from subjects import build_network, kind_of_photos, write_photos

DIFFERENT = 256
UNIT = "photos per second"
OURS, PREDICT, LITSERVE = "ours, serve", "model.predict, batch 32", "LitServe"
# What `serve` takes at once unless it is told otherwise.
QUEUE = 64
LONGEST = 120


@dataclasses.dataclass
class Way:
    """Run one of the ways, in processes of its own.

    Attributes:
        process: Where it runs, with its children.
        measure: Runs it for so many seconds; returns the photos per second, and how
            many photos there were.
        loads: What clients saw, one a round.
        processor: Milliseconds of processor time that a photo took, one a round.
    """

    process: psutil.Process
    measure: Callable[..., tuple[float, int]]
    loads: list[clients.Load] = dataclasses.field(default_factory=list)
    processor: list[float] = dataclasses.field(default_factory=list)

    def each(self, what: Callable[[psutil.Process], typing.Any]) -> list:
        """Do something with each of its processes."""
        return [what(x) for x in (self.process, *self.process.children(recursive=True))]

    def memory(self) -> float:
        """Return the memory of its processes in MiB."""
        return sum(self.each(lambda process: process.memory_info().rss)) / 2**20

    def seconds(self) -> float:
        """Return the processor time that its processes have taken."""
        return sum(self.each(lambda process: sum(process.cpu_times()[:2])))


def main() -> None:
    made = parser(__doc__, rounds=3)
    names = ["resnet50", "efficientnet_lite0"]
    made.add_argument("--backbones", nargs="+", default=names)
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--photos", type=pathlib.Path, help="folder of JPEG files")
    made.add_argument("--clients", type=int, default=32)
    made.add_argument("--many", type=int, default=96, help="clients beyond the queue")
    made.add_argument("--seconds", type=float, default=7, help="of each run")
    made.add_argument("--requests", type=int, default=5000, help="for memory")
    made.add_argument("--format", default="onnx", help="of an exported folder; or none")
    toy = {"backbones": names[1:], "image_size": 64, "seconds": 4, "requests": 300}
    options = parse(made, **toy, rounds=2)
    kind = f"JPEG files of {options.photos}" if options.photos else kind_of_photos()
    measurement = Measurement(
        "serving",
        options,
        kind,
        {
            "pixels": options.image_size,
            "clients": options.clients,
            "seconds of each run": options.seconds,
            "requests for memory": options.requests,
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        photos = options.photos or pathlib.Path(folder, "photos")
        if not options.photos:
            write_photos(photos, DIFFERENT)
        for name in options.backbones:
            model = pathlib.Path(folder, f"{name}.keras")
            network = build_network(name, options.image_size)
            classifier = kt.build_classifier(network, 2, share_backbone=True)
            kt.save_classifier(classifier, model, ("cat", "dog"))
            compare(measurement, name, model, photos, options)
    measurement.keep()


def compare(measurement, name: str, model, photos: pathlib.Path, options) -> None:
    """Compare the ways for one network."""
    with contextlib.ExitStack() as stack:
        ways = started(stack, measurement, model, photos, options)
        rates = in_turn(ways, options)
        for way, values in rates.items():
            measurement.add(name, way, values, UNIT)
        for way in (PREDICT, LITSERVE):
            measurement.target(
                f"{name}: photos per second of the service and of {way}",
                ratio(rates[OURS], rates.get(way, [])),
                at_least=0.85 if way == PREDICT else 1.0,
            )
        add_waiting(measurement, name, ways)
        ways[OURS].each(psutil.Process.resume)
        add_crowd(measurement, name, ways[OURS], options)
        if name == options.backbones[-1]:  # The faster one.
            add_memory(measurement, name, ways[OURS], options)


def in_turn(ways: dict[str, Way], options) -> dict[str, list[float]]:
    """Return the photos per second of each way, measured in turn, one at a time."""
    rates = {name: [] for name in ways}
    for way in ways.values():
        way.each(psutil.Process.suspend)
    for number in range(options.rounds + 1):
        for name, way in ways.items():
            way.each(psutil.Process.resume)
            # The first round sets up what later ones reuse.
            before = way.seconds()
            rate, photos = way.measure(options.seconds if number else 2)
            way.each(psutil.Process.suspend)
            if number:
                rates[name].append(rate)
                way.processor.append(1000 * (way.seconds() - before) / photos)
            else:
                way.loads.clear()
    return rates


def add_waiting(measurement, name: str, ways: dict[str, Way]) -> None:
    """Add how long clients waited, and what asking took."""
    for way, each in ways.items():
        loads = each.loads
        for share in (50, 99) if loads else ():
            values = [load.percentile(share) for load in loads]
            measurement.add(f"{name}, p{share}", way, values, "milliseconds")
    for way, each in ways.items():
        group = f"{name}, processor time of a photo"
        measurement.add(group, way, each.processor, "milliseconds")
    for way in (OURS, LITSERVE):
        loads = ways[way].loads if way in ways else []
        taken = [100 * load.processor / load.seconds for load in loads]
        measurement.add(f"{name}, clients", way, taken, "% of a core")


def add_crowd(measurement, name: str, way: Way, options) -> None:
    """Add what happens to more clients than the queue has places."""
    way.loads.clear()
    way.measure(options.seconds, options.many)
    [load] = way.loads
    group = f"{name}, {options.many} clients"
    measurement.add(group, OURS, [load.rate], UNIT)
    measurement.add(f"{group}, refused", OURS, [load.refused], "requests")
    measurement.target(
        f"{name}: p99 with {options.many} clients, of queue / photos per second",
        load.percentile(99) / 1000 / (QUEUE / load.rate),
        at_most=2,
    )


def add_memory(measurement, name: str, way: Way, options) -> None:
    """Add the memory before and after many requests."""
    values = [way.memory()]
    way.measure(float("inf"), options.clients, options.requests)
    values.append(way.memory())
    for when, value in zip(("before", "after"), values, strict=True):
        group = f"{name}, memory {when} {options.requests:,} requests"
        measurement.add(group, OURS, [value], "MiB")
    measurement.target(
        f"{name}: memory after {options.requests:,} requests, of that before",
        values[1] / values[0],
        at_most=1.05,
    )


# The ways, each in processes of its own.


def started(stack, measurement, model, photos: pathlib.Path, options) -> dict[str, Way]:
    """Start all ways; they end with the stack."""
    files = sorted(photos.rglob("*.jpg"))[:DIFFERENT]
    bodies = [path.read_bytes() for path in files]

    def service(*words, port=None, ready="/readyz") -> Way:
        output = subprocess.DEVNULL if port else subprocess.PIPE
        process = stack.enter_context(running(*words, stdout=output))
        address = f"http://127.0.0.1:{port}"
        if port is None:
            address = process.stdout.readline().split()[-1]
        wait_for(address + ready, process)
        return asked(process, address, bodies, options)

    serve = ("-m", "keras_transfer", "serve")
    ways = {OURS: service(*serve, model, "--port", "0")}
    ways[PREDICT] = predicting(stack, model, photos)
    if importlib.util.find_spec("litserve"):
        port = free_port()
        words = (beside("serving_litserve.py"), model, port)
        ways[LITSERVE] = service(*words, port=port, ready="/health")
    else:
        measurement.add(model.stem, LITSERVE, [], UNIT, "not installed")
    if options.format != "none":
        folder = model.with_suffix("")
        kt.export_classifier(model, folder, options.format)
        way = service(*serve, folder, "--port", "0")
        ways[f"{OURS}, {options.format} without TensorFlow"] = way
    return ways


def asked(process, address: str, bodies: list[bytes], options) -> Way:
    """Return what measures a service by asking it."""
    requests = clients.requests_for(address, bodies)

    def measure(seconds: float, count=options.clients, most=float("inf")):
        warm_up = 0 if seconds == float("inf") else seconds / 8
        load = clients.ask(
            address, requests, count, seconds=seconds, most=most, warm_up=warm_up
        )
        wrong = set(load.statuses) - {clients.OK, *clients.BUSY}
        assert not wrong, f"The service at {address} answered {load.statuses}"
        way.loads.append(load)
        return load.rate, load.answered

    way = Way(psutil.Process(process.pid), measure)
    return way


def predicting(stack, model: pathlib.Path, photos: pathlib.Path) -> Way:
    """Return what measures `model.predict`."""
    words = (beside("serving_predict.py"), model, photos)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = stack.enter_context(running(*words, **pipes))
    rates = []

    def run(count: int) -> float:
        process.stdin.write(f"{count}\n")
        process.stdin.flush()
        return count / float(process.stdout.readline())

    def measure(seconds: float) -> tuple[float, int]:
        if not rates:  # The first call traces the graph.
            rates.append(run(64))
        count = 32 * max(round(rates[-1] * seconds / 32), 2)
        rates.append(run(count))
        return rates[-1], count

    return Way(psutil.Process(process.pid), measure)


@contextlib.contextmanager
def running(*words, **pipes) -> Iterator[subprocess.Popen]:
    """Run Python with these words within a `with` block."""
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=child_environment(),
        encoding="utf-8",
        **pipes,
    )
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        for each in (psutil.Process(process.pid), *family):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()
                each.terminate()
        with process:
            process.wait(LONGEST)


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Wait until a service says that it is ready."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise RuntimeError(f"{url} is not ready; its process has ended: {process.poll()}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def beside(name: str) -> pathlib.Path:
    return pathlib.Path(__file__).with_name(name)


if __name__ == "__main__":
    main()
