"""Progress bars with the time that is left, where somebody is watching."""

import typing

from tqdm import tqdm


def progress_bar(total: int, text: str, unit: str = "photos", **settings) -> typing.Any:
    """Return a bar on standard error; none where that is no terminal.

    Args:
        total: How much there is to do.
        text: What is done, in a word or two, such as `"features"`.
        unit: What is counted. Defaults to `"photos"`.
        **settings: More arguments of `tqdm.tqdm`, such as `initial`.

    Returns:
        A `tqdm.tqdm`, to use in a `with` block: `update(count)` moves it on.
    """
    return tqdm(
        total=total,
        desc=text,
        unit=f" {unit}",
        disable=None,
        leave=False,
        dynamic_ncols=True,
        **settings,
    )
