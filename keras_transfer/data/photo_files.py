"""The photos of a folder as they were found: what each file holds, and its pixels."""

import os
import pathlib
import typing
from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

from keras_transfer.data import decoding, split_names
from keras_transfer.data.checked_files import Checked, check_files
from keras_transfer.data.passes import Passes
from keras_transfer.data.photo_folders import (
    Photo,
    cannot_open,
    normalized,
    printable,
    read_layout,
)
from keras_transfer.data.pipelines import without_autotune
from keras_transfer.data.shares import Part, Whole, shared
from keras_transfer.data.skipped import Skipped
from keras_transfer.data.splits import COPY, IN_SPLIT, IN_TWO_CLASSES, WAYS_OUT


class PhotoFile(typing.NamedTuple):
    """Say what a file in a class folder holds.

    Attributes:
        path: Its absolute path.
        label: Integer label of the class folder.
        split: The split that the folder gives it, or `None`.
        sha256: Checksum of its bytes, or `""` where they could not be read.
        number: What `decoding.fingerprint` makes of the same bytes.
        plain: Whether TensorFlow's own decoder may read it.
        problem: Why it is no image that can be used, or `None`.
        kind: Of a photo that could be read and is left out all the same, which problem
            that is, as in `Skipped`; else `None`.
        group: In `Splits.photos`, the number of what it is kept together with, a group
            of `groups` or near copies; `None` for a photo that stands alone.
    """

    path: pathlib.Path
    label: int
    split: str | None
    sha256: str
    number: int
    plain: bool
    problem: str | None
    kind: str | None = None
    group: int | None = None


class Folder(typing.NamedTuple):
    """Say what a folder of photos holds.

    Attributes:
        path: The folder, absolute.
        class_names: The classes, in the order of their labels.
        splits: Splits that the folder gives; none where its subfolders are classes.
        files: All files in class folders that may be photos, in order.
        skipped: What was passed over: its path, the reason, and whether it looks like
            something that a user would miss.
        thumbnails: Small grey pictures of the photos, by their checksum.
    """

    path: pathlib.Path
    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    files: list[PhotoFile]
    skipped: list[tuple[Skipped, bool]]
    thumbnails: dict[str, bytes]

    def name(self, file: PhotoFile) -> str:
        """Return the path of a file in this folder, the same on every system."""
        return _printed(file, self.path)


def read_folder(
    path: pathlib.Path,
    known: Collection[str] = (),
    *,
    with_thumbnails: bool = True,
) -> Folder:
    """Read a folder of photos, one subfolder a class, and look into each file.

    Args:
        path: The folder; its subfolders are the classes, or splits with the classes.
        known: Names of classes, of which a single one is enough. Defaults to none.
        with_thumbnails: Whether thumbnails are made. Defaults to `True`.

    Raises:
        NotADirectoryError: If there is no folder at `path`.
        ValueError: If it has fewer than two classes, or splits that do not fit.
    """
    try:
        there = path.is_dir()
    except OSError as error:
        raise cannot_open(path, error) from error
    if not there:
        raise NotADirectoryError(
            "There is no folder here. Expected one with a subfolder a class. "
            f"{WAYS_OUT} Received: path={path}"
        )
    folder = path.absolute()
    layout = read_layout(folder, known)
    places = [photo.path for photo in layout.photos]
    checked, thumbnails = check_files(places, folder, with_thumbnails)
    files = _examine(layout.photos, checked, folder)
    return Folder(
        folder, layout.class_names, layout.splits, files, layout.skipped, thumbnails
    )


def labels_by_name(folder: Folder, class_names: Sequence[str]) -> list[int]:
    """Return the label that a model gives each class of a folder, by its name.

    Args:
        folder: What `read_folder` returned.
        class_names: Classes of the model, in the order of its labels.

    Raises:
        ValueError: If the folder has a class that is none of the model's.
    """
    known = {normalized(name): label for label, name in enumerate(class_names)}
    names = [*map(normalized, folder.class_names)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            "Each subfolder must have the name of a class of the model: "
            f"{', '.join(class_names)}. Rename, or move away, the others. "
            f"Received: folder={folder.path} with {', '.join(unknown[:10])}"
        )
    return [known[name] for name in names]


def photo_dataset(
    files: Sequence[PhotoFile],
    image_size: int,
    batch_size: int = 32,
    *,
    shuffle: bool = False,
) -> tf.data.Dataset:
    """Return float32 images and integer labels of photos, batched.

    They come in this order, or in another one in each pass, by a step of their own.
    """
    encoded = examples(files)()
    if shuffle:
        encoded = encoded.shuffle(len(files), seed=0)
    return _photos(encoded, image_size, Whole(batch_size))


def shuffled_photos(
    files: Sequence[PhotoFile], image_size: int, passes: Passes, batch_size: int = 32
) -> tf.data.Dataset:
    """Return the same, in the order of `passes`, and decoded anew in each of them."""
    in_columns = columns(files)

    def one(index):
        return tf.nest.map_structure(
            lambda column: tf.gather(column, index), in_columns
        )

    indices = tf.data.Dataset.from_generator(
        lambda: passes.begin(len(files))[1],
        output_signature=tf.TensorSpec((), tf.int64),
    ).apply(tf.data.experimental.assert_cardinality(len(files)))

    def make(cut):
        return _photos(cut.own(indices.map(one)), image_size, cut)

    return shared(make, len(files), batch_size, training=True, passes=passes)


def _photos(encoded, image_size: int, cut: Whole | Part) -> tf.data.Dataset:
    def read(encoded, label):
        return decoding.resize(decode(encoded), image_size), tf.cast(label, tf.int32)

    dataset = encoded.map(read, num_parallel_calls=os.cpu_count())
    return without_autotune(
        cut.batch(dataset)
        .map(lambda images, labels: (tf.cast(images, tf.float32), labels))
        .prefetch(2)
    )


def is_readable(file: PhotoFile) -> bool:
    """Return whether a file is an image that can be used, be it a copy of another."""
    return file.problem is None or file.kind is not None


def _examine(
    photos: list[Photo], checked: list[Checked], folder: pathlib.Path
) -> list[PhotoFile]:
    files = [PhotoFile(*a, *b) for a, b in zip(photos, checked, strict=True)]
    same = {}
    for index, file in enumerate(files):
        if not file.problem:
            same.setdefault(file.sha256, []).append(index)
    for indices in same.values():
        if len(indices) > 1:
            for index, problem in _problems([files[i] for i in indices], folder):
                files[indices[index]] = files[indices[index]]._replace(**problem)
    return files


def _problems(
    twins: list[PhotoFile], folder: pathlib.Path
) -> list[tuple[int, dict[str, str]]]:
    """Return which files of one and the same content are left out, and why."""
    found = []
    if len({file.label for file in twins}) > 1:
        # One of the labels is wrong, and nobody can tell which.
        for index, file in enumerate(twins):
            other = next(twin for twin in twins if twin.label != file.label)
            problem = f"in two classes, also as {_printed(other, folder)}"
            found.append((index, {"problem": problem, "kind": IN_TWO_CLASSES}))
        return found
    # Of several splits it stays in the last one: what is tested on is not trained on.
    order = [None, *split_names.FRACTIONS]
    last = max(order.index(file.split) for file in twins)
    stays = next(i for i, file in enumerate(twins) if order.index(file.split) == last)
    for index, file in enumerate(twins):
        if index != stays:
            problem, kind = f"a copy of {_printed(twins[stays], folder)}", COPY
            if file.split != twins[stays].split:
                problem, kind = f"{problem}, which is in {twins[stays].split}", IN_SPLIT
            found.append((index, {"problem": problem, "kind": kind}))
    return found


def _printed(file: PhotoFile, folder: pathlib.Path) -> str:
    return printable(file.path.relative_to(folder).as_posix())


def examples(files: Sequence[PhotoFile]):
    """Return a function that makes the data set of encoded photos and labels.

    Of all of them, or of those from a number to before another one.
    """

    def make(start: int = 0, stop: int | None = None) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(columns(files[start:stop]))

    return make


def columns(files: Sequence[PhotoFile]) -> tuple:
    """Return what `decode` takes of files, and their labels, as arrays."""
    paths = np.array([os.fsencode(file.path) for file in files])
    about = [(file.plain, file.number) for file in files]
    plain, numbers = (np.array(column) for column in zip(*about, strict=True))
    return (paths, plain, numbers), np.array([file.label for file in files])


def decode(encoded):
    """Read and decode an element of `examples`."""
    path, plain, number = encoded

    def with_pillow(path, number):
        # What is raised here stands in the error of whoever reads the data set.
        data = decoding.read_file(pathlib.Path(os.fsdecode(path)))
        if decoding.fingerprint(data) != number:
            raise ValueError(f"{decoding.CHANGED}{os.fsdecode(path)}")
        return decoding.decode(data)

    image = tf.cond(
        plain,
        lambda: decoding.decode_file_tensor(path, number),
        lambda: tf.numpy_function(with_pillow, [path, number], tf.uint8),
    )
    return tf.ensure_shape(image, (None, None, 3))
