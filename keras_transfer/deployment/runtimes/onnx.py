"""ONNX Runtime."""


def network(path):
    import onnxruntime

    net = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in net.get_outputs()]
    return lambda x: dict(zip(names, net.run(names, {"image": x}), strict=True))
