"""What is installed on a machine, as far as it changes what a network computes."""

import functools
import hashlib
import importlib.metadata
import pathlib
import platform

# What reads and resizes photos, or runs a network.
_PACKAGES = (
    "keras",
    "tensorflow",
    "numpy",
    "pillow",
    "openvino",
    "tensorflow-datasets",
)


@functools.cache
def software() -> dict[str, str]:
    """Return the versions of what is used here, and a checksum of this package."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    package = pathlib.Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(repr(path.relative_to(package).as_posix()).encode())
        digest.update(path.read_bytes())
    return {**found, "keras_transfer": digest.hexdigest()[:12]}


def check_software(expected: dict[str, str]) -> None:
    """Refuse to compute for another machine what would come out otherwise here.

    Args:
        expected: What `software` returned there.

    Raises:
        RuntimeError: If anything differs.
    """
    here = software()
    other = [
        f"{name} {here.get(name)} here and {version} there"
        for name, version in expected.items()
        if here.get(name) != version
    ]
    if other:
        raise RuntimeError(
            f"The machine {platform.node()} has other software than the one that asked "
            "it to compute, so its results could differ. Install the same on all "
            f"machines. Received: {'; '.join(other)}"
        )
