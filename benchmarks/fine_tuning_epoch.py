"""Measure a fine-tuning epoch: plain, with a cached prefix, and the bare tail.

    python benchmarks/fine_tuning_epoch.py [--cases BACKBONE:BLOCK:PIXELS ...]

All three train the same blocks in the same precision, without validation, after a
first epoch that traces and fills what is kept in memory. Not in it is the one pass that
makes the cached feature maps. "Plain" trains the model as Keras computes it, as
`fine_tune` does with cache_prefix=False. With a cached prefix, and in the "bare tail",
BatchNormalization is folded into the convolutions within the step. "Bare tail" is the
same training on the same batches, kept as tensors in memory.
"""

import tempfile

import keras

import keras_transfer as kt
from keras_transfer.models.learner import learner_of
from keras_transfer.models.precision import fast_copy, fast_dtype, same_copy
from measuring import Measurement, interleaved, parse, parser, ratio
from subjects import build_network, load_photos

CASES = ["resnet50:conv5:224", "resnet50:conv5:160", "vgg16:block5:224"]
OF_PLAIN = dict(zip(CASES, (0.36, 0.50, 0.30), strict=True))
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
            "plain": epoch(plain_copy(model, options.dtype), splits.train),
            "ours, cached prefix": epoch(own_learner(tail, options.dtype), maps.train),
            "bare tail": epoch(own_learner(tail, options.dtype), maps.train.cache()),
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


def plain_copy(network: keras.Model, dtype: str | None) -> keras.Model:
    """Return a copy that computes each layer by itself, in the same precision."""
    # A copy also in float32, so that each way has an optimizer and weights of its own.
    return fast_copy(same_copy(network), dtype)


def own_learner(network: keras.Model, dtype: str | None) -> keras.Model:
    """Return the copy that learns in `fine_tune`, which in float32 may be no copy."""
    return learner_of(same_copy(network), dtype)


def epoch(learner: keras.Model, photos):
    """Return what trains a model for one epoch, as `fine_tune` does."""
    kt.compile_classifier(learner, kt.discriminative_learning_rates(learner, 1e-4))
    return lambda: learner.fit(photos, shuffle=False, verbose=0)


if __name__ == "__main__":
    main()
