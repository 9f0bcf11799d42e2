"""Fetch weights."""

import argparse
from collections.abc import Callable


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    weights = command("weights", _weights, "Fetch pretrained weights.")
    weights.add_argument(
        "names", nargs="+", metavar="NAME", help="such as resnet50 or minilm"
    )


def _weights(options: argparse.Namespace) -> int:
    from keras_transfer.backbones import registry
    from keras_transfer.backbones.carriers import CARRIED
    from keras_transfer.backbones.weights.carried_files import report_files
    from keras_transfer.backbones.weights.sources import fetch_weights

    known = [*registry.ARCHITECTURES, *CARRIED]
    unknown = [name for name in options.names if name not in known]
    if unknown:
        raise ValueError(
            f"Unknown network. Expected some of: {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )
    # All are tried, also after one that failed.
    fetched = [
        report_files(name) if name in CARRIED else fetch_weights(name)
        for name in options.names
    ]
    return 0 if all(fetched) else 1
