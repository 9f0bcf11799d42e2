"""Look for what is wrong with a folder of photos, before anything is trained on it."""

import collections
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_transfer.backbones import build, registry
from keras_transfer.backbones.weights.sources import WeightsUnavailableError
from keras_transfer.data import grouping
from keras_transfer.data.near_copies import NearCopy, joined, near_copies, parted
from keras_transfer.data.photo_files import (
    Folder,
    PhotoFile,
    is_readable,
    read_folder,
)
from keras_transfer.data.photo_folders import check_kept_outside
from keras_transfer.data.splits import IN_TWO_CLASSES
from keras_transfer.features.photos import photo_features
from keras_transfer.runtime.arguments import file_path, flag, one_of, square_size
from keras_transfer.workflow import photo_quality, wrong_labels
from keras_transfer.workflow.folder_check import FolderCheck
from keras_transfer.workflow.suspicions import Suspicion, ordered

# One for each split.
LEAST_PHOTOS = 3
# Of fewer, the 15 % that are tested on are three photos or less.
FEW_PHOTOS = 20
# Times that the largest class is larger than the smallest one.
IMBALANCE = 5
SHOWN = 10


def check_directory(
    folder: str | os.PathLike,
    *,
    backbone: str = "efficientnet_lite0",
    image_size: int = 224,
    labels: bool = True,
    groups: str | os.PathLike | Mapping[str, str] | None = None,
) -> FolderCheck:
    """Look for what is wrong with a folder of photos, without any training.

    Looked for are: files that cannot be read; classes with few photos; the same photo
    in two classes, two splits, or twice in one; near copies; photos that are tiny, odd
    in shape, blank, blurred, dark or bright, most of them by cleanvision; and labels
    that look wrong, by confident learning (cleanlab, where it is installed) with a
    linear probe on features of a frozen network, which has not seen the photo itself
    nor any near copy of it. A suspicion is no verdict: somebody must look.

    Nothing is changed. `write` makes a table to fill in, and `apply_review` a cleaned
    copy of the folder after it.

    Args:
        folder: Folder whose subfolders are the classes, or splits that hold these.
        backbone: Name of the network whose features tell wrong labels. Defaults to
            `"efficientnet_lite0"`, whose weights come with the package.
        image_size: Side in pixels to which photos are stretched. Defaults to `224`.
        labels: Whether to look for wrong labels. Defaults to `True`.
        groups: What names the group of each photo, such as a patient, as in
            `load_directory`: no photo of a group tells whether the label of another
            one looks wrong. Defaults to `None`.

    Returns:
        `FolderCheck`, which prints as text and shows as a page.

    Raises:
        NotADirectoryError: If there is no folder.
        ValueError: If it has fewer than two classes, or an argument is wrong.

    Reference:

    - [Northcutt et al., 2021](https://arxiv.org/abs/1911.00068), confident learning

    Example:

    >>> import keras_transfer as kt
    >>> practice = kt.practice_folder()
    >>> check = kt.check_directory(practice.path, labels=False)
    >>> [each.path for each in check.kinds["unreadable"]] == [
    ...     *practice.planted["unreadable"]
    ... ]
    True
    >>> check.write("review").name
    'review.csv'
    """
    path = file_path("folder", folder)
    one_of("backbone", backbone, registry.ARCHITECTURES)
    image_size = square_size("image_size", image_size, 32)
    labels = flag("labels", labels)
    groups = grouping.read_groups(groups, path.absolute())
    found = read_folder(path)
    check_kept_outside(path, found.splits)
    photos = [file for file in found.files if is_readable(file)]
    not_examined = {}
    pairs, units = _near_copies(found, photos, groups, not_examined)
    probabilities = np.zeros((len(photos), 0), "float32")
    if labels and photos:
        probabilities = _probabilities(
            found, photos, units, (backbone, image_size), not_examined
        )
    suspicions = [
        *_files(found),
        *_classes(found, photos),
        *_twins(found, photos, probabilities),
        *_near(found, photos, pairs, probabilities),
        *_labels(found, photos, probabilities),
        *_faults(found, photos, image_size, not_examined),
    ]
    counts = collections.Counter(file.label for file in photos)
    return FolderCheck(
        path=found.path,
        class_names=found.class_names,
        splits=found.splits,
        counts={name: counts[label] for label, name in enumerate(found.class_names)},
        suspicions=ordered(suspicions),
        not_examined=not_examined,
        # The thumbnails have been looked at.
        folder=found._replace(thumbnails={}),
    )


def _near_copies(
    folder: Folder,
    photos: Sequence[PhotoFile],
    groups: grouping.Groups | None,
    not_examined: dict[str, str],
) -> tuple[list[NearCopy], np.ndarray]:
    """Return pairs of photos, and a number for each, the same for one fold's."""
    if not photos:
        return [], np.zeros(0, int)
    pairs, all_compared = near_copies(photos, folder)
    inside = [file.path.relative_to(folder.path).as_posix() for file in photos]
    alike = joined(pairs, np.array([file.label for file in photos]), inside)
    ways = [[file.sha256 for file in photos], alike]
    if groups:
        ways.append(grouping.group_names(groups, inside))
    units = grouping.together(*ways)
    if count := parted(pairs, units):
        not_examined[f"near copies among {count:,} photos in long chains"] = (
            "they are a series, or of one kind: name what belongs together with groups="
        )
    if not all_compared:
        not_examined["some near copies"] = "the photos are too much alike to find all"
    # Not those that were cut apart, which would be a list without an end.
    pairs = [pair for pair in pairs if alike[pair.first] == alike[pair.second]]
    return pairs, units


def _probabilities(
    folder: Folder,
    photos: Sequence[PhotoFile],
    units: np.ndarray,
    network: tuple[str, int],
    not_examined: dict[str, str],
) -> np.ndarray:
    """Return what a probe says of each photo, all zeros for classes that are too small.

    Of shape `(count, 0)` if it could not be asked.
    """
    what, labels = "wrong labels", np.array([file.label for file in photos])
    trusted = np.array([not _in_two_classes(file) for file in photos])
    large = wrong_labels.large_classes(labels, units, trusted)
    small = [n for label, n in enumerate(folder.class_names) if label not in large]
    if small:
        more = f" and {len(small) - SHOWN} more" if len(small) > SHOWN else ""
        not_examined[f"{what} in {', '.join(small[:SHOWN])}{more}"] = (
            f"fewer than {wrong_labels.FOLDS} different photos"
        )
    nothing = np.zeros((len(photos), 0), "float32")
    if len(large) < 2:
        not_examined[what] = "fewer than two classes are large enough"
        return nothing
    name, image_size = network
    try:
        network = build.build_backbone(name, image_size=image_size)
    except WeightsUnavailableError as error:
        not_examined[what] = f"there are no weights of {name}: {error}"
        return nothing
    features = photo_features(network, photos, image_size)
    found = wrong_labels.out_of_fold_probabilities(
        features, labels, units, trusted & np.isin(labels, large)
    )
    missing = len(folder.class_names) - found.shape[1]
    return np.pad(found, ((0, 0), (0, missing)))


def _in_two_classes(file: PhotoFile) -> bool:
    return file.kind == IN_TWO_CLASSES


def _files(folder: Folder) -> Iterator[Suspicion]:
    for file in folder.files:
        if not is_readable(file):
            name, class_name = folder.name(file), folder.class_names[file.label]
            yield Suspicion(name, class_name, "unreadable", file.problem, "drop")
    for skipped, missed in folder.skipped:
        if missed:
            yield Suspicion(skipped.path, None, "passed over", skipped.reason, "look")


def _classes(folder: Folder, photos: Sequence[PhotoFile]) -> Iterator[Suspicion]:
    different = {file.sha256: file.label for file in photos}
    numbers = collections.Counter(different.values())
    counts = {name: numbers[label] for label, name in enumerate(folder.class_names)}
    most = max(counts, key=counts.get)
    for name, count in counts.items():
        text = f"{count} different photos that can be read"
        if count < LEAST_PHOTOS:
            yield Suspicion(None, name, "too few photos", text, "look")
        elif count < FEW_PHOTOS:
            yield Suspicion(None, name, "few photos", text, "look", score=1 / count)
        if 0 < count * IMBALANCE <= counts[most]:
            text += f", {counts[most] / count:.0f} times fewer than"
            text += f" the {counts[most]:,} of {most}"
            score = 1 - count / counts[most]
            yield Suspicion(None, name, "imbalance", text, "look", most, score)


def _twins(
    folder: Folder, photos: Sequence[PhotoFile], probabilities: np.ndarray
) -> Iterator[Suspicion]:
    """Yield what is there twice, byte for byte."""
    same = {}
    for index, file in enumerate(photos):
        same.setdefault(file.sha256, []).append(index)
    for index, file in enumerate(photos):
        twins = [i for i in same[file.sha256] if i != index]
        others = [i for i in twins if photos[i].label != file.label]
        name, class_name = folder.name(file), folder.class_names[file.label]
        if others:
            other = photos[others[0]]
            text = f"the same file as {folder.name(other)}"
            labels = (file.label, other.label)
            likely = _likelier(labels, probabilities[index])
            suggestion = "look"
            if likely is not None:
                text += f"; {_shares(folder, labels, probabilities[index])}"
                suggestion = "keep" if likely == file.label else "drop"
            kind = "in two classes"
            yield Suspicion(
                name, class_name, kind, text, suggestion, folder.name(other)
            )
        elif file.problem:  # Another one of them stays.
            other = next(photos[i] for i in twins if not photos[i].problem)
            kind = "copy" if other.split == file.split else "in two splits"
            text = f"the same file as {folder.name(other)}"
            yield Suspicion(name, class_name, kind, text, "drop", folder.name(other))


def _near(
    folder: Folder,
    photos: Sequence[PhotoFile],
    pairs: Sequence[NearCopy],
    probabilities: np.ndarray,
) -> Iterator[Suspicion]:
    """Yield what is there nearly twice: each photo with the one most like it."""
    nearest = {}
    for pair in sorted(pairs, key=lambda pair: pair.difference):
        a, b = photos[pair.first], photos[pair.second]
        if a.sha256 != b.sha256:
            different = (a.label != b.label, a.split != b.split)
            for index, other in ((pair.first, pair.second), (pair.second, pair.first)):
                kept = nearest.setdefault(index, (different, other, pair.difference))
                # One of another class, or split, says more than one that is nearer.
                if different > kept[0]:
                    nearest[index] = (different, other, pair.difference)
    for index, ((class_differs, split_differs), other, difference) in nearest.items():
        file, twin = photos[index], photos[other]
        name, class_name = folder.name(file), folder.class_names[file.label]
        text = f"shows the same as {folder.name(twin)} (difference {difference:.2f})"
        kind, suggestion = "near copy", "keep"
        if class_differs:
            kind, labels = "near copy in another class", (file.label, twin.label)
            likely = _likelier(labels, probabilities[index])
            suggestion = "look" if likely is None else folder.class_names[likely]
            if likely is not None:
                text += f"; {_shares(folder, labels, probabilities[index])}"
            suggestion = "keep" if suggestion == class_name else suggestion
        elif split_differs:
            kind = "in two splits"
            suggestion = "drop" if file.split == "train" else "keep"
        yield Suspicion(
            name, class_name, kind, text, suggestion, folder.name(twin), 1 - difference
        )


def _labels(
    folder: Folder, photos: Sequence[PhotoFile], probabilities: np.ndarray
) -> Iterator[Suspicion]:
    labels = np.array([file.label for file in photos], int)
    judged = np.array([not _in_two_classes(file) for file in photos], bool)
    for index, likely in wrong_labels.find(labels, probabilities, judged):
        file, row = photos[index], probabilities[index]
        shares = _shares(folder, (likely, file.label), row)
        yield Suspicion(
            folder.name(file),
            folder.class_names[file.label],
            "wrong label",
            shares,
            folder.class_names[likely],
            score=float(row[likely] - row[file.label] + 1) / 2,
        )


def _faults(
    folder: Folder,
    photos: Sequence[PhotoFile],
    image_size: int,
    not_examined: dict[str, str],
) -> Iterator[Suspicion]:
    if not photo_quality.can_judge():
        not_examined["blank, dark, bright and blurred photos"] = (
            'cleanvision is not installed: pip install "keras-transfer[check]"'
        )
    for fault in photo_quality.find_faults(photos, image_size):
        file = photos[fault.index]
        suggestion = "drop" if fault.kind == "blank" else "look"
        yield Suspicion(
            folder.name(file),
            folder.class_names[file.label],
            fault.kind,
            fault.evidence,
            suggestion,
            score=fault.score,
        )


def _likelier(labels: Sequence[int], probabilities: np.ndarray) -> int | None:
    """Return the likelier one of two labels, or `None` if nobody can tell."""
    if not len(probabilities):
        return None
    return max(labels, key=lambda label: probabilities[label])


def _shares(folder: Folder, labels: Sequence[int], probabilities: np.ndarray) -> str:
    """Return in words how likely some labels are."""
    shares = [f"{folder.class_names[k]} {100 * probabilities[k]:.0f} %" for k in labels]
    return f"a probe on the other photos says {', '.join(shares)}"
