"""Load a folder with one subfolder a class as `Splits`."""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import warnings

import numpy as np
import tensorflow as tf

from keras_transfer import images
from keras_transfer.splits import (
    FRACTIONS,
    WAYS_OUT,
    Splits,
    build_splits,
    cap,
    describe_size,
    settings_text,
)
from keras_transfer.status_lines import say

SPLIT_NAMES = {"train", "training", "validation", "valid", "val", "test", "testing"}


@dataclasses.dataclass(frozen=True)
class _File:
    path: pathlib.Path
    label: int
    sha256: str
    plain: bool
    problem: str | None


def load_directory(
    path: str | os.PathLike,
    *,
    image_size: int = 224,
    max_images: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Splits:
    """Load a folder of photos, one subfolder a class, in three splits.

    Each class is split 70/15/15 by a seed, then capped. JPEG, PNG, BMP, GIF (first
    frame) and WebP files are read at any depth, whatever their names end in; files and
    folders that begin with a dot are passed over; exact copies, and files that cannot
    be read, are skipped and named in a warning.

    Args:
        path: Folder whose subfolders are the classes, in alphabetical order.
        image_size: Side of the square images, in pixels. Defaults to `224`.
        max_images: The most images in all splits together. Defaults to all.
        batch_size: Images in a batch. Defaults to `32`.
        seed: Seed of the split and of the order of training images. Defaults to `0`.

    Returns:
        `Splits`.

    Raises:
        NotADirectoryError: If there is no folder at `path`.
        ValueError: If there are fewer than two classes, or fewer than three readable
            images in one.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_directory("data/my_photos", image_size=160)  # doctest: +SKIP
    >>> splits.class_names  # doctest: +SKIP
    ('indoors', 'outdoors')
    """
    path = pathlib.Path(path).expanduser()
    class_names = _class_names(path)
    files = _scan(path, class_names)
    _warn_of_problems(path, [file for file in files if file.problem])
    readable = [file for file in files if not file.problem]
    members = _split(path, readable, class_names, max_images, seed)
    counts = {name: len(chosen) for name, chosen in members.items()}

    def examples(chosen):
        def read():
            columns = (
                [os.fsencode(file.path) for file in chosen],
                [file.plain for file in chosen],
            )
            labels = [file.label for file in chosen]
            return tf.data.Dataset.from_tensor_slices((columns, labels))

        return read

    listed = [
        (name, str(file.path.relative_to(path)), file.label, file.sha256)
        for name, chosen in members.items()
        for file in chosen
    ]
    settings = [class_names, listed, settings_text(image_size)]
    splits = build_splits(
        {name: examples(chosen) for name, chosen in members.items()},
        _decode,
        counts=counts,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        class_names=class_names,
        name=path.absolute().name,
        source=f"{path.absolute().name}: {describe_size(counts, image_size)}",
        fingerprint=hashlib.sha256(repr(settings).encode()).hexdigest(),
        loader={
            "function": "load_directory",
            "arguments": {
                "path": str(path.absolute()),
                "image_size": image_size,
                "max_images": max_images,
                "batch_size": batch_size,
                "seed": seed,
            },
        },
    )
    say(f"Data: {splits.source}, from {path}")
    return splits


def _class_names(path: pathlib.Path) -> tuple[str, ...]:
    if not path.is_dir():
        raise NotADirectoryError(
            "There is no folder here. Expected one with a subfolder a class. "
            f"{WAYS_OUT} Received: path={path}"
        )
    folders = [folder for folder in path.iterdir() if folder.is_dir()]
    names = sorted(f.name for f in folders if not f.name.startswith("."))
    if len(names) < 2:
        raise ValueError(
            "Expected a folder with at least two subfolders, one a class, each with "
            f"its images. {WAYS_OUT} "
            f"Received: path={path} with the subfolders {names}"
        )
    if {name.lower() for name in names} <= SPLIT_NAMES:
        raise ValueError(
            "These subfolders are splits, not classes. Pass one of them, or a folder "
            "with one subfolder a class: the split is made here. "
            f"Received: path={path} with the subfolders {names}"
        )
    return tuple(names)


def _scan(path: pathlib.Path, class_names: tuple[str, ...]) -> list[_File]:
    paths = [
        (file, label)
        for label, name in enumerate(class_names)
        for file in sorted((path / name).rglob("*"))
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    # Pillow lets go of the interpreter's lock while it decodes, so threads do help.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        files = list(threads.map(lambda item: _examine(*item), paths))
    # The same file twice could land in training and in test.
    first = {}
    for index, file in enumerate(files):
        if not file.problem and first.setdefault(file.sha256, file) is not file:
            twin = first[file.sha256].path.relative_to(path)
            files[index] = dataclasses.replace(file, problem=f"a copy of {twin}")
    return files


def _examine(path: pathlib.Path, label: int) -> _File:
    try:
        data = path.read_bytes()
        plain = images.inspect(data)
    except (images.UnreadableImageError, OSError) as error:
        return _File(path, label, "", False, str(error))
    return _File(path, label, hashlib.sha256(data).hexdigest(), plain, None)


def _warn_of_problems(path: pathlib.Path, problems: list[_File]) -> None:
    if not problems:
        return
    shown = [f"  {f.path.relative_to(path)}: {f.problem}" for f in problems[:20]]
    if len(problems) > len(shown):
        shown.append(f"  and {len(problems) - len(shown)} more")
    warnings.warn(
        f"{len(problems)} file(s) in {path} were skipped:\n" + "\n".join(shown) + "\n"
        "JPEG, PNG, BMP, GIF and WebP are read. Open the others in an image program "
        "and export them as JPEG or PNG, copy damaged ones again, or delete them.",
        stacklevel=3,
    )


def _split(path, readable, class_names, max_images, seed) -> dict[str, list[_File]]:
    by_class = [[f for f in readable if f.label == i] for i in range(len(class_names))]
    for name, files in zip(class_names, by_class, strict=True):
        if len(files) < 3:
            raise ValueError(
                "Expected at least three readable images a class, one for each split. "
                f"Add images, or move the folder away. {WAYS_OUT} "
                f"Received: {path / name} with {len(files)} readable image(s)"
            )
    members = {name: [] for name in FRACTIONS}
    for label, files in enumerate(by_class):
        order = np.random.default_rng([seed, label]).permutation(len(files))
        held_out = max(1, round(len(files) * FRACTIONS["test"]))
        members["test"].append([files[i] for i in order[:held_out]])
        members["validation"].append([files[i] for i in order[held_out : 2 * held_out]])
        members["train"].append([files[i] for i in order[2 * held_out :]])
    counts = {
        name: sum(len(files) for files in chosen) for name, chosen in members.items()
    }
    kept = cap(counts, max_images)
    return {
        name: _first_of_each_class(chosen, kept[name])
        for name, chosen in members.items()
    }


def _first_of_each_class(chosen: list[list[_File]], count: int) -> list[_File]:
    # In turn through the classes, weighted by their size, so a cap keeps the balance.
    ranked = [
        ((rank + 0.5) / len(files), file.label, file)
        for files in chosen
        for rank, file in enumerate(files)
    ]
    ranked.sort(key=lambda item: item[:2])
    return [file for _, _, file in ranked[:count]]


def _decode(encoded):
    path, plain = encoded

    def with_pillow(path):
        return images.decode(pathlib.Path(os.fsdecode(path)).read_bytes())

    image = tf.cond(
        plain,
        lambda: images.decode_tensor(tf.io.read_file(path)),
        lambda: tf.numpy_function(with_pillow, [path], tf.uint8),
    )
    return tf.ensure_shape(image, (None, None, 3))
