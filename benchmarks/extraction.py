"""Measure images per second: ours, plain Keras and OpenVINO.

    python benchmarks/extraction.py [--backbones NAME ...]

Two comparisons for each backbone, both without imports, tracing and compilation:

- The bare network with its pooling on the same batches of float32 tensors in memory.
- JPEG files: read, decoded, resized, run and kept on disk by what `extract_features`
  uses, against the bare network on as many tensors. A third way is the whole call of
  `extract_features`, with its key and its tracing.
"""

import functools
import itertools
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.features import cache
from keras_transfer.features.array_files import write_outputs
from keras_transfer.models.precision import fast_copy, fast_dtype, has_native_bfloat16
from measuring import Measurement, interleaved, parse, parser, ratio
from openvino_network import is_installed, openvino_runs
from subjects import build_network, kind_of_photos, pooled, write_photos

UNIT = "images per second"
BATCH = 32
OF_OPENVINO = {"resnet50": 0.90, "vgg16": 0.90}
OF_PLAIN_BFLOAT16 = {"resnet50": 1.5}
OF_TENSORS = {"resnet50": 0.90, "vgg16": 0.95}


def main() -> None:
    made = parser(__doc__, rounds=5)
    names = ["resnet50", "vgg16", "efficientnet_lite0"]
    made.add_argument("--backbones", nargs="+", default=names)
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--tensors", type=int, default=128, help="images in memory")
    made.add_argument("--files", type=int, default=512, help="JPEG files")
    toy = {"image_size": 64, "tensors": 64, "files": 64, "rounds": 3}
    options = parse(made, backbones=["efficientnet_lite0"], **toy)
    measurement = Measurement(
        "extraction",
        options,
        kind_of_photos(),
        {
            "pixels": options.image_size,
            "tensors": options.tensors,
            "files": options.files,
            "batch": BATCH,
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        photos = pathlib.Path(folder, "photos")
        write_photos(photos, options.files)
        splits = kt.load_directory(photos, image_size=options.image_size)
        images, _ = splits.arrays("train")
        for name in options.backbones:
            network = build_network(name, options.image_size)
            count = options.tensors // BATCH
            compare_networks(measurement, network, images, count, options)
            compare_files(measurement, network, splits, options, pathlib.Path(folder))
    measurement.keep()


def compare_networks(measurement, network, images, count, options) -> None:
    """Compare the bare network on tensors in memory in all frameworks."""
    dtypes = ["float32", "bfloat16"] if has_native_bfloat16() else ["float32"]
    # The photos again and again, where there are fewer of them.
    images = np.resize(images, (count * BATCH, *images.shape[1:])).astype("float32")
    arrays = np.split(images, count)
    tensors = [tf.constant(array) for array in arrays]
    ways = {}
    for dtype in dtypes:
        ways[f"ours, {dtype}"] = over(compiled(network, dtype), tensors)
        plain = pooled(plain_keras(network.name, options.image_size, dtype))
        ways[f"Keras, {dtype}"] = over(plain.predict_on_batch, tensors)
    if is_installed():
        for dtype, run in openvino_runs(pooled(network), arrays, dtypes).items():
            ways[f"OpenVINO, {dtype}"] = run
    for run in ways.values():
        run()  # Traces, and sets up what later runs reuse.
    seconds = interleaved(ways, options.rounds)
    group = f"{network.name}, tensors"
    for way, dtype in itertools.product(("ours", "Keras", "OpenVINO"), dtypes):
        taken = seconds.setdefault(f"{way}, {dtype}", [])
        rates = [len(images) / value for value in taken]
        measurement.add(group, f"{way}, {dtype}", rates, UNIT, "not installed")
    for dtype in dtypes:
        measurement.target(
            f"{network.name}: ours of OpenVINO, {dtype}",
            ratio(seconds[f"OpenVINO, {dtype}"], seconds[f"ours, {dtype}"]),
            at_least=OF_OPENVINO.get(network.name),
        )
        measurement.target(
            f"{network.name}: ours of Keras, {dtype}",
            ratio(seconds[f"Keras, {dtype}"], seconds[f"ours, {dtype}"]),
            at_least=OF_PLAIN_BFLOAT16.get(network.name)
            if dtype == "bfloat16"
            else None,
        )


def compare_files(measurement, network, splits, options, folder) -> None:
    """Compare JPEG files with as many tensors in memory, in the precision chosen."""
    dtype = fast_dtype(network, frozen=True)
    run = compiled(network, dtype)
    total = sum(splits.counts.values())
    batches = [images for images, _ in splits.ordered("train")]
    whole = [batch for batch in batches if len(batch) == BATCH] or batches[:1]
    tensors = list(itertools.islice(itertools.cycle(whole), -(-total // BATCH)))

    def files() -> None:
        target = pathlib.Path(tempfile.mkdtemp(dir=folder))
        for split, count in splits.counts.items():
            write_outputs(
                run,
                functools.partial(splits.ordered, split),
                target / f"{split}_features.npy",
                target / f"{split}_labels.npy",
                (count, network.output_shape[-1]),
                np.float32,
            )

    def whole_call() -> None:
        target = tempfile.mkdtemp(dir=folder)
        kt.extract_features(network, splits, target, verbose=False)

    ways = {
        f"ours, JPEG files, {dtype}": files,
        f"ours, tensors, {dtype}": over(run, tensors),
        f"ours, extract_features with tracing, {dtype}": whole_call,
    }
    files()  # Traces, and brings the files into memory.
    seconds = interleaved(ways, options.rounds)
    from_files, from_tensors, _ = rates = [
        [images / value for value in taken]
        for images, taken in zip(
            (total, len(tensors) * len(whole[0]), total), seconds.values(), strict=True
        )
    ]
    for way, values in zip(ways, rates, strict=True):
        measurement.add(f"{network.name}, files", way, values, UNIT)
    measurement.target(
        f"{network.name}: JPEG files of tensors, {dtype}",
        ratio(from_files, from_tensors),
        at_least=OF_TENSORS.get(network.name),
    )


def compiled(network: keras.Model, dtype: str):
    """Return what `extract_features` runs on each batch."""
    return cache.compiled(pooled(fast_copy(network, dtype)), tf.float32)


def plain_keras(name: str, image_size: int, dtype: str) -> keras.Model:
    """Build the backbone under Keras's own policy for a precision."""
    policies = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policies[dtype])
    try:
        return build_network(name, image_size)
    finally:
        keras.config.set_dtype_policy(before)


def over(run, batches):
    """Return what runs `run` over all batches, and waits for each result."""
    return lambda: [np.asarray(run(batch)) for batch in batches]


if __name__ == "__main__":
    main()
