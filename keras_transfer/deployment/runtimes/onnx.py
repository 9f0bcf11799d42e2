"""ONNX Runtime, whose threads do not wait by computing nothing: others decode."""


def network(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    net = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    names = [output.name for output in net.get_outputs()]
    return lambda x: dict(zip(names, net.run(names, {"image": x}), strict=True))
