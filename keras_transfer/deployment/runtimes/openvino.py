"""OpenVINO."""


def network(path):
    import openvino

    # Else it computes in bfloat16 where that is faster, some hundredths off.
    net = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: {k.any_name: v for k, v in net({"image": x}).items()}
