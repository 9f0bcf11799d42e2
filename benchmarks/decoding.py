"""Measure decoding and resizing of JPEG files, and what each way does to features.

    python benchmarks/decoding.py [--image-sizes SIZE ...] [--backbones NAME ...]

Each way turns the bytes of a photo into the pixels that a network sees. Measured are
milliseconds of processor time a photo, photos a second with as many threads as cores,
how far the pixels are from those of today, and the accuracy of a linear probe on
features of them, in five folds that are the same for all ways. Ways whose package is
not installed are left out with a line.
"""

import concurrent.futures
import functools
import importlib.util
import io
import os
import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_transfer.data.decoding import decode_tensor, resize
from keras_transfer.evaluation.linear_probe import cross_validated_accuracy
from keras_transfer.features.inference import frozen_network
from keras_transfer.models.precision import fast_dtype
from measuring import Measurement, parse, parser
from subjects import build_network, kind_of_photos, write_photos

BATCH = 32
TODAY = "TensorFlow, as today"


def main() -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--image-sizes", nargs="+", type=int, default=[160, 224])
    backbones = ["resnet50", "efficientnet_lite0"]
    made.add_argument("--backbones", nargs="*", default=backbones)
    made.add_argument("--files", type=int, default=1500, help="photos for the probe")
    made.add_argument("--timed", type=int, default=200, help="photos that are timed")
    toy = {"image_sizes": [64], "files": 100, "timed": 50, "rounds": 2}
    options = parse(made, backbones=["efficientnet_lite0"], **toy)
    measurement = Measurement(
        "decoding",
        options,
        kind_of_photos(),
        {"photos": options.files, "timed": options.timed},
    )
    with tempfile.TemporaryDirectory() as folder:
        photos = pathlib.Path(folder, "photos")
        write_photos(photos, options.files)
        files = sorted(photos.glob("*/*.jpg"), key=lambda path: path.name)
        _, labels = np.unique([path.parent.name for path in files], return_inverse=True)
        data = [path.read_bytes() for path in files]
    for image_size in options.image_sizes:
        ways = installed_ways(image_size)
        compare_speed(measurement, ways, data[: options.timed], image_size, options)
        pixels = compare_pixels(measurement, ways, data, image_size)
        for name in options.backbones:
            network = build_network(name, image_size)
            compare_probes(measurement, network, pixels, labels)
    measurement.keep()


def compare_speed(measurement, ways, data, image_size: int, options) -> None:
    """Compare processor time a photo, and photos a second on all cores."""
    spent, rates = {way: [] for way in ways}, {way: [] for way in ways}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in range(1 + options.rounds):
            for way, run in ways.items():
                start, used = time.perf_counter(), time.process_time()
                list(pool.map(run, data))
                rates[way].append(len(data) / (time.perf_counter() - start))
                spent[way].append(1000 * (time.process_time() - used) / len(data))
    for unit, values in (
        ("ms of a core a photo", spent),
        ("photos per second", rates),
    ):
        for way in ways:  # The first round sets up what the others reuse.
            measurement.add(f"{image_size} px", way, values[way][1:], unit)


def compare_pixels(measurement, ways, data, image_size: int) -> dict[str, np.ndarray]:
    """Return the pixels of each way, and compare them with those of today."""
    pixels = {way: np.stack([*map(run, data)]) for way, run in ways.items()}
    today = pixels[TODAY].astype("int16")
    for way, values in pixels.items():
        away = [np.abs(a - b).mean() for a, b in zip(values, today, strict=True)]
        unit = "of 255 away, mean"
        measurement.add(f"{image_size} px", way, [np.mean(away)], unit)
    return pixels


def compare_probes(measurement, network, pixels, labels) -> None:
    """Compare the accuracy of a linear probe on features of the pixels of each way."""
    shape, dtype = network.input_shape[1:], fast_dtype(network, frozen=True)
    frozen = frozen_network(network, shape, dtype, pooled=True)
    group = f"{network.name} at {shape[0]} px"

    def probe(images: np.ndarray) -> float:
        batches = np.split(images, range(BATCH, len(images), BATCH))
        items = ((batch.astype("float32"), None) for batch in batches)
        features = np.concatenate([values for values, _ in frozen.stream(items)])
        return 100 * cross_validated_accuracy(features, labels)

    found = {}
    for way, images in pixels.items():
        same = [each for each in found if np.array_equal(images, pixels[each])]
        found[way] = found[same[0]] if same else probe(images)
        measurement.add(group, way, [found[way]], "% of a linear probe")


def installed_ways(image_size: int) -> dict:
    """Return functions from the bytes of a JPEG to pixels, by name."""
    ways = {
        TODAY: _graph(lambda data: resize(decode_tensor(data), image_size)),
        "TensorFlow, reduced": _graph(lambda data: _reduced(data, image_size)),
        "TensorFlow, INTEGER_FAST": _graph(lambda data: _rough(data, image_size)),
        "Pillow": lambda data: _shrink(_opened(data), image_size),
        "Pillow, draft": lambda data: _draft(data, image_size),
    }
    # Each wheel brings the library of its own. Pillow resizes.
    for name, decoder in (("simplejpeg", _simplejpeg), ("cv2", _opencv)):
        if importlib.util.find_spec(name):
            decoder = functools.partial(decoder, importlib.import_module(name))
            ways[f"{name} and Pillow"] = functools.partial(
                _array_way, decoder, image_size
            )
        else:
            print(f"{name} is left out: it is not installed.", flush=True)
    return ways


def _graph(run):
    graph = tf.function(run, input_signature=[tf.TensorSpec((), tf.string)])
    return lambda data: graph(data).numpy()


def _reduced(data, image_size: int):
    """Decode at a half, a quarter or an eighth of the size, if that is enough."""
    side = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2])

    def at(ratio: int):
        options = {"channels": 3, "dct_method": "INTEGER_ACCURATE", "ratio": ratio}
        return lambda: tf.io.decode_jpeg(data, **options)

    branches = [(side >= ratio * image_size, at(ratio)) for ratio in (8, 4, 2)]
    return resize(tf.case(branches, default=at(1)), image_size)


def _rough(data, image_size: int):
    image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_FAST")
    return resize(image, image_size)


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _draft(data: bytes, image_size: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (image_size, image_size))
    return _shrink(image.convert("RGB"), image_size)


def _shrink(image: Image.Image, image_size: int) -> np.ndarray:
    size = (image_size, image_size)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def _array_way(decoder, image_size: int, data: bytes) -> np.ndarray:
    return _shrink(Image.fromarray(decoder(data)), image_size)


def _simplejpeg(package, data: bytes) -> np.ndarray:
    return package.decode_jpeg(data, "RGB")


def _opencv(package, data: bytes) -> np.ndarray:
    bgr = package.imdecode(np.frombuffer(data, np.uint8), package.IMREAD_COLOR)
    return bgr[..., ::-1].copy()


if __name__ == "__main__":
    main()
