"""The drawn pictures as TFDS data sets, prepared under the folder one names."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.status_lines import say
from keras_transfer.samples import animals, encoding, flowers, pets


class _SampleBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the data sets share: drawn images, class labels, one split."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First drawings."}  # noqa: RUF012 - a name TFDS reads

    label_names: tuple[str, ...]
    num_images: int
    draw: staticmethod
    seed = 0

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(self.example_features()),
            supervised_keys=("image", "label"),
        )

    def example_features(self) -> dict:
        return {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(self.label_names)),
        }

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing is downloaded.
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict]]:
        for index, label, file in encoding.drawn(self.draw, self.num_images, self.seed):
            # Stored in the order of a checksum of the keys, whatever the pictures.
            key = f"{self.label_names[label]}_{index // len(self.label_names):04d}"
            yield key, self._example(file) | {"label": label}

    def _example(self, file: bytes) -> dict:
        return {"image": io.BytesIO(file)}


class SampleCatsVsDogs(_SampleBuilder):
    """480 drawn pictures of cats and dogs, 240 of each."""

    label_names = animals.CATS_VS_DOGS_LABELS
    num_images = 480
    draw = staticmethod(animals.draw_cat_or_dog)


class SampleFlowers(_SampleBuilder):
    """480 drawn pictures of five kinds of flowers, 96 of each."""

    label_names = flowers.FLOWERS_LABELS
    num_images = 480
    draw = staticmethod(flowers.draw_flower)


class SamplePets(_SampleBuilder):
    """The 480 drawn cats and dogs, with box, mask and key points of each animal."""

    label_names = animals.CATS_VS_DOGS_LABELS
    num_images = 480
    draw = staticmethod(pets.draw_pet)

    def example_features(self) -> dict:
        points = (len(pets.KEY_POINTS), 3)
        return super().example_features() | {
            "box": tfds.features.BBoxFeature(),
            "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "key_points": tfds.features.Tensor(shape=points, dtype=np.float32),
        }

    def _example(self, file: bytes) -> dict:
        example = pets.unpacked(file)
        box = tfds.features.BBox(*map(float, example["box"]))
        files = {name: io.BytesIO(example[name]) for name in ("image", "mask")}
        return example | files | {"box": box}


class SamplePetsNight(SamplePets):
    """480 other cats and dogs by the same painter, at night."""

    seed = 1
    draw = staticmethod(pets.draw_pet_at_night)


_BUILDERS = {
    builder.name: builder
    for builder in (SampleCatsVsDogs, SampleFlowers, SamplePets, SamplePetsNight)
}


def prepare(name: str, data_dir: str | os.PathLike) -> tfds.core.GeneratorBasedBuilder:
    """Draw a sample data set into `data_dir` unless it lies there already.

    The folder that the environment variable `TFDS_DATA_DIR` names is left alone.
    Two processes may prepare the same data set at once.

    Args:
        name: `"sample_cats_vs_dogs"`, `"sample_flowers"`, `"sample_pets"` or
            `"sample_pets_night"`.
        data_dir: Folder of TFDS data sets. It is made if it is missing.

    Returns:
        The builder, ready for `as_dataset`.

    Raises:
        ValueError: If `name` is no sample data set.
        PermissionError: If the data set is missing and `data_dir` cannot be written.

    Example:
        >>> builder = prepare("sample_flowers", "data/tfds")
        >>> builder.info.features["label"].names
        ['daisy', 'dandelion', 'roses', 'sunflowers', 'tulips']
    """
    if name not in _BUILDERS:
        known = ", ".join(sorted(_BUILDERS))
        raise ValueError(
            f"Unknown sample data set. Expected one of: {known}. Received: name={name}"
        )
    folder = pathlib.Path(data_dir).expanduser().absolute()
    builder = _BUILDERS[name](data_dir=folder)
    # TFDS warns about a folder that is not there yet, so that it is not asked then.
    if builder.data_path.exists() and builder.is_prepared():
        return builder
    paths.make_folder(folder, "KERAS_TRANSFER_DATA_DIR")
    say(f"Drawing {builder.num_images} sample images of {name} into {folder} ...")
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    drawn = pathlib.Path(builder.data_path)
    try:
        # In a folder of its own: TFDS removes what another process has not finished.
        with _quiet(), atomic_files.unfinished_folder(folder / name) as own:
            builder = _BUILDERS[name](data_dir=own)
            builder.download_and_prepare(
                download_dir=f"{own}/downloads", download_config=config
            )
            drawn.parent.mkdir(exist_ok=True)
            pathlib.Path(builder.data_path).rename(drawn)
    except OSError:
        # If another process was first, its data set is the same as ours.
        if not _BUILDERS[name](data_dir=folder).is_prepared():
            raise
    return _BUILDERS[name](data_dir=folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and "Downloading ..." lines of TFDS."""
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
