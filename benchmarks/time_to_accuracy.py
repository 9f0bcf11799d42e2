"""Measure seconds to an accuracy on cats vs dogs, against the classic recipe.

    python benchmarks/time_to_accuracy.py [--seeds SEED ...] [--ways WAY ...]

- `ours` extracts the features of all photos into an empty folder and trains a head on
  them.
- `classic` keeps a frozen ResNet50 inside `fit`, with validation after each epoch,
  under GlobalAveragePooling, Dense(1024, relu) and Dense(2, softmax) with Adam, on
  pixels preprocessed as the weights were trained; `rescaled` does it on pixels times
  1/255, as it is found on blogs.
- `keras` and `torch` are the guides of Keras and PyTorch, see `guides.py`. They end
  with the first epoch that reaches the accuracy.

Photos, size, split and weights are the same. The accuracy to reach is that of the best
epoch of the correct classic recipe on the test photos, minus 0.5 points. Every clock
starts behind imports, listing the photos and building the backbone, and counts tracing;
measuring test accuracy is outside of it.

Runs are kept beside the report, so ways and seeds can be run one at a time, `classic`
before the guides; the summary is of all of them.
"""

import json
import math
import tempfile
import time

import keras

import keras_transfer as kt
from guides import keras_guide, torch_tutorial
from keras_transfer.models.precision import has_native_bfloat16
from keras_transfer.runtime.atomic_files import write_whole_text
from measuring import Clock, Measurement, parse, parser, ratio
from subjects import load_photos

POINTS = 0.005
# Than the whole classic recipe: where the processor computes with bfloat16 itself, and
# elsewhere. Than its first epoch that is as good.
TIMES_FASTER, THAN_FIRST = {True: 20, False: 10}, 2.5
OURS, CORRECT, RESCALED, KERAS, TORCH = WAYS = {
    "ours": "ours",
    "classic": "classic, correct",
    "rescaled": "classic, pixels / 255",
    "keras": "Keras's guide",
    "torch": "PyTorch's tutorial",
}
CLASSIC = {
    CORRECT: keras.applications.resnet50.preprocess_input,
    RESCALED: lambda images: images / 255,
}
GUIDES = {KERAS: keras_guide, TORCH: torch_tutorial}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    made.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    made.add_argument("--epochs", type=int, default=10, help="of the classic recipe")
    made.add_argument("--peer-epochs", type=int, default=25, help="of guides, at most")
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--max-images", type=int, default=2000)
    toy = {"image_size": 64, "max_images": 60, "epochs": 2, "peer_epochs": 2}
    options = parse(made, **toy, seeds=[0])
    name = f"time_to_accuracy_{options.image_size}_px_{options.max_images}_photos.json"
    path = options.output / name
    results = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for seed in options.seeds:
        for way in WAYS:
            if way in options.ways:
                run(way, seed, results, options)
                write_whole_text(path, json.dumps(results, indent=2) + "\n")
    splits = load_photos(options.image_size, options.max_images)
    settings = {"epochs": options.epochs, "epochs of guides": options.peer_epochs}
    measurement = Measurement("time_to_accuracy", options, splits.source, settings)
    summarize(measurement, results)
    measurement.keep()


def run(way: str, seed: int, results: dict, options) -> None:
    """Add the seconds and test accuracies of one way and seed to `results`."""
    if way in GUIDES and str(seed) not in results.get(CORRECT, {}):
        raise SystemExit(f"Run --ways {CORRECT} --seeds {seed} first.")
    splits = load_photos(options.image_size, options.max_images, seed)
    network = kt.build_backbone(
        "resnet50",
        # Other benchmarks do without the weights; an accuracy cannot.
        weights=None if options.quick else "imagenet",
        image_size=options.image_size,
    )
    if way == OURS:
        result = run_ours(network, splits, seed)
    elif way in CLASSIC:
        result = run_classic(network, splits, CLASSIC[way], options.epochs, seed)
    else:
        needed = accuracy_needed(results[CORRECT][str(seed)])
        try:
            result = GUIDES[way](network, splits, options.peer_epochs, seed, needed)
        except ModuleNotFoundError as error:
            print(f"{WAYS[way]} is left out: {error}", flush=True)
            return
    results.setdefault(way, {})[str(seed)] = result
    seconds, accuracies = result
    print(
        f"{WAYS[way]}, seed {seed}: {accuracies[-1]:.2%} in {seconds[-1]:.1f} s",
        flush=True,
    )


def accuracy_needed(classic) -> float:
    """Return the accuracy to reach: that of the best classic epoch, less 0.5 points."""
    _, accuracies = classic
    # A share of whole photos, which two programs may round to different floats.
    return max(accuracies) - POINTS - 1e-6


def run_ours(network: keras.Model, splits, seed: int):
    """Return the seconds and the test accuracy of features and a head."""
    keras.utils.set_random_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        features = kt.extract_features(network, splits, folder)
        model = kt.build_classifier(network, num_classes=2, share_backbone=True)
        kt.fit_head(model, features)
        seconds = time.perf_counter() - start
    return [seconds], [model.evaluate(splits.test, verbose=0)[1]]


def run_classic(network, splits, preprocess, epochs: int, seed: int):
    """Return the seconds and test accuracies up to the end of each epoch."""
    keras.utils.set_random_seed(seed)
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


def summarize(measurement: Measurement, results: dict[str, dict[str, tuple]]) -> None:
    """Add the seconds of each way, to its end and to the accuracy needed."""
    classic = results.get(CORRECT, {})
    needed = {seed: accuracy_needed(result) for seed, result in classic.items()}
    whole, reached = {way: [] for way in WAYS}, {way: [] for way in WAYS}
    for way, runs in results.items():
        whole[way] = [seconds[-1] for seconds, _ in runs.values()]
        reached[way] = [
            first_reaching(*run, needed[seed])
            for seed, run in runs.items()
            if seed in needed
        ]
        best = [100 * max(accuracies) for _, accuracies in runs.values()]
        measurement.add("best epoch", WAYS[way], best, "% test accuracy")
    for way in results:
        measurement.add("whole run", WAYS[way], whole[way], "seconds")
    for way in results:
        found = [value for value in reached[way] if math.isfinite(value)]
        measurement.add("to the accuracy", WAYS[way], found, "seconds", "never reached")
        measurement.remarks.append(
            f"Seeds that reach the accuracy, {WAYS[way]}: {len(found)} of "
            f"{len(reached[way])}."
        )
    for what, seconds, bound in (
        (
            "the whole classic recipe",
            whole[CORRECT],
            TIMES_FASTER[has_native_bfloat16()],
        ),
        ("the first epoch of it that is as good", reached[CORRECT], THAN_FIRST),
        (WAYS[KERAS], reached[KERAS], 1),
        (WAYS[TORCH], reached[TORCH], 1),
    ):
        measurement.target(
            f"times faster to the accuracy than {what}",
            ratio(seconds, reached[OURS]),
            at_least=bound,
        )


def first_reaching(seconds, accuracies, needed: float) -> float:
    """Return the first of `seconds` with the accuracy needed, else infinity."""
    pairs = zip(seconds, accuracies, strict=True)
    return next((taken for taken, found in pairs if found >= needed), math.inf)


if __name__ == "__main__":
    main()
