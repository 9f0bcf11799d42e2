"""Keep the best weights of a training, also over a restart."""

import os
import zipfile

import keras
import numpy as np

from keras_transfer.runtime import arguments, atomic_files
from keras_transfer.runtime.keras_internals import BACKUP_FILES

FILE = "best_weights.npz"


class BestWeights(keras.callbacks.Callback):
    """Keep the weights with the lowest validation loss, those before it included.

    Where a `keras.callbacks.BackupAndRestore` is at work, they are also kept in its
    folder, and deleted with it. It must come after this callback: a run that is killed
    between the two then trains an epoch again, and does not forget one.

    Args:
        loss: Validation loss before the first epoch.
        weights: The weights of then.
        callbacks: All other callbacks.

    Attributes:
        loss: Lowest loss, infinite where none was a number.
        weights: Its weights.
        trained: Whether it is one of the epochs that has the lowest loss.
    """

    def __init__(self, loss: float, weights: list[np.ndarray], callbacks: list):
        super().__init__()
        self.loss = loss if np.isfinite(loss) else np.inf
        self.weights, self.trained = weights, False
        self._path = None
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.BackupAndRestore):
                folder = os.fspath(callback.backup_dir)
                # Keras also writes into stores that are no folders.
                if "://" not in folder:
                    folder = arguments.file_path("backup_dir", folder)
                    self._path = folder / FILE
                break

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Read what a run before this one has kept."""
        # Without a backup, Keras begins anew.
        if self._path is None or not any(self._path.parent.glob(BACKUP_FILES)):
            return
        try:
            with np.load(self._path) as kept:
                weights = [kept[str(i)] for i in range(len(kept.files) - 2)]
                loss, trained = float(kept["loss"]), bool(kept["trained"])
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return  # A backup of an earlier version, or one that was begun elsewhere.
        shapes = [np.shape(weight) for weight in self.weights]
        if [weight.shape for weight in weights] != shapes:
            return
        self.loss, self.weights, self.trained = loss, weights, trained

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep the weights, if they are the best so far."""
        loss = (logs or {}).get("val_loss", np.nan)
        better = loss < self.loss
        if better:
            self.loss, self.weights = float(loss), self.model.get_weights()
            self.trained = True
        if self._path is not None and (better or not self._path.exists()):
            self._write()

    def _write(self) -> None:
        arrays = {str(i): as_stored(each) for i, each in enumerate(self.weights)}
        with atomic_files.written_whole(self._path) as temporary:
            np.savez(temporary, loss=self.loss, trained=self.trained, **arrays)


def as_stored(array: np.ndarray) -> np.ndarray:
    """Return an array as NumPy can write it, of the same numbers."""
    # No type of NumPy's own.
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
