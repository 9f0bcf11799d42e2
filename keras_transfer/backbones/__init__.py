"""Pretrained networks with their preprocessing, their blocks and their weights.

Called, `keras_transfer.backbones()` lists them with their size and accuracy.

Example:

>>> import keras_transfer as kt
>>> kt.backbones().rows[0]["backbone"]
'resnet50'
"""

import importlib
import importlib.util
import sys
import types

__all__ = []


def __getattr__(name: str) -> types.ModuleType:
    # As `kt.backbones.registry`, whatever was imported before.
    if importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


class _Backbones(types.ModuleType):
    """A folder that is a function, too: importing it hides a function of its name."""

    def __call__(self):
        from keras_transfer.backbones.listing import backbones

        return backbones()


sys.modules[__name__].__class__ = _Backbones
