"""Checks of what happens to photos between their files and the model."""

from keras_transfer import photo_files
from keras_transfer.data import pipelines
from keras_transfer.data.decoding import RESIZE_RULE
from keras_transfer.examination import Case
from keras_transfer.findings import Check, Finding, NotExaminedError

# Photos that are hardly made smaller lose nothing without antialiasing.
SHRUNK = 1.2


def _repair(size: int) -> str:
    return f"""
splits = kt.load_directory("path/to/photos", image_size={size})  # for training
image = kt.load_image("photo.jpg", image_size={size})  # for prediction
# Or, without this package, the same in both places:
# image = PIL.ImageOps.exif_transpose(PIL.Image.open("photo.jpg")).convert("RGB")
# image = tf.image.resize(np.asarray(image), ({size}, {size}), antialias=True)
"""


def check_resizing(case: Case) -> list[Finding]:
    """Find photos that are resized badly, or not as in training, or not turned."""
    matches, reasons = {}, {}
    for split in case.datasets:
        try:
            matches[split] = photo_files.match(case, split)
        except NotExaminedError as error:
            reasons[split] = str(error)
    if not matches:
        raise NotExaminedError("; ".join(f"{k}: {v}" for k, v in reasons.items()))
    repair = _repair(case.image_size)
    findings = [*_aliased(matches, repair), *_not_turned(matches, repair)]
    if len(matches) > 1:
        findings += _in_two_ways(matches, repair)
    return findings


def _aliased(matches: dict, repair: str) -> list[Finding]:
    for split, found in matches.items():
        fit, _, how = found.way.partition(", ")
        if how.startswith(photo_files.SMOOTH) or found.shrunk < SHRUNK:
            continue
        smooth = min(
            level
            for way, level in found.levels.items()
            if way.startswith(f"{fit}, {photo_files.SMOOTH}")
        )
        smooth -= found.levels[found.way]
        if smooth < photo_files.CLEARLY:
            continue
        return [
            Finding(
                "warning",
                "Photos are made smaller without antialiasing",
                f"The {split} photos are {found.shrunk:.1f} times smaller than their "
                f"files and agree with resizing {how} (to "
                f"{found.levels[found.way]:.1f} levels of 255); antialiased ones would "
                f"differ by {smooth:.1f} levels more.",
                "Every pixel that is left out lets fine patterns come out as others. "
                "Networks were trained on antialiased photos, and a network that was "
                "trained on one kind of pixels is worse on the other.",
                repair,
                {"shrunk": found.shrunk, "levels": smooth},
            )
        ]
    return []


def _in_two_ways(matches: dict, repair: str) -> list[Finding]:
    ways = {split: found.way for split, found in matches.items()}
    levels = [
        matches[first].levels[ways[second]] - matches[first].levels[ways[first]]
        for first in ways
        for second in ways
    ]
    if max(levels) < photo_files.CLEARLY:
        return []
    listed = "; ".join(f"{split}: {way}" for split, way in ways.items())
    return [
        Finding(
            "warning",
            "Photos are resized in two ways",
            f"{listed}. The same photo differs by {max(levels):.1f} levels of 255.",
            "What the model learns about shapes and sizes in training does not hold "
            "for photos that are stretched or cropped otherwise afterwards.",
            repair,
            {"levels": max(levels)},
        )
    ]


def _not_turned(matches: dict, repair: str) -> list[Finding]:
    turned = sum(found.turned for found in matches.values())
    lying = sum(found.not_turned for found in matches.values())
    if not lying:
        return []
    photos = sum(found.photos for found in matches.values())
    return [
        Finding(
            "warning",
            "Photos lie on their side: EXIF rotation is ignored",
            f"Of {photos} photos, {turned} are stored with a rotation in "
            f"their EXIF data, and {lying} of these are given as they are stored.",
            "Phones store photos as the sensor lay. People, and the photos that the "
            "weights were trained on, stand upright.",
            repair,
            {"turned": turned, "not_turned": lying},
        )
    ]


def check_folder_names(case: Case) -> list[Finding]:
    """Find class names in another order than that of the labels."""
    names = case.names()
    findings, known = [], 0
    for where, others in (
        ("the model's file", case.model_class_names),
        ("the data set itself", _loader_names(case)),
    ):
        known += others is not None
        if others is not None and tuple(others) != names:
            findings.append(
                _wrong_names(
                    f"By {where} the classes are {', '.join(others)}; the names given "
                    f"with the data are {', '.join(names)}.",
                    len(names),
                    case.image_size,
                )
            )
    seen, wrong = _folders(case, names)
    if seen and wrong:
        path, label, folder = wrong[0]
        findings.append(
            _wrong_names(
                f"{len(wrong)} of {seen} photos lie in the folder of another class "
                f"than the one of their label: {path.name} lies in {folder} and has "
                f"the label {label}, which is {names[label]} here.",
                len(wrong),
                case.image_size,
            )
        )
    if not (known or seen):
        raise NotExaminedError(
            "neither the files' folders nor names from elsewhere are known"
        )
    return findings[:1]


def _wrong_names(evidence: str, count: int, size: int) -> Finding:
    return Finding(
        "serious",
        "Class names in another order than the labels",
        evidence,
        "Accuracy does not show it: every answer is right by its number and wrong by "
        "its name.",
        f"""
splits = kt.load_directory("path/to/photos", image_size={size})
kt.save_classifier(model, "model.keras", splits.class_names)  # never typed by hand
# In Keras: train = keras.utils.image_dataset_from_directory(...); train.class_names
# In TensorFlow Datasets: builder.info.features["label"].names
""",
        {"wrong": count},
    )


def _loader_names(case: Case):
    for dataset in case.datasets.values():
        names = pipelines.attribute(dataset, "class_names")
        if names is not None:
            return tuple(names)
    return None


def _folders(case: Case, names: tuple[str, ...]) -> tuple[int, list]:
    """Return how many folders name a class, and the photos where it is another."""
    seen, wrong = 0, []
    for split in case.datasets:
        labels, every = case.sample(split).labels, case.every(split)
        files = pipelines.encoded(case.dataset(split), len(labels), every)
        for file, label in zip(files, labels[: len(files)], strict=True):
            path = photo_files.path_of(file)
            if path is None:
                continue
            folder = next((x for x in reversed(path.parts[:-1]) if x in names), None)
            # That is looked at with the order of labels.
            if not 0 <= label < len(names):
                continue
            seen += folder is not None
            if folder is not None and names[label] != folder:
                wrong.append((path, label, folder))
    return seen, wrong


CHECKS = (
    Check(
        "resizing",
        check_resizing,
        "a few photos of each split beside their files",
        "Which way the weights were trained with; only what differs between splits, "
        f"and from the rule of this package ({RESIZE_RULE}).",
    ),
    Check(
        "class names",
        check_folder_names,
        "names of folders, and those that came with data or model",
        "Whether a folder holds what its name says.",
    ),
)
