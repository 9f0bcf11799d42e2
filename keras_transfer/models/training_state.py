"""Keep all of a training, so that a run that was killed ends with the same weights."""

import json
import pathlib
import zipfile

import keras
import numpy as np

from keras_transfer.data.passes import Passes
from keras_transfer.models.best_weights import BestWeights, as_stored
from keras_transfer.runtime import atomic_files
from keras_transfer.runtime.status_lines import say


class TrainingState(keras.callbacks.Callback):
    """Keep weights, optimizer, best weights and history after each epoch, in one file.

    What is drawn at random in an epoch (dropout, augmentation, the order of the data)
    is made a function of the seed and of the number of the epoch. So an epoch that is
    trained again, in another process, is the same one.

    Args:
        path: The file. It is only ever there whole, and stays until it is deleted:
            what comes after the training may be killed as well.
        seed: Seed of all that is drawn.
    """

    def __init__(self, path: pathlib.Path, seed: int):
        super().__init__()
        self._path, self._seed = path, seed
        self._best, self._drawn, self._passes = None, [], None
        self._epochs, self._logs = [], {}

    def begin(
        self,
        model: keras.Model,
        best: BestWeights,
        passes: Passes | None = None,
        augmentation: keras.layers.Layer | None = None,
    ) -> int | None:
        """Put back what a run before this one has kept, before `fit`.

        Args:
            model: The model that is trained, compiled.
            best: What keeps its best weights, which must come before this callback.
            passes: What orders the training data. Defaults to none.
            augmentation: What changes them. Defaults to none.

        Returns:
            The epoch to go on with, or `None` where there is nothing to go on from.
        """
        self._best, self._passes = best, passes
        self._epochs, self._logs = [], {}
        self._drawn = random_states(model)
        if augmentation is not None:
            self._drawn += random_states(augmentation)
        kept = self._read()
        variables = {"model": model.variables, "optimizer": model.optimizer.variables}
        found = {name: _arrays(kept, name) for name in (*variables, "best")}
        expected = {name: [v.shape for v in those] for name, those in variables.items()}
        expected["best"] = [np.shape(weight) for weight in best.weights]
        if not kept:
            return None
        if any(
            [array.shape for array in arrays] != [*map(tuple, expected[name])]
            for name, arrays in found.items()
        ):
            # Of another network, so it must not hold up what this one keeps.
            self._path.unlink(missing_ok=True)
            return None
        for name, those in variables.items():
            for variable, value in zip(those, found[name], strict=True):
                variable.assign(value)
        best.weights = found["best"]
        best.loss, best.trained = float(kept["loss"]), bool(kept["trained"])
        history = json.loads(str(kept["history"]))
        self._epochs, self._logs = history["epochs"], history["logs"]
        first = self._epochs[-1] + 1
        say(f"Training: goes on after epoch {first}, as an earlier run left it")
        return first

    @property
    def gained(self) -> bool:
        """Whether the best weights are those of an epoch, and not those before."""
        return self._best.trained

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Make all that is drawn in an epoch depend on its number alone."""
        if self._passes is not None:
            self._passes.next = epoch
        for index, variable in enumerate(self._drawn):
            drawn = np.random.SeedSequence((self._seed, epoch, index))
            variable.assign(drawn.generate_state(2))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep what the epoch has made, unless another process is further already."""
        self._epochs.append(epoch)
        for name, value in (logs or {}).items():
            self._logs.setdefault(name, []).append(float(value))
        if self._kept_epoch() >= epoch:
            return
        parts = {
            "model": self.model.variables,
            "optimizer": self.model.optimizer.variables,
            "best": self._best.weights,
        }
        arrays = {
            f"{name}_{index}": as_stored(np.asarray(value))
            for name, values in parts.items()
            for index, value in enumerate(values)
        }
        history = json.dumps({"epochs": self._epochs, "logs": self._logs})
        with atomic_files.written_whole(self._path) as temporary:
            np.savez(
                temporary,
                loss=self._best.loss,
                trained=self._best.trained,
                history=history,
                **arrays,
            )

    def on_train_end(self, logs: dict | None = None) -> None:
        """Tell of all epochs, also of those before a restart."""
        history = self.model.history
        history.epoch, history.history = [*self._epochs], dict(self._logs)

    def _read(self) -> dict:
        try:
            with np.load(self._path) as kept:
                return {name: kept[name] for name in kept.files}
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return {}

    def _kept_epoch(self) -> int:
        try:
            with np.load(self._path) as kept:
                return json.loads(str(kept["history"]))["epochs"][-1]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return -1


def random_states(layer: keras.Layer) -> list[keras.Variable]:
    """Return the states of the generators of random numbers in a layer or model."""
    # The state of a generator is its seed and a counter.
    return [
        variable
        for variable in layer.variables
        if "int" in variable.dtype and tuple(variable.shape) == (2,)
    ]


def _arrays(kept: dict, name: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}_") for key in kept)
    return [kept[f"{name}_{index}"] for index in range(count)]
