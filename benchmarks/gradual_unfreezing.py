"""Measure what the frozen epochs of gradual unfreezing cost.

    python benchmarks/gradual_unfreezing.py [BACKBONE]

An epoch in which `GradualUnfreezing` keeps all blocks frozen is compared with one of a
model that was frozen throughout, in turn: medians of two epochs in each of five rounds.
"""

import statistics
import sys
import time

import keras
import numpy as np

import keras_transfer as kt

ROUNDS = 5
STEPS = 6


class Clock(keras.callbacks.Callback):
    """Note the seconds of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def compiled(name: str) -> keras.Model:
    backbone = kt.build_backbone(name, weights=None, image_size=128)
    model = kt.build_classifier(backbone, num_classes=2, share_backbone=True)
    kt.compile_classifier(model, keras.optimizers.AdamW(1e-3, weight_decay=0.1))
    return model


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "resnet50"
    kt.profile("quick")
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=128, max_images=340)
    photos = splits.train.take(STEPS).cache()
    models = {"frozen throughout": compiled(name), "gradual": compiled(name)}
    before = {v.path: v.numpy() for v in models["gradual"].weights}
    seconds = {way: [] for way in models}
    for _ in range(ROUNDS):
        for way, model in models.items():
            clock = Clock()
            callbacks = [clock]
            if way == "gradual":
                callbacks.append(kt.callbacks.GradualUnfreezing(epochs_per_block=3))
            model.fit(photos, epochs=3, callbacks=callbacks, shuffle=False, verbose=0)
            seconds[way] += clock.seconds[1:]  # The first one traces the step.
    for way, epochs in seconds.items():
        print(f"{way:>17}: {statistics.median(epochs):.2f} s an epoch")
    ratio = statistics.median(seconds["gradual"]) / statistics.median(
        seconds["frozen throughout"]
    )
    backbone = [path for path in before if not path.startswith("head")]
    after = {v.path: v.numpy() for v in models["gradual"].weights}
    same = all(np.array_equal(before[path], after[path]) for path in backbone)
    print(f"ratio: {ratio:.2f}; {len(backbone)} frozen arrays bit-identical: {same}")


if __name__ == "__main__":
    main()
