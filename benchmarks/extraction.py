"""Measure images per second: ours and the other frameworks, on the same weights.

    python benchmarks/extraction.py [--backbones NAME ...] [--dtypes NAME ...]
        [--peers [NAME ...]]

Two comparisons for each backbone, both without imports, tracing and compilation. Each
is kept under a name of its own, so a part can be run at a time:

- The bare network with its pooling on the same batches of float32 tensors in memory, in
  each precision.
- JPEG files, read, decoded, resized and run. Decoding and the network share the cores,
  so at best a photo takes as long as both do alone, one after the other. A further way
  is the whole call of `extract_features`, with its key and its tracing.
"""

import itertools
import pathlib
import statistics
import tempfile

import keras
import numpy as np

import keras_transfer as kt
from keras_transfer.features.inference import frozen_network
from keras_transfer.models.precision import fast_dtype, has_native_bfloat16
from measuring import Measurement, interleaved, parse, parser, ratio
from peers import PEERS, check, described
from subjects import build_network, kind_of_photos, pooled, write_photos

UNIT = "images per second"
BATCH = 32
OF_BEST_PEER, OF_BOTH_ALONE = 0.97, 0.95
OURS = "ours"
# A peer that takes so many times as long as the fastest one is timed twice.
OUT_OF_REACH = 1.2
# Batches on which ways are traced, checked, and compared beforehand.
TRIED = 2


def main() -> None:
    made = parser(__doc__, rounds=7)
    names = ["resnet50", "vgg16", "efficientnet_lite0"]
    dtypes = ["float32", "bfloat16"] if has_native_bfloat16() else ["float32"]
    made.add_argument("--backbones", nargs="+", default=names)
    made.add_argument("--dtypes", nargs="*", choices=dtypes, default=dtypes)
    made.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--tensors", type=int, default=4, help="batches in memory")
    made.add_argument("--files", type=int, default=512, help="JPEG files; 0 for none")
    toy = {"image_size": 64, "tensors": 2, "files": 64, "rounds": 3}
    options = parse(made, backbones=["efficientnet_lite0"], **toy)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_photos(folder / "photos", options.files or BATCH)
        splits = kt.load_directory(folder / "photos", image_size=options.image_size)
        images, _ = splits.arrays("train")
        # The photos again and again, where there are fewer of them.
        shape = (options.tensors * BATCH, *images.shape[1:])
        images = np.resize(images, shape).astype("float32")
        batches = np.split(images, options.tensors)
        for name in options.backbones:
            network = build_network(name, options.image_size)
            for dtype in options.dtypes:
                compare_networks(network, batches, dtype, options)
            if options.files:
                compare_files(network, splits, folder, options)


def compare_networks(network: keras.Model, batches: list, dtype: str, options) -> None:
    """Compare the bare network on tensors in memory in all frameworks."""
    settings = {"pixels": options.image_size, "batch": BATCH, "batches": len(batches)}
    measurement = Measurement(
        f"extraction: {network.name}, {dtype}", options, kind_of_photos(), settings
    )
    own = frozen_network(network, batches[0].shape[1:], dtype, pooled=True)
    ways, there = {OURS: lambda batches: lambda: stream(own, batches)}, []
    for peer in options.peers:
        try:
            ways |= PEERS[peer](network, batches, dtype)
            there.append(peer)
        except ModuleNotFoundError as error:
            print(f"{peer} is left out: {error}", flush=True)
    expected = pooled(network).predict_on_batch(batches[0])
    tried = {way: over(batches[:TRIED]) for way, over in ways.items()}
    for way, run in tried.items():
        check(way, run()[0], expected, dtype)  # Traces, too.
    first = interleaved(tried, 2)
    best = min((min(taken) for way, taken in first.items() if way != OURS), default=0)
    seconds = interleaved(
        {
            way: over(batches)
            for way, over in ways.items()
            if way == OURS or min(first[way]) <= OUT_OF_REACH * best
        },
        options.rounds,
    )
    for way in ways:
        count = len(batches) if way in seconds else TRIED
        taken = seconds.get(way, first[way])
        rates = [count * BATCH / value for value in taken]
        measurement.add(f"{network.name}, {dtype}", way, rates, UNIT)
    ours = seconds.pop(OURS)
    if seconds:
        best = min(seconds, key=lambda way: statistics.median(seconds[way]))
        measurement.target(
            f"ours ({own.engine}) of the best other ({best})",
            ratio(seconds[best], ours),
            at_least=OF_BEST_PEER,
        )
    if there:
        measurement.remarks.append(described(there))
    measurement.keep()


def compare_files(network: keras.Model, splits, folder, options) -> None:
    """Compare JPEG files with what the network and decoding take alone."""
    dtype = fast_dtype(network, frozen=True)
    settings = {"pixels": options.image_size, "batch": BATCH, "files": options.files}
    measurement = Measurement(
        f"extraction: {network.name}, files", options, kind_of_photos(), settings
    )
    shape = splits.train.element_spec[0].shape[1:]
    own = frozen_network(network, shape, dtype, pooled=True)
    total = sum(splits.counts.values())
    images = [np.asarray(images) for images, _ in splits.ordered("train")]
    whole = [batch for batch in images if len(batch) == BATCH] or images[:1]
    tensors = list(itertools.islice(itertools.cycle(whole), -(-total // BATCH)))

    def decoding() -> None:
        for split in splits.counts:
            for _ in splits.ordered(split):
                pass

    def files() -> None:
        # One split behind the other, as `extract_features` has them.
        parts = (splits.ordered(split) for split in splits.counts)
        stream(own, itertools.chain.from_iterable(parts))

    def whole_call() -> None:
        target = tempfile.mkdtemp(dir=folder)
        kt.extract_features(network, splits, target, verbose=False)

    ways = {
        "ours, JPEG files": files,
        "ours, tensors": lambda: stream(own, tensors),
        "ours, decoding alone": decoding,
        "ours, extract_features": whole_call,
    }
    files()  # Brings the files into memory.
    seconds = interleaved(ways, options.rounds)
    images = [total, len(tensors) * len(whole[0]), total, total]
    per_image = {
        way: [value / count for value in taken]
        for (way, taken), count in zip(seconds.items(), images, strict=True)
    }
    for way, values in per_image.items():
        rates = [1 / value for value in values]
        measurement.add(f"{network.name}, {dtype}", way, rates, UNIT)
    from_files, from_tensors, decoded, _ = map(statistics.median, per_image.values())
    measurement.target(
        f"JPEG files of what both parts take alone ({own.engine}, {dtype})",
        (from_tensors + decoded) / from_files,
        at_least=OF_BOTH_ALONE,
    )
    measurement.target("JPEG files of tensors", from_tensors / from_files)
    measurement.keep()


def stream(network, batches) -> list[np.ndarray]:
    """Return what our network makes of batches of images, or of images and labels."""
    items = (batch if isinstance(batch, tuple) else (batch, None) for batch in batches)
    return [features for features, _ in network.stream(items)]


if __name__ == "__main__":
    main()
