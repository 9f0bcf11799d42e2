"""Load a folder of photos, one subfolder a class, as `Splits`."""

import hashlib
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from keras_transfer.data import grouping, split_names
from keras_transfer.data.decoding import READ
from keras_transfer.data.near_copies import NearCopies, joined, near_copies, parted
from keras_transfer.data.photo_files import (
    Folder,
    PhotoFile,
    decode,
    examples,
    read_folder,
)
from keras_transfer.data.photo_folders import printable
from keras_transfer.data.splits import (
    GROUP_IN_SPLIT,
    IN_SPLIT,
    IN_TWO_CLASSES,
    NEAR_SPLIT,
    WAYS_OUT,
    Skipped,
    Splits,
    build_splits,
    cap,
    describe_size,
    settings_text,
)
from keras_transfer.runtime.arguments import (
    file_path,
    flag,
    square_size,
    whole_number,
)
from keras_transfer.runtime.status_lines import say

SHOWN = 20


def load_directory(  # noqa: PLR0913
    path: str | os.PathLike,
    *,
    image_size: int = 224,
    max_images: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    fractions: Mapping[str, float] | Sequence[float] | None = None,
    groups: str | os.PathLike | Mapping[str, str] | None = None,
    keep_copies_together: bool = True,
) -> Splits:
    """Load a folder of photos, one subfolder a class, in three splits.

    Each class is split by a seed, then capped. Photos of one group stay in one split,
    and so do near copies: the same photo resized, saved again, mirrored or made
    brighter, and photos of one series. Image files of all formats that `load_image`
    reads are found at any depth, whatever their names end in, and links are followed.
    Left out, and listed in `Splits.skipped`, are: what begins with a dot or
    belongs to the operating system; files that cannot be read; exact copies; a photo
    that lies in two classes, in both; and what `max_images` leaves over. A warning
    names those that should not be there.

    A folder that is split already is taken as it is: one subfolder a split, each with
    the same class folders. Which is which follows from names that contain `train`;
    `val` or `dev`; `test`, `eval` or `holdout`. A validation or test split that is
    missing is taken from train. A photo in two of the splits stays in test only, or in
    validation only, and so do its near copies and the photos of its group.

    What was found out about each file is kept in the folder of data, by path, size and
    time of change, so that a later call reads only what is new.

    Args:
        path: Folder whose subfolders are the classes, in alphabetical order, or splits
            that hold these.
        image_size: Side of the square images, in pixels. Defaults to `224`.
        max_images: The most images in all splits together, of which each holds at
            least one of each class. Defaults to all.
        batch_size: Images in a batch. Defaults to `32`.
        seed: Seed of the split and of the order of training images. Defaults to `0`.
        fractions: Shares of each class that validation and test get, above 0, such as
            `{"validation": 0.1, "test": 0.2}`; train gets the rest. All three shares,
            train first, are taken as well. Defaults to `0.15` each.
        groups: What names the group of each photo, such as a patient: a regular
            expression, searched in the path relative to the folder, `cat/tom_1.jpg`,
            of which the first group counts, else all that matches; the path of a CSV
            file with the columns `path` and `group`; or a mapping of these paths to
            groups. Defaults to `None`: each photo is one of its own.
        keep_copies_together: Whether near copies stay in one split. Defaults to
            `True`.

    Returns:
        `Splits`.

    Raises:
        NotADirectoryError: If there is no folder at `path`.
        ValueError: If there are fewer than two classes, or fewer than three readable
            images, or groups of them, in one; if a photo has no group; if the splits
            of a folder do not hold the same classes, or their names do not say which
            they are; or if an argument is wrong.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_directory("data/my_photos", image_size=160)  # doctest: +SKIP
    >>> splits.class_names  # doctest: +SKIP
    ('indoors', 'outdoors')
    """
    path = file_path("path", path)
    image_size = square_size("image_size", image_size)
    batch_size = whole_number("batch_size", batch_size, least=1)
    seed = whole_number("seed", seed, least=0)
    if max_images is not None:
        max_images = whole_number("max_images", max_images, least=1)
    asked = split_names.shares(fractions)
    keep_copies_together = flag("keep_copies_together", keep_copies_together)
    groups = grouping.read_groups(groups, path.absolute())
    folder = read_folder(path, with_thumbnails=keep_copies_together)
    split_names.refuse_given(asked, folder.splits, f", path={folder.path}")
    usable = [file for file in folder.files if not file.problem]
    units, together, copies = _units(folder, usable, groups, keep_copies_together)
    compared = usable
    files, usable, units = _apart(folder, usable, units, groups)
    usable = _numbered(usable, units)
    left_out = [
        *(
            (Skipped(folder.name(f), f.problem, f.kind), True)
            for f in files
            if f.problem
        ),
        *folder.skipped,
    ]
    _warn(path, folder, [skipped for skipped, missed in left_out if missed])
    pools = _split(folder, usable, units, split_names.FRACTIONS | asked, seed)
    members = _capped(pools, len(folder.class_names), max_images)
    together += _not_together(folder, copies, compared, members)
    counts = {name: len(chosen) for name, chosen in members.items()}
    chosen = {file.path for name in members for file in members[name]}
    beyond = [file for file in usable if file.path not in chosen]
    skipped = [
        *(skipped for skipped, _ in left_out),
        *(Skipped(folder.name(f), f"beyond max_images={max_images}") for f in beyond),
    ]
    size = describe_size(counts, image_size, len(skipped), len(beyond))
    listed = [
        (name, file.path.relative_to(folder.path).as_posix(), file.label, file.sha256)
        for name, chosen in members.items()
        for file in chosen
    ]
    settings = [folder.class_names, listed, settings_text(image_size)]
    name = printable(folder.path.name)
    splits = build_splits(
        {name: examples(chosen) for name, chosen in members.items()},
        decode,
        counts=counts,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        class_names=folder.class_names,
        name=name,
        source=f"{name}: {size}{_origin(folder)}{together}",
        fingerprint=hashlib.sha256(repr(settings).encode()).hexdigest(),
        loader={
            "function": "load_directory",
            "arguments": {
                "path": str(folder.path),
                "image_size": image_size,
                "max_images": max_images,
                "batch_size": batch_size,
                "seed": seed,
                "fractions": asked or None,
                "groups": groups and groups.given,
                "keep_copies_together": keep_copies_together,
            },
        },
        skipped=tuple(skipped),
        photos={name: tuple(chosen) for name, chosen in members.items()},
    )
    say(f"Data: {splits.source}, from {path}")
    return splits


def _origin(folder: Folder) -> str:
    """Return the printable part that says which splits a folder gives."""
    if not folder.splits:
        return ""
    taken = [name for name in split_names.FRACTIONS if name not in folder.splits]
    text = f"; {' and '.join(folder.splits)} as given"
    return f"{text}, {' and '.join(taken)} taken from train" if taken else text


def _warn(path: pathlib.Path, folder: Folder, missed: list[Skipped]) -> None:
    if not folder.splits and all(split_names.meanings(folder.class_names).values()):
        warnings.warn(
            f"The subfolders of {path} hold photos and no class folders, so these are "
            f"the classes: {', '.join(folder.class_names)}. If they are splits, sort "
            "the photos in each into one folder a class.",
            stacklevel=3,
        )
    spelled = {}
    for name in folder.class_names:
        spelled.setdefault(name.lower(), []).append(name)
    same = [" and ".join(names) for names in spelled.values() if len(names) > 1]
    if same:
        warnings.warn(
            f"These classes of {path} differ in capital letters alone: "
            f"{', '.join(same[:SHOWN])}. If they are the same, put their photos into "
            "one folder.",
            stacklevel=3,
        )
    if not missed:
        return
    shown = [f"  {each.path}: {each.reason}" for each in missed[:SHOWN]]
    if len(missed) > len(shown):
        shown.append(f"  and {len(missed) - len(shown)} more")
    text = "\n".join(shown)
    kinds = {each.kind for each in missed}
    advice = [
        f"{READ} are read. Open the others in an image program and export them as JPEG "
        "or PNG, copy damaged ones again, or delete them."
    ]
    if IN_TWO_CLASSES in kinds:
        advice.append(
            "Of a photo in two classes, delete the one whose class is wrong: until "
            "then both are left out."
        )
    if kinds & {IN_SPLIT, NEAR_SPLIT, GROUP_IN_SPLIT}:
        advice.append("A photo that is tested on is not trained on.")
    warnings.warn(
        f"{len(missed)} file(s) in {path} were skipped:\n{text}\n{' '.join(advice)}",
        stacklevel=3,
    )


def _units(
    folder: Folder,
    usable: list[PhotoFile],
    groups: grouping.Groups | None,
    keep_copies_together: bool,
) -> tuple[np.ndarray, str, NearCopies]:
    """Return the number of what each photo stays with, how to say it, and copies."""
    ways, said = [np.arange(len(usable))], []
    inside = [file.path.relative_to(folder.path).as_posix() for file in usable]
    found = NearCopies([], True)
    if keep_copies_together and usable:
        found = near_copies(usable, folder)
        copies = joined(found.pairs, np.array([f.label for f in usable]), inside)
        ways.append(copies)
        sizes = np.bincount(copies)
        if sizes.max(initial=0) > 1:
            said.append(f"{sizes[sizes > 1].sum():,} near copies")
    if groups:
        names = grouping.group_names(groups, inside)
        ways.append(names)
        said.append(f"{len({*names}):,} groups")
    text = f"; {' and '.join(said)} kept together" if said else ""
    return grouping.together(*ways), text, found


def _not_together(
    folder: Folder,
    copies: NearCopies,
    usable: list[PhotoFile],
    members: dict[str, list[PhotoFile]],
) -> str:
    """Warn of near copies that are in two splits, and return it in a few words."""
    places = {file.path: name for name in members for file in members[name]}
    count = parted(copies.pairs, [places.get(file.path) for file in usable])
    found = []
    if count:
        found.append(f"{count:,} photos of long chains have near copies in two splits")
    if not copies.all_compared:
        found.append("photos too much alike to find all near copies")
    if not found:
        return ""
    text = "; ".join(found)
    warnings.warn(
        f"{folder.path}: {text}. Of photos of one series in two splits, the test looks "
        "better than it is. Name what belongs together with groups=.",
        stacklevel=3,
    )
    return f"; {text}: pass groups="


def _numbered(usable: list[PhotoFile], units: np.ndarray) -> list[PhotoFile]:
    """Return photos with the number of their unit, where it holds another photo."""
    several = np.bincount(units)[units] > 1
    return [
        file._replace(group=int(unit)) if joins else file
        for file, unit, joins in zip(usable, units, several, strict=True)
    ]


def _apart(
    folder: Folder,
    usable: list[PhotoFile],
    units: np.ndarray,
    groups: grouping.Groups | None,
) -> tuple[list[PhotoFile], list[PhotoFile], np.ndarray]:
    """Leave out what belongs to photos of a later one of the splits of a folder.

    Returns:
        All files of the folder, those that can be used, and the units of these.
    """
    if not folder.splits:
        return folder.files, usable, units
    order = [*split_names.FRACTIONS]
    last = {}
    for file, unit in zip(usable, units, strict=True):
        if unit not in last or order.index(file.split) > order.index(last[unit].split):
            last[unit] = file
    stays = [last[u].split == f.split for f, u in zip(usable, units, strict=True)]
    alike, kind = "nearly the same as", NEAR_SPLIT
    if groups:
        alike, kind = "belongs to", GROUP_IN_SPLIT
    problems = {
        file.path: f"{alike} {folder.name(last[unit])}, which is in {last[unit].split}"
        for file, unit, here in zip(usable, units, stays, strict=True)
        if not here
    }
    files = [
        f._replace(problem=problems[f.path], kind=kind) if f.path in problems else f
        for f in folder.files
    ]
    return (
        files,
        [f for f, here in zip(usable, stays, strict=True) if here],
        units[stays],
    )


def _split(
    folder: Folder,
    usable: list[PhotoFile],
    units: np.ndarray,
    fractions: Mapping[str, float],
    seed: int,
) -> dict[str, list[list[PhotoFile]]]:
    """Return the photos of each class in each split."""
    taken = [name for name in ("test", "validation") if name not in folder.splits]
    given = [name for name in ("test", "validation") if name in folder.splits]
    classes = range(len(folder.class_names))
    rest = [i for i, file in enumerate(usable) if file.split not in given]
    labels = np.array([usable[i].label for i in rest], "int64")
    parts = {name: [[] for _ in classes] for name in given}
    for file in usable:
        if file.split in given:
            parts[file.split][file.label].append(file)
    _check_enough(folder, labels, units[rest], len(taken), parts)
    shares = {name: fractions[name] for name in taken}
    pools = {name: [] for name in split_names.FRACTIONS}
    for name, classes in grouping.spread(labels, units[rest], shares, seed).items():
        pools[name] = [[usable[rest[i]] for i in positions] for positions in classes]
    for name in given:
        for label, part in enumerate(parts[name]):
            order = np.random.default_rng([seed, label]).permutation(len(part))
            pools[name].append([part[i] for i in order])
    _check_each(folder, pools)
    return pools


def _check_enough(folder, labels, units, num_taken: int, parts: dict) -> None:
    """Refuse a folder with too few photos, or groups of photos, of a class."""
    few, tied = [], []
    for label, class_name in enumerate(folder.class_names):
        here = labels == label
        count, num_units = int(here.sum()), len(np.unique(units[here]))
        if count <= num_taken:
            few.append(f"{count} readable image(s) of {class_name}")
        elif num_units <= num_taken:
            tied.append(f"{count} images of {class_name} in {num_units} group(s)")
        few += [
            f"no readable image of {class_name} in {name}"
            for name, classes in parts.items()
            if not classes[label]
        ]
    if few:
        expected = "three readable images a class, one for each split"
        if folder.splits:
            expected = "one readable image of each class in each split"
            expected += ", and in train one more for each that is taken from it"
        raise ValueError(
            f"Expected at least {expected}. Add images, or move the folder away. "
            f"{WAYS_OUT} Received: path={folder.path} with {'; '.join(few[:SHOWN])}"
        )
    if tied:
        raise ValueError(_too_few_groups(folder, num_taken + 1, tied))


def _check_each(folder: Folder, pools: dict[str, list[list[PhotoFile]]]) -> None:
    """Refuse a folder whose groups leave a split without a class."""
    missing = [
        f"none of {folder.class_names[label]} left for {name}"
        for name, classes in pools.items()
        for label, files in enumerate(classes)
        if not files
    ]
    if missing:
        raise ValueError(_too_few_groups(folder, len(pools), missing))


def _too_few_groups(folder: Folder, num_splits: int, found: list[str]) -> str:
    return (
        "Photos of one group, and near copies, stay in one split, so each class needs "
        f"at least {num_splits} groups or photos that are alone, one for each split. "
        "Add photos of others, make groups smaller, or pass "
        "keep_copies_together=False if they are no copies. "
        f"Received: path={folder.path} with {'; '.join(found[:SHOWN])}"
    )


def _capped(
    pools: dict[str, list[list[PhotoFile]]], num_classes: int, max_images: int | None
) -> dict[str, list[PhotoFile]]:
    counts = {name: sum(map(len, classes)) for name, classes in pools.items()}
    kept = cap(counts, max_images, least=num_classes)
    return {name: _in_turn(classes, kept[name]) for name, classes in pools.items()}


def _in_turn(classes: list[list[PhotoFile]], count: int) -> list[PhotoFile]:
    # In turn through the classes, weighted by their size, so a cap keeps the balance.
    ranked = [
        ((rank + 0.5) / len(files), file.label, rank, file)
        for files in classes
        for rank, file in enumerate(files)
    ]
    ranked.sort(key=lambda item: item[:2])
    # The first of each class stays, however rare it is.
    others = [item for item in ranked if item[2] > 0][: count - len(classes)]
    kept = [item for item in ranked if item[2] == 0] + others
    return [item[3] for item in sorted(kept, key=lambda item: item[:2])]
