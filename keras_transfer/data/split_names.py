"""Tell from a name which split of a data set it means, and take their shares."""

import re
import typing
from collections.abc import Iterable, Mapping

from keras_transfer.runtime.arguments import elements, real_number, shown

# Shares of the images where none are asked for.
FRACTIONS = {"train": 0.70, "validation": 0.15, "test": 0.15}
UNDERSTOOD = (
    "names that contain train; val or dev for validation; test, eval or holdout for "
    "test"
)
# Looked for in this order: evaluation holds the letters of val, too.
_MEANINGS = {
    "train": re.compile("train|(?<![a-z])trn(?![a-z])"),
    "test": re.compile("test|(?<![a-z])tst(?![a-z])|h[eo]ld[ _-]?out"),
    "eval": re.compile("eval"),
    "validation": re.compile("val|(?<![a-z])dev"),
}


def meanings(names: Iterable[str]) -> dict[str, str | None]:
    """Return for each name `"train"`, `"validation"`, `"test"`, or `None` for neither.

    `evaluation` means the test split, unless another one of the names does.
    """
    first = {name: _meaning(name) for name in names}
    other = "validation" if "test" in first.values() else "test"
    return {name: other if m == "eval" else m for name, m in first.items()}


def _meaning(name: str) -> str | None:
    text = name.lower()
    # train_val: what to train on, of which validation photos are still to be taken.
    text = re.sub("train[ _-]?val(id(ation)?)?", "train", text)
    text = text.replace("evaluation", "eval")
    found = [m for m, pattern in _MEANINGS.items() if pattern.search(text)]
    if found == ["eval", "validation"]:
        return "validation" if "val" in text.replace("eval", "") else "eval"
    return found[0] if len(found) == 1 else None


def sizes(count: int, cut: Iterable[str], fractions: Mapping) -> dict[str, int]:
    """Return how many images of a class go into each split that is cut from it.

    Args:
        count: Number of images of the class, more than there are splits to cut.
        cut: Names of the splits.
        fractions: Their shares.
    """
    found = {name: max(1, round(count * fractions[name])) for name in cut}
    # Of few photos with large shares, one must be left to train on.
    while found and sum(found.values()) >= count and max(found.values()) > 1:
        found[max(found, key=found.get)] -= 1
    return found


def shares(fractions: typing.Any) -> dict[str, float]:
    """Return the shares of validation and test that were asked for, by their names.

    Args:
        fractions: `None`; a mapping with the shares of `"validation"`, `"test"` or
            both; or all three shares, train first, as a mapping or sequence.
    """
    if fractions is None:
        return {}
    given = fractions
    if not isinstance(given, Mapping):
        values = elements(given) or ()
        given = dict(zip(FRACTIONS, values, strict=True)) if len(values) == 3 else None
    named = isinstance(given, Mapping) and set(given) <= set(FRACTIONS)
    if not named or not set(given) - {"train"}:
        raise ValueError(
            "fractions must name the shares of validation and test, such as "
            '{"validation": 0.15, "test": 0.15}, or be those of train, validation and '
            f"test, such as (0.7, 0.15, 0.15). Received: fractions={shown(fractions)}"
        )
    found = {
        name: real_number(f"fractions[{name!r}]", given[name], above=0, below=1)
        for name in FRACTIONS
        if name in given
    }
    train = found.pop("train", None)
    if train is not None and len(found) == 1:
        rest = round(1 - train - sum(found.values()), 12)
        found |= {n: rest for n in ("validation", "test") if n not in found}
    held_out = [(FRACTIONS | found)[name] for name in ("validation", "test")]
    rest = 1 - sum(held_out)
    if (
        min(*held_out, rest) <= 0
        or abs((rest if train is None else train) - rest) > 1e-6
    ):
        raise ValueError(
            "The shares of train, validation and test must be above 0, and 1 together. "
            f"Received: fractions={shown(fractions)}"
        )
    return found


def refuse_given(asked: Mapping, given: Iterable[str], received: str = "") -> None:
    """Raise an error if shares are asked for of splits that have their own images.

    Args:
        asked: What `shares` returned.
        given: Names of the splits that are there already.
        received: What else was received, for the error.
    """
    given = {*given}
    there = " and ".join(name for name in asked if name in given)
    if there:
        raise ValueError(
            f"{there} came with images of their own, so no share of train is taken. "
            f"Leave {there} out of fractions. Received: fractions={dict(asked)}"
            f"{received}"
        )
