"""What a `.keras` file holds beside Keras's own members, which Keras passes over.

One member of JSON describes the classifier. What is much stands beside it in bytes:
checksums of photos, 32 bytes each, and the features of an `UnknownDetector`, float16.
"""

import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from keras_transfer.classifier.unknown import UnknownDetector
from keras_transfer.data.decoding import RESIZE_RULE
from keras_transfer.runtime.keras_internals import KERAS_MEMBERS

MEMBER = "keras_transfer.json"
PHOTOS = "keras_transfer.photos"
FEATURES = "keras_transfer.features"
# What reading a broken archive, or a broken member in it, may raise.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
SHA256_BYTES = 32
HALF = np.dtype("<f2")


def write_members(path: pathlib.Path, classifier) -> None:
    """Add to a file that Keras wrote what it has no place for."""
    trained_on, unknown = classifier.trained_on, classifier.unknown
    described = {
        "class_names": list(classifier.class_names),
        "image_size": classifier.image_size,
        "resize_rule": RESIZE_RULE,
        "temperature": classifier.temperature,
        "trained_on": {name: len(sums) for name, sums in (trained_on or {}).items()},
        "details": classifier.details,
    }
    with zipfile.ZipFile(path, "a") as archive:
        if trained_on:
            sums = "".join("".join(each) for each in trained_on.values())
            archive.writestr(PHOTOS, bytes.fromhex(sums))
        if unknown is not None:
            described["unknown"] = {
                "shape": list(unknown.features.shape),
                "neighbors": unknown.neighbors,
                "threshold": unknown.threshold,
                "refused": unknown.refused,
                "validation_images": unknown.validation_images,
            }
            archive.writestr(FEATURES, unknown.features.astype(HALF).tobytes())
        archive.writestr(MEMBER, json.dumps(described, indent=2))


def has_members(path: pathlib.Path) -> bool:
    """Return whether a file holds more than what Keras writes."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return MEMBER in archive.namelist()


def read_members(path: pathlib.Path) -> dict:
    """Return what `write_members` wrote, as the arguments of `Classifier`.

    What an older version did not keep is `None`.

    Raises:
        ValueError: If there is nothing of that, it is damaged, or images were resized
            by another rule.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            if MEMBER in members or not members >= KERAS_MEMBERS:
                described = json.loads(archive.read(MEMBER))
                found = {
                    "class_names": described["class_names"],
                    "image_size": described["image_size"],
                    "temperature": described.get("temperature"),
                    "unknown": _unknown(archive, described.get("unknown")),
                    "trained_on": _trained_on(archive, described.get("trained_on")),
                    "details": described.get("details"),
                }
                rule = described["resize_rule"]
    except DAMAGED as error:
        raise ValueError(
            "Expected a whole .keras file from save_classifier; this one is damaged "
            f"or of another kind. Received: path={path}"
        ) from error
    if MEMBER not in members:
        raise ValueError(
            "This model was saved without its class names. Give it some, in "
            "the order of its outputs: keras_transfer.save_classifier("
            f"keras.saving.load_model({str(path)!r}, compile=False), "
            f"{str(path)!r}, class_names). Received: path={path}"
        )
    if rule != RESIZE_RULE:
        raise ValueError(
            f"This version resizes images by the rule {RESIZE_RULE}, the model was "
            "trained with another one. Use the version it was saved with, or train "
            f"it again. Received: resize_rule={rule}, path={path}"
        )
    return found


def _trained_on(
    archive: zipfile.ZipFile, counts: Mapping | None
) -> dict[str, tuple[str, ...]] | None:
    if not counts:
        return None
    data, start, found = archive.read(PHOTOS), 0, {}
    if len(data) != SHA256_BYTES * sum(counts.values()):
        raise EOFError("another number of checksums")
    for name, count in counts.items():
        stop = start + SHA256_BYTES * count
        places = range(start, stop, SHA256_BYTES)
        found[name] = tuple(data[i : i + SHA256_BYTES].hex() for i in places)
        start = stop
    return found


def _unknown(
    archive: zipfile.ZipFile, described: Mapping | None
) -> UnknownDetector | None:
    if not described:
        return None
    kept = dict(described)
    features = np.frombuffer(archive.read(FEATURES), HALF).reshape(kept.pop("shape"))
    return UnknownDetector(features, **kept)
