"""Frozen features of photos of a folder, whatever class or split they are in."""

import hashlib
import math
from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer.data.photo_files import PhotoFile, photo_dataset
from keras_transfer.features import cache
from keras_transfer.features.array_files import Outputs, batch_by_batch, write_outputs
from keras_transfer.features.inference import (
    UnsupportedError,
    engines,
    frozen_network,
)
from keras_transfer.models.graph import output_shape
from keras_transfer.models.precision import fast_dtype
from keras_transfer.runtime import paths
from keras_transfer.runtime.progress import progress_bar
from keras_transfer.runtime.status_lines import say


def photo_features(
    backbone: keras.Model,
    files: Sequence[PhotoFile],
    image_size: int,
    engine: str = "auto",
) -> np.ndarray:
    """Return the pooled features of photos, in their order.

    They are kept on disk as those of `extract_features` are, by the content of the
    photos alone: to rename them, or to move them to another class or folder, costs
    nothing.

    Args:
        backbone: Network from RGB images 0-255 to a feature map.
        files: Readable photos.
        image_size: Side of the square images, in pixels.
        engine: As in `extract_features`. Defaults to `"auto"`.

    Returns:
        float32 array of shape `(count, channels)`.
    """
    different = {file.sha256: file for file in files}
    in_order = [different[sha256] for sha256 in sorted(different)]
    shape = (image_size, image_size, 3)
    shape_of_all = (len(in_order), output_shape(backbone, shape)[-1])
    dtype = fast_dtype(backbone, None, frozen=True)
    content = hashlib.sha256("".join(sorted(different)).encode()).hexdigest()
    cache_dir = cache.folder_of("cache_dir", None, "features")
    weights = cache.checksums(backbone)

    def folder_of(engine):
        by = cache.computed_by(dtype, engine)
        return cache_dir / cache.key_of(
            backbone, "photos", content, shape, *by, weights=weights
        )

    folders = {each: folder_of(each) for each in engines(backbone, engine)}
    chosen = cache.with_kept(folders)
    folder = folders[chosen]

    def write(path):
        paths.check_room(path, 4 * math.prod(shape_of_all))
        network = frozen_network(backbone, shape, dtype, chosen, pooled=True)
        labels = path / "labels.npy"
        with progress_bar(len(in_order), "features") as bar:

            def batches(done):
                bar.update(done)
                for images, numbers in photo_dataset(in_order[done:], image_size):
                    yield images, numbers
                    bar.update(len(numbers))

            outputs = path / "features.npy"
            part = Outputs(outputs, labels, shape_of_all, np.float32)
            spared = write_outputs(batch_by_batch(network, [batches]), [part])
        # They belong to no photo for good, and are known.
        labels.unlink()
        return spared

    try:
        arrays, found = cache.keep(folder, ["features"], write)
    except UnsupportedError:
        if chosen == (last := [*folders][-1]):
            raise
        return photo_features(backbone, files, image_size, last)
    if found:
        say(f"Features: read back from {folder}")
    else:
        count, channels = shape_of_all
        say(
            f"Features: {count:,} photos x {channels} from {backbone.name}, computed "
            f"in {dtype} by {chosen}"
        )
    rows = {file.sha256: row for row, file in enumerate(in_order)}
    return arrays["features"][[rows[file.sha256] for file in files]]
