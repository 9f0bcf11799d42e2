"""Measure how well "none of these" tells photos of other things from cats and dogs.

    python benchmarks/unknown.py [--backbones NAME ...] [--seeds N] [--others FOLDER]

The photos of `cats_vs_dogs` are split anew for each seed: some to fix the threshold on,
some held out, the rest to train on. Refused should be few of those held out, and nearly
all of `tf_flowers`, and of the photos in other folders. Beside it stands what the
highest probability of a logistic regression refuses, by a threshold of the same rule.
"""

import argparse
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import keras_transfer as kt
from folders import write_folder
from keras_transfer.classifier import unknown
from keras_transfer.data.checked_files import check_files
from keras_transfer.data.photo_files import PhotoFile
from keras_transfer.data.photo_folders import photos_below
from keras_transfer.features.photos import photo_features
from keras_transfer.runtime.paths import build_dir
from keras_transfer.runtime.tables import markdown_table

KNOWN, OTHER = "cats_vs_dogs", "tf_flowers"


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    names = ["resnet50", "efficientnet_lite0"]
    made.add_argument("--backbones", nargs="+", default=names)
    made.add_argument("--image-size", type=int, default=160)
    made.add_argument("--seeds", type=int, default=20)
    made.add_argument("--validation", type=int, default=225, help="photos")
    made.add_argument("--held-out", type=int, default=500, help="photos")
    made.add_argument("--others", nargs="*", type=pathlib.Path, default=[])
    made.add_argument("--photos", type=pathlib.Path, default=build_dir() / "photos")
    options = made.parse_args()
    header = ["backbone", "score", "photos", "refused, mean", "lowest", "highest"]
    rows = [header]
    for name in options.backbones:
        rows += measured(name, options)
        print(f"\n{markdown_table(rows)}", flush=True)


def measured(name: str, options: argparse.Namespace) -> list[list[str]]:
    """Return the rows of the table for one backbone."""
    backbone = kt.build_backbone(name, image_size=options.image_size)
    known, labels = features_of(backbone, KNOWN, options)
    others = {OTHER: features_of(backbone, OTHER, options)[0]}
    for folder in options.others:
        others[folder.name] = features_below(backbone, folder, options.image_size)
    refused = {}
    for seed in range(options.seeds):
        order = np.random.default_rng(seed).permutation(len(known))
        held_out, rest = np.split(order, [options.held_out])
        validation, train = np.split(rest, [options.validation])
        scores = {
            "distance": by_distance(known[train], known[validation]),
            "highest probability": by_probability(
                known[train], labels[train], known[validation]
            ),
        }
        for score, refuses in scores.items():
            for what, features in {"held out": known[held_out], **others}.items():
                share = float(np.mean(refuses(features)))
                refused.setdefault((score, what), []).append(share)
    return [
        [name, score, what, *(f"{x:.1%}" for x in (np.mean(v), min(v), max(v)))]
        for (score, what), v in refused.items()
    ]


def by_distance(train: np.ndarray, validation: np.ndarray):
    """Return what tells for features whether they are refused: the detector."""
    return kt.fit_unknown_detector(train, validation).is_unknown


def by_probability(train: np.ndarray, labels: np.ndarray, validation: np.ndarray):
    """Return the same by the highest probability of a logistic regression."""
    scaler = StandardScaler().fit(train)
    probe = LogisticRegression(C=1e-2, max_iter=1000).fit(
        scaler.transform(train), labels
    )

    def doubt(features):
        return 1 - probe.predict_proba(scaler.transform(features)).max(axis=1)

    most_first = np.sort(doubt(validation))[::-1]
    threshold = most_first[unknown.refusals(len(validation), 0.05)]
    return lambda features: doubt(features) > threshold


def features_of(backbone, dataset: str, options: argparse.Namespace):
    """Return the features and labels of all photos of a data set, kept on disk."""
    folder = write_folder(dataset, options.photos / dataset)
    splits = kt.load_directory(folder, image_size=options.image_size)
    found = kt.extract_features(backbone, splits)
    parts = [getattr(found, split) for split in splits.counts]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def features_below(backbone, folder: pathlib.Path, image_size: int) -> np.ndarray:
    """Return the features of all photos below a folder."""
    paths = [path for path, problem in photos_below(folder) if problem is None]
    checked, _ = check_files([path.absolute() for path in paths], folder, False)
    files = [
        PhotoFile(path, 0, None, *found)
        for path, found in zip(paths, checked, strict=True)
        if not found.problem
    ]
    return photo_features(backbone, files, image_size)


if __name__ == "__main__":
    main()
