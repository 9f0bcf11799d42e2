"""What the benchmarks measure on: photos of cats and dogs, and pretrained networks."""

import os
import pathlib

import keras
import tensorflow_datasets as tfds

import keras_transfer as kt
from keras_transfer.data.splits import Splits
from keras_transfer.samples.animals import CATS_VS_DOGS_LABELS, draw_cats_vs_dogs


def load_photos(image_size: int, max_images: int, seed: int = 0) -> Splits:
    """Load the photos of `TFDS_DATA_DIR` where they are, else drawn images."""
    name = "cats_vs_dogs" if _photos_dir() else "sample_cats_vs_dogs"
    return kt.load_dataset(
        name, image_size=image_size, max_images=max_images, seed=seed
    )


def write_photos(folder: pathlib.Path, count: int) -> None:
    """Write `count` JPEG files, real or else drawn, with one subfolder a class.

    Where there are fewer real photos, they come again, with a mark behind their end,
    because the same file twice would be left out.
    """
    for name in CATS_VS_DOGS_LABELS:
        (folder / name).mkdir(parents=True)
    if data_dir := _photos_dir():
        rows = tfds.load(
            "cats_vs_dogs",
            split="train",
            data_dir=data_dir,
            decoders={"image": tfds.decode.SkipDecoding()},
        )
        for index, row in enumerate(rows.repeat().take(count).as_numpy_iterator()):
            name = CATS_VS_DOGS_LABELS[row["label"]]
            mark = str(index).encode()
            (folder / name / f"{index:05}.jpg").write_bytes(row["image"] + mark)
    else:
        for index, (image, label) in enumerate(draw_cats_vs_dogs(count, seed=1)):
            image.save(folder / CATS_VS_DOGS_LABELS[label] / f"{index:05}.jpg")


def kind_of_photos() -> str:
    """Return what the files of `write_photos` are, in words."""
    kind = "Photos of cats_vs_dogs" if _photos_dir() else "Drawn cats and dogs"
    return f"{kind}, as JPEG files"


def build_network(name: str, image_size: int) -> keras.Model:
    """Build a backbone, where its weights cannot be had with random ones.

    What it computes takes as long with those.
    """
    try:
        return kt.build_backbone(name, image_size=image_size)
    except kt.WeightsUnavailableError as error:
        print(str(error).splitlines()[0])
        return kt.build_backbone(name, weights=None, image_size=image_size)


def pooled(network: keras.Model) -> keras.Model:
    """Return a network with the pooling that makes features of its output."""
    pooling = keras.layers.GlobalAveragePooling2D(dtype="float32")
    return keras.Model(network.input, pooling(network.output))


def _photos_dir() -> str | None:
    folder = os.environ.get("TFDS_DATA_DIR")
    return folder if folder and pathlib.Path(folder, "cats_vs_dogs").is_dir() else None
