"""OpenVINO, where it is installed, without the statistics of use that it sends."""

import importlib
import importlib.util
import sys
import types


def is_installed() -> bool:
    """Return whether OpenVINO can be imported."""
    return importlib.util.find_spec("openvino") is not None


def openvino() -> types.ModuleType:
    """Import OpenVINO, which does not get to report that it was.

    Its package sends an event when it is imported, unless the one that sends it is not
    there: then it goes on without.
    """
    return _imported("openvino")


def nncf() -> types.ModuleType:
    """Import NNCF, which quantizes for OpenVINO, in the same way."""
    openvino()
    return _imported("nncf")


def _imported(name: str) -> types.ModuleType:
    sender = "openvino_telemetry"
    if name in sys.modules or sender in sys.modules:
        return importlib.import_module(name)
    sys.modules[sender] = None
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[sender]
