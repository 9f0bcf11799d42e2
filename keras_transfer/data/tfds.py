"""Load a TensorFlow Datasets data set as `Splits`."""

import contextlib
import hashlib
import importlib
import os
import shutil
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from keras_transfer.data import split_names
from keras_transfer.data.decoding import decode_any_tensor, resize
from keras_transfer.data.splits import (
    ANNOTATIONS,
    WAYS_OUT,
    DatasetUnavailableError,
    Skipped,
    Splits,
    build_splits,
    cap,
    describe_size,
    settings_text,
)
from keras_transfer.runtime import paths
from keras_transfer.runtime.arguments import file_path, shown, square_size, whole_number
from keras_transfer.runtime.profiles import DRAWN, Profile
from keras_transfer.runtime.status_lines import say


def load_dataset(  # noqa: PLR0913
    name: str,
    profile: Profile | None = None,
    *,
    image_size: int | None = None,
    max_images: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    fractions: Mapping[str, float] | Sequence[float] | None = None,
) -> Splits:
    """Load an image-classification data set of TensorFlow Datasets in three splits.

    Official splits are kept; names such as `training` and `val` are understood, too.
    Where there is none for validation or test, it is sliced off the end of the training
    records: 15 % each, so 70/15/15 where there is only `train`. Slices are cut first
    and capped by `max_images` afterwards, so a test image under one cap is never a
    training image under another. Records that are in no split are listed in
    `Splits.skipped`, and a warning names classes of which a cap leaves no image.

    Args:
        name: `"cats_vs_dogs"`, `"tf_flowers"`, `"sample_cats_vs_dogs"`,
            `"sample_flowers"`, `"sample_pets"`, `"sample_pets_night"` (all drawn; the
            last two with annotations, see `Splits.annotations`), or any other TFDS
            image-classification data set, with its configuration or version if
            wanted.
        profile: The `Profile` of the run, which gives image size and cap, and in the
            quick profile the drawn samples in place of `name`. Defaults to `None`:
            exactly the data set named.
        image_size: Side of the square images in pixels. Defaults to the profile's,
            else 224.
        max_images: The most images in all splits together. Defaults to the profile's,
            else all.
        batch_size: Images in a batch. Defaults to `32`.
        seed: Seed of the order in which training images come. Defaults to `0`.
        data_dir: Folder of prepared data sets. Defaults to TFDS's own rule
            (`TFDS_DATA_DIR`, else `~/tensorflow_datasets`), and `data/tfds` of the
            project. Drawn samples always lie in `data/tfds`.
        fractions: Shares of the training records that validation and test get where
            there is no official split, as in `load_directory`. Defaults to `0.15` each.

    Returns:
        `Splits`.

    Raises:
        DatasetUnavailableError: If the data set is not there and cannot be fetched.
        ValueError: If it holds no images with class labels, or an argument is wrong.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=96, max_images=60)
    >>> images, labels = next(iter(splits.train))
    >>> images.shape
    TensorShape([32, 96, 96, 3])
    """
    if not isinstance(name, str):
        raise ValueError(
            "name must be the name of a data set, such as cats_vs_dogs; a folder of "
            f"photos is for load_directory. Received: name={shown(name)}"
        )
    if profile is not None:
        if not isinstance(profile, Profile):
            raise ValueError(
                'profile must be a Profile, such as kt.profile("quick"), or None. '
                f"Received: profile={shown(profile)}"
            )
        if profile.dataset_name(name) != name:
            say(f"{profile.name.capitalize()} profile: drawn images stand for {name}.")
        name = profile.dataset_name(name)
        image_size = profile.image_size if image_size is None else image_size
        max_images = profile.max_images if max_images is None else max_images
    image_size = square_size("image_size", 224 if image_size is None else image_size)
    if max_images is not None:
        max_images = whole_number("max_images", max_images, least=1)
    batch_size = whole_number("batch_size", batch_size, least=1)
    seed = whole_number("seed", seed, least=0)
    data_dir = None if data_dir is None else str(file_path("data_dir", data_dir))
    asked = split_names.shares(fractions)
    builder = _prepared_builder(name, data_dir)
    image_key, label_key = _keys(builder)
    slices, sizes = _slices(builder, asked)
    counts = cap(sizes, max_images)

    places = {split: (*slices[split], counts[split]) for split in slices}
    instructions = {split: _records(*places[split]) for split in slices}

    def examples(split):
        def read(start=0, stop=None):
            # A range by itself, so that what lies before it is not read.
            dataset = builder.as_dataset(
                split=_records(*places[split], start, stop),
                decoders={image_key: tfds.decode.SkipDecoding()},
                read_config=tfds.ReadConfig(try_autocache=False),
                shuffle_files=False,
            )
            return dataset.map(lambda row: (row[image_key], row[label_key]))

        return read

    def annotations(split):
        return _annotations(builder, instructions[split], image_size)

    info = builder.info
    stored = [
        f"{key} {split.num_examples} {split.num_bytes} {split.shard_lengths}"
        for key, split in sorted(info.splits.items())
    ]
    settings = [info.full_name, *stored, slices, counts, settings_text(image_size)]
    used = sum(counts.values())
    left_out = sum(split.num_examples for split in info.splits.values()) - used
    size = describe_size(counts, image_size, left_out, sum(sizes.values()) - used)
    splits = build_splits(
        {split: examples(split) for split in slices},
        decode_any_tensor,
        counts=counts,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        class_names=tuple(info.features[label_key].names),
        name=name,
        source=f"{info.full_name}: {size}",
        fingerprint=hashlib.sha256(repr(settings).encode()).hexdigest(),
        loader={
            "function": "load_dataset",
            "arguments": {
                "name": name,
                "image_size": image_size,
                "max_images": max_images,
                "batch_size": batch_size,
                "seed": seed,
                "data_dir": data_dir,
                "fractions": asked or None,
            },
        },
        skipped=_skipped(builder, slices, sizes, counts, max_images),
        _annotations=annotations if set(ANNOTATIONS) <= {*info.features} else None,
    )
    say(f"Data: {splits.source}, from {builder.data_dir}")
    if counts != sizes:
        _warn_of_lost_classes(builder, label_key, instructions, max_images)
    return splits


def open_photos(name: str) -> Iterator[tuple[bytes, str]]:
    """Yield the image files of a data set's first split as they are, with their class.

    Args:
        name: Name of the data set, as in `load_dataset`.
    """
    builder = _prepared_builder(name, None)
    image_key, label_key = _keys(builder)
    names = builder.info.features[label_key].names
    dataset = builder.as_dataset(
        split=next(iter(builder.info.splits)),
        decoders={image_key: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
        shuffle_files=False,
    )
    for row in dataset.as_numpy_iterator():
        yield row[image_key], names[row[label_key]]


def _records(
    stored: str, first: int, count: int, start: int = 0, stop: int | None = None
) -> tfds.core.ReadInstruction:
    """Return which records are those of a split from `start` to before `stop`.

    Args:
        stored: Name of the stored split.
        first: Number of the record that is the first one of the split.
        count: Number of records of the split.
        start: Number of the first one wanted. Defaults to `0`.
        stop: Number of the one to stop before. Defaults to that after the last.
    """
    stop = count if stop is None else stop
    return tfds.core.ReadInstruction(
        stored, from_=first + start, to=first + stop, unit="abs"
    )


def _annotations(builder, instruction, image_size: int) -> dict[str, np.ndarray]:
    """Read what a split knows of its images but for image and label."""

    def known(row):
        row["mask"] = resize(row["mask"], image_size)[..., 0] > 127
        return {name: row[name] for name in ANNOTATIONS}

    rows = builder.as_dataset(
        split=instruction,
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
        shuffle_files=False,
    ).map(known, num_parallel_calls=os.cpu_count())
    read = [*rows.as_numpy_iterator()]
    return {name: np.stack([row[name] for row in read]) for name in ANNOTATIONS}


def _prepared_builder(name, data_dir) -> tfds.core.DatasetBuilder:
    own = paths.data_dir() / "tfds"
    if name in DRAWN:
        # By its name: who loads photos imports nothing that draws some.
        samples = importlib.import_module("keras_transfer.samples")
        return samples.prepare(name, own)
    # TFDS looks for prepared data sets in these too. The variable is named again, for
    # TFDS reads it only once, and a learner may set it later in the same notebook.
    for folder in (own, os.environ.get("TFDS_DATA_DIR")):
        if folder:
            tfds.core.add_data_dir(str(folder))
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # Of every kind, for a wrong version or configuration.
        raise DatasetUnavailableError(
            f"TensorFlow Datasets has no data set of this name. Expected "
            f"cats_vs_dogs, tf_flowers or another name of its catalogue, and with it "
            f"only a version or configuration that there is. {WAYS_OUT} "
            f"Received: name={name}"
        ) from error
    if not builder.is_prepared():
        _download(builder, name)
    return builder


def _download(builder, name) -> None:
    urls = builder.url_infos or {}  # None for a data set that TFDS does not know.
    download = sum(url.size or 0 for url in urls.values())
    # The archive, what is unpacked from it, and the prepared records.
    needed = download + 2 * max(download, builder.info.dataset_size or 0)
    folder = paths.existing_parent(builder.data_dir)
    free = shutil.disk_usage(folder).free
    say(
        f"Data: {name} is not prepared here. To download: {_megabytes(download)}; disk "
        f"needed in all: about {_megabytes(needed)} in {builder.data_dir} "
        f"({_megabytes(free)} free)."
    )
    if needed > free:
        raise DatasetUnavailableError(
            f"There is not enough room for {name}: {_megabytes(needed)} needed, "
            f"{_megabytes(free)} free in {folder}. {WAYS_OUT} Received: name={name}"
        )
    try:
        _check_connection(urls)
        builder.download_and_prepare()
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DatasetUnavailableError(
            f"{name} could not be downloaded and prepared "
            f"({type(error).__name__}: {reason[0][:200] if reason else 'no reason'}). "
            f"{WAYS_OUT} Received: name={name}"
        ) from error


def _check_connection(urls) -> None:
    # Without a network TFDS would try ten times, which takes more than three minutes.
    for url in list(urls)[:1]:
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(url, timeout=10).close()


def _megabytes(size: int | None) -> str:
    # TFDS does not know the size of a few data sets.
    return f"{size / 1e6:,.0f} MB" if size else "size unknown"


def _keys(builder) -> tuple[str, str]:
    keys = builder.info.supervised_keys
    features = builder.info.features
    if (
        keys is None
        or len(keys) != 2
        or not isinstance(features[keys[0]], tfds.features.Image)
        or not isinstance(features[keys[1]], tfds.features.ClassLabel)
    ):
        raise ValueError(
            "Expected a data set with one image and one class label an example. "
            f"Received: name={builder.name} with {features}"
        )
    return keys


def _slices(
    builder, asked: Mapping[str, float]
) -> tuple[dict[str, tuple[str, int]], dict[str, int]]:
    """Return for each split the stored split and first record, and its size."""
    stored = {key: split.num_examples for key, split in builder.info.splits.items()}
    official = _official(stored)
    base = official.get("train")
    if base is None and len(stored) == 1:
        # A lone split, whatever its name, is all there is to slice.
        base, official = next(iter(stored)), {}
    if base is None:
        raise ValueError(
            f"Expected a split named train. Received: name={builder.name} with the "
            f"splits {', '.join(stored)}"
        )
    sliced = [
        key for key in split_names.FRACTIONS if key == "train" or key not in official
    ]
    given = split_names.FRACTIONS.keys() - sliced
    split_names.refuse_given(asked, given, f", name={builder.name}")
    if builder.info.disable_shuffling and len(sliced) > 1:
        raise ValueError(
            "The records of this data set are stored unshuffled, so a slice of them "
            "would not be a fair sample. Expected a shuffled data set or one with "
            f"official splits. Received: name={builder.name}"
        )
    shares = split_names.FRACTIONS | asked
    slices, sizes, end = {}, {}, stored[base]
    for key in reversed(sliced):
        # `train` is cut last, so it takes what the others left.
        size = end if key == "train" else round(stored[base] * shares[key])
        slices[key], sizes[key] = (base, end - size), size
        end -= size
    for key in split_names.FRACTIONS:
        if key not in slices:
            slices[key], sizes[key] = (official[key], 0), stored[official[key]]
    order = list(split_names.FRACTIONS)
    return {k: slices[k] for k in order}, {k: sizes[k] for k in order}


def _official(stored: Mapping[str, int]) -> dict[str, str]:
    """Return which stored split is train, validation and test, as far as names say."""
    found = {key: key for key in split_names.FRACTIONS if key in stored}
    understood = split_names.meanings(stored)
    for key in split_names.FRACTIONS:
        named = [name for name, meaning in understood.items() if meaning == key]
        if key not in found and len(named) == 1:
            found[key] = named[0]
    return found


def _skipped(builder, slices, sizes, counts, max_images) -> tuple[Skipped, ...]:
    """Return which records are in no split, as slices of the stored ones."""
    used = {stored for stored, _ in slices.values()}
    unused = [
        Skipped(name, "neither a train, nor a validation, nor a test split by its name")
        for name in builder.info.splits
        if name not in used
    ]
    beyond = [
        Skipped(
            f"{stored}[{start + counts[split]}:{start + sizes[split]}]",
            f"{sizes[split] - counts[split]} beyond max_images={max_images}",
        )
        for split, (stored, start) in slices.items()
        if counts[split] < sizes[split]
    ]
    return (*unused, *beyond)


def _warn_of_lost_classes(builder, label_key, instructions, max_images) -> None:
    names, lost = builder.info.features[label_key].names, []
    for split, instruction in instructions.items():
        labels = builder.as_dataset(
            split=instruction,
            decoders=tfds.decode.PartialDecoding({label_key: True}),
            read_config=tfds.ReadConfig(try_autocache=False),
        ).map(lambda row: row[label_key])
        found = {int(label) for label in labels.as_numpy_iterator()}
        lost += [f"{name} in {split}" for i, name in enumerate(names) if i not in found]
    if lost:
        more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
        warnings.warn(
            f"max_images={max_images} leaves no image of {', '.join(lost[:10])}{more}. "
            "Take more images, or a data set with fewer classes.",
            stacklevel=3,
        )
