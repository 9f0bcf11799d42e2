"""Write the photos of a prepared data set out as a folder, one subfolder a class.

`python benchmarks/folders.py cats_vs_dogs FOLDER` writes the files as they are, byte
for byte, so that what is measured on a folder is measured on real photos.
"""

import argparse
import pathlib

import tensorflow_datasets as tfds

from keras_transfer.runtime import atomic_files


def write_folder(dataset: str, folder: pathlib.Path) -> pathlib.Path:
    """Write all photos of a prepared data set into `folder`, unless they are there.

    Args:
        dataset: Name of the data set, which lies in `TFDS_DATA_DIR`.
        folder: Where the class folders are made.
    """
    if folder.is_dir():
        return folder
    builder = tfds.builder(dataset)
    names = builder.info.features["label"].names
    decoders = {"image": tfds.decode.SkipDecoding()}
    photos = builder.as_dataset(split="train", decoders=decoders)
    with atomic_files.unfinished_folder(folder) as temporary:
        for name in names:
            (temporary / name).mkdir()
        for number, photo in enumerate(photos.as_numpy_iterator()):
            path = temporary / names[photo["label"]] / f"{number:05}.jpg"
            path.write_bytes(photo["image"])
        temporary.rename(folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    print(write_folder(options.dataset, options.folder))
