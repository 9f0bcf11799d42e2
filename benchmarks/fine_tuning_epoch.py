"""Measure a fine-tuning epoch: plain, with a cached prefix, and the bare tail.

    python benchmarks/fine_tuning_epoch.py [--cases BACKBONE:BLOCK:PIXELS ...]

All three train the same blocks in the same precision, without validation, after a
first epoch that traces and fills what is kept in memory. Not in it is the one pass that
makes the cached feature maps. "Bare tail" is the same training on the same batches,
kept as tensors in memory.
"""

import tempfile

import keras

import keras_transfer as kt
from keras_transfer.models.precision import fast_copy, fast_dtype
from measuring import Measurement, interleaved, parse, parser, ratio
from subjects import build_network, load_photos

CASES = ["resnet50:conv5:224", "resnet50:conv5:160", "vgg16:block5:224"]
OF_PLAIN = dict(zip(CASES, (0.40, 0.50, 0.30), strict=True))
OF_BARE_TAIL = 1.15


def main() -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--cases", nargs="+", default=CASES)
    made.add_argument("--max-images", type=int, default=480)
    made.add_argument("--dtype", help="default: the faster one here")
    toy = {"cases": ["efficientnet_lite0:top:64"], "max_images": 60, "rounds": 3}
    options = parse(made, **toy)
    measurement = Measurement("fine_tuning_epoch", options, "", {})
    for case in options.cases:
        measure(measurement, case, options)
    measurement.keep()


def measure(measurement: Measurement, case: str, options) -> None:
    """Time the epochs of one backbone, from one block on."""
    name, block, pixels = case.split(":")
    splits = load_photos(int(pixels), options.max_images)
    network = build_network(name, int(pixels))
    model = kt.build_classifier(network, num_classes=2, share_backbone=True)
    blocks = kt.block_names(model)
    frozen, tail = kt.split_at_block(model, blocks[blocks.index(block) - 1])
    kt.unfreeze(model, from_block=block)
    with tempfile.TemporaryDirectory() as folder:
        maps = kt.extract_feature_maps(
            frozen, splits, dtype=options.dtype, cache_dir=folder
        )
        ways = {
            "plain": epoch(model, splits.train, options.dtype),
            "ours, cached prefix": epoch(tail, maps.train, options.dtype),
            "bare tail": epoch(tail, maps.train.cache(), options.dtype),
        }
        for run in ways.values():
            run()
        seconds = interleaved(ways, options.rounds)
    dtype = fast_dtype(frozen, options.dtype, frozen=True)
    group = f"{name} from {block} at {pixels} px, {dtype}"
    for way, taken in seconds.items():
        measurement.add(group, way, taken, "seconds an epoch")
    cached = seconds["ours, cached prefix"]
    measurement.target(
        f"{group}: cached prefix of bare tail",
        ratio(cached, seconds["bare tail"]),
        at_most=OF_BARE_TAIL,
    )
    measurement.target(
        f"{group}: cached prefix of plain",
        ratio(cached, seconds["plain"]),
        at_most=OF_PLAIN.get(case),
    )
    measurement.data = f"{splits.counts['train']:,} training images of {splits.name}"


def epoch(network: keras.Model, photos, dtype: str | None):
    """Return what trains a copy of `network` for one epoch, as `fine_tune` does."""
    # A copy also in float32, so that each way has an optimizer and weights of its own.
    learner = fast_copy(keras.models.clone_model(network), dtype)
    learner.set_weights(network.get_weights())
    kt.compile_classifier(learner, kt.discriminative_learning_rates(learner, 1e-4))
    return lambda: learner.fit(photos, shuffle=False, verbose=0)


if __name__ == "__main__":
    main()
