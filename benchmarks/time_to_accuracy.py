"""Measure seconds to an accuracy on cats vs dogs, against the classic recipe.

    python benchmarks/time_to_accuracy.py [--seeds SEED ...] [--rescaled-seeds SEED ...]

The classic recipe keeps a frozen ResNet50 inside `fit`, with validation after each
epoch, under GlobalAveragePooling, Dense(1024, relu) and Dense(2, softmax) with Adam:
once on pixels times 1/255, as it is found on blogs, once preprocessed as the weights
were trained. Ours extracts the features of all photos into an empty folder and trains a
head on them. Photos, size and split are the same.

The accuracy to reach is the one that the correct classic recipe ends with on the test
photos, minus 0.5 points. Every clock starts behind imports, listing the photos and
building the backbone, and counts tracing; measuring test accuracy is outside of it.
"""

import math
import tempfile
import time

import keras

import keras_transfer as kt
from keras_transfer.models.precision import has_native_bfloat16
from measuring import Measurement, parse, parser, ratio
from subjects import load_photos

POINTS = 0.005
# Where the processor computes with bfloat16 itself, and elsewhere.
TIMES_FASTER = {True: 15, False: 10}
OURS, CORRECT, RESCALED = "ours", "classic, correct", "classic, pixels / 255"
CLASSIC = {
    CORRECT: keras.applications.resnet50.preprocess_input,
    RESCALED: lambda images: images / 255,
}


class Clock(keras.callbacks.Callback):
    """Note seconds and test accuracy of each epoch; the clock stands still for it."""

    def __init__(self, test):
        super().__init__()
        self.test, self.seconds, self.accuracies = test, [], []
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        self.seconds.append(now - self.start)
        self.accuracies.append(self.model.evaluate(self.test, verbose=0)[1])
        self.start += time.perf_counter() - now


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    made.add_argument(
        "--rescaled-seeds",
        nargs="*",
        type=int,
        help="of the seeds, those that also run on pixels / 255 (default: all)",
    )
    made.add_argument("--epochs", type=int, default=10, help="of the classic recipe")
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--max-images", type=int, default=2000)
    toy = {"image_size": 64, "max_images": 60, "epochs": 2, "seeds": [0]}
    options = parse(made, **toy)
    ways = [OURS, *CLASSIC]
    rescaled = options.rescaled_seeds
    rescaled = options.seeds if rescaled is None else rescaled
    results = {way: {} for way in ways}
    for seed in options.seeds:
        for way in ways:
            if way == RESCALED and seed not in rescaled:
                continue
            splits = load_photos(options.image_size, options.max_images, seed)
            network = kt.build_backbone(
                "resnet50",
                # Other benchmarks do without the weights; an accuracy cannot.
                weights=None if options.quick else "imagenet",
                image_size=options.image_size,
            )
            keras.utils.set_random_seed(seed)
            if way == OURS:
                result = run_ours(network, splits)
            else:
                result = run_classic(network, splits, CLASSIC[way], options.epochs)
            results[way][seed] = result
            seconds, accuracies = result
            print(
                f"{way}, seed {seed}: {accuracies[-1]:.2%} in {seconds[-1]:.1f} s",
                flush=True,
            )
    settings = {"seeds": len(options.seeds), "epochs": options.epochs}
    measurement = Measurement("time_to_accuracy", options, splits.source, settings)
    summarize(measurement, results)
    measurement.keep()


def run_ours(network: keras.Model, splits) -> tuple[list[float], list[float]]:
    """Return the seconds and the test accuracy of features and a head."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        features = kt.extract_features(network, splits, folder)
        model = kt.build_classifier(network, num_classes=2, share_backbone=True)
        kt.fit_head(model, features)
        seconds = time.perf_counter() - start
    return [seconds], [model.evaluate(splits.test, verbose=0)[1]]


def run_classic(network, splits, preprocess, epochs):
    """Return the seconds and test accuracies up to the end of each epoch."""
    base = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=network.input_shape[1:]
    )
    base.set_weights(network.get_weights())
    for layer in base.layers:
        layer.trainable = False
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    x = keras.layers.Dense(1024, activation="relu")(x)
    model = keras.Model(base.input, keras.layers.Dense(2, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    train, validation, test = (
        photos.map(lambda images, labels: (preprocess(images), labels))
        for photos in (splits.train, splits.validation, splits.test)
    )
    clock = Clock(test)
    model.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        callbacks=[clock],
        shuffle=False,  # The data set shuffles itself.
        verbose=0,
    )
    return clock.seconds, clock.accuracies


def summarize(measurement: Measurement, results: dict[str, dict[int, tuple]]) -> None:
    """Add the seconds of each way, to its end and to the accuracy needed."""
    needed = {
        seed: accuracies[-1] - POINTS
        for seed, (_, accuracies) in results[CORRECT].items()
    }
    whole, reached = {}, {}
    for way, runs in results.items():
        whole[way] = [seconds[-1] for seconds, _ in runs.values()]
        reached[way] = [
            first_reaching(*run, needed[seed]) for seed, run in runs.items()
        ]
    for way, runs in results.items():
        last = [100 * accuracies[-1] for _, accuracies in runs.values()]
        measurement.add("at the end", way, last, "% test accuracy")
    for way, seconds in whole.items():
        measurement.add("whole run", way, seconds, "seconds")
    for way, seconds in reached.items():
        found = [value for value in seconds if math.isfinite(value)]
        measurement.add("to the accuracy", way, found, "seconds", "never reached")
        measurement.remarks.append(
            f"Seeds that reach the accuracy, {way}: {len(found)} of {len(seconds)}."
        )
    measurement.target(
        "times faster to the accuracy than the whole classic recipe",
        # Nothing, where most of the seeds do not get there.
        ratio(whole[CORRECT], reached[OURS]),
        at_least=TIMES_FASTER[has_native_bfloat16()],
    )
    measurement.target(
        "times faster than the first epoch of it that is as good",
        ratio(reached[CORRECT], reached[OURS]),
    )


def first_reaching(seconds, accuracies, needed: float) -> float:
    """Return the first of `seconds` with the accuracy needed, else infinity."""
    pairs = zip(seconds, accuracies, strict=True)
    return next((taken for taken, found in pairs if found >= needed), math.inf)


if __name__ == "__main__":
    main()
