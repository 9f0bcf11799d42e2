"""Two workers of Ray on loopback learn one classifier, and one of them dies.

Run by test_learning.py in a network namespace of its own. The last line that it prints
says in JSON how many seconds each part took.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys
import time

import keras
import numpy as np

import keras_transfer as kt
from tests.helpers.ray_cluster import ADDRESS, bring_loopback_up, ray_nodes
from tests.helpers.small_networks import images_and_labels, small_classifier

EPOCHS = 4


class Diary(keras.callbacks.Callback):
    """Note each epoch, and end the second worker's process in the third one, once."""

    def __init__(self, folder, number, dies):
        super().__init__()
        self.notes, self.dies = folder / f"epochs_{number}", dies and number == 1

    def on_epoch_begin(self, epoch, logs=None):
        with self.notes.open("a") as notes:
            notes.write(str(epoch))
        if self.dies and epoch == 2 and self.notes.read_text().count("2") == 1:
            # Ray asks every two seconds what was reported.
            time.sleep(4)
            self.on_train_batch_end = self.end

    def end(self, batch, logs=None):
        os.kill(os.getpid(), signal.SIGKILL)


def learn(splits, seed, callbacks=()):
    """Train the head and the second block, with dropout nowhere."""
    # What Ray sets, so that TensorFlow would look for Keras 2.
    assert "TF_USE_LEGACY_KERAS" not in os.environ
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    folder = pathlib.Path(os.environ["KERAS_TRANSFER_DATA_DIR"])
    keras.utils.set_random_seed(seed)
    model = small_classifier(blocks=2, normalized=True)
    kt.unfreeze(model, "block2")
    kt.compile_classifier(model, keras.optimizers.AdamW(0.01, weight_decay=0.1))
    diary = [Diary(folder, task["index"], dies=seed == 0)] if task else []
    model.fit(
        splits.train,
        validation_data=splits.validation,
        epochs=EPOCHS,
        callbacks=[*diary, *callbacks],
        shuffle=False,
        verbose=0,
    )
    return model


@contextlib.contextmanager
def timed(name, seconds):
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 1)


def main(folder, seeds):
    os.environ["KERAS_TRANSFER_DATA_DIR"] = str(folder)
    bring_loopback_up()
    images, labels = images_and_labels(60)
    images = np.round(images * 8)
    splits = kt.Splits.from_arrays((images, labels), batch_size=8)
    seconds = {}

    def trained(seed):
        name = f"{__spec__.name}:learn"
        return kt.train_on_cluster(
            name, splits, cluster=ADDRESS, gpus_per_worker=0, seed=seed
        )

    with ray_nodes(2, num_cpus=1):
        for seed in seeds:
            with timed(f"seed {seed}", seconds):
                path = trained(seed)
            notes = [folder / f"epochs_{number}" for number in range(2)]
            assert {each.read_text() for each in notes} == {
                "01223" if not seed else "0123"
            }
            for each in notes:
                each.unlink()
            saved = keras.saving.load_model(path)
            # The seed orders the photos, too.
            keras.utils.set_random_seed(seed)
            splits = kt.Splits.from_arrays((images, labels), batch_size=8)
            alone = learn(splits, seed)
            for one, other in zip(alone.weights, saved.weights, strict=True):
                assert one.name == other.name
                assert np.abs(np.asarray(one) - np.asarray(other)).max() < 1e-6
    # Found again, also where there is no cluster any more.
    assert trained(seeds[-1]) == path
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), [*map(int, sys.argv[2:])])
