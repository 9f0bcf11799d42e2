"""Compare backbones by a probe of their frozen features."""

import argparse
from collections.abc import Callable


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    # Its arguments are its own: `python -m keras_transfer backbones --help`.
    command("backbones", _backbones, "Compare the backbones.", own_arguments=True)


def _backbones(options: argparse.Namespace) -> int:
    from keras_transfer.evaluation import linear_probe

    return linear_probe.main(options.arguments) or 0
