"""Write the photos of a prepared data set out as a folder, one subfolder a class.

`python benchmarks/folders.py cats_vs_dogs FOLDER` writes the files as they are, byte
for byte, so that what is measured on a folder is measured on real photos.
"""

import argparse
import pathlib

from keras_transfer.data.tfds import open_photos
from keras_transfer.runtime import atomic_files


def write_folder(dataset: str, folder: pathlib.Path) -> pathlib.Path:
    """Write all photos of a prepared data set into `folder`, unless they are there.

    Args:
        dataset: Name of the data set, which lies in `TFDS_DATA_DIR`.
        folder: Where the class folders are made.
    """
    if folder.is_dir():
        return folder
    with atomic_files.unfinished_folder(folder) as temporary:
        for number, (photo, class_name) in enumerate(open_photos(dataset)):
            path = temporary / class_name / f"{number:05}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(photo)
        atomic_files.put_in_place(temporary, folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    print(write_folder(options.dataset, options.folder))
