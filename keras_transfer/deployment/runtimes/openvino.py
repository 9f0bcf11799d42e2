"""OpenVINO."""

import sys


def network(path):  # Unasked it reports its import, and computes in bfloat16.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    net = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: {k.any_name: v for k, v in net({"image": x}).items()}
