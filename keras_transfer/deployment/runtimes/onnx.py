"""ONNX Runtime."""


def network(path, options=None):
    import onnxruntime

    net = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    names = [output.name for output in net.get_outputs()]
    return lambda x: dict(zip(names, net.run(names, {"image": x}), strict=True))


def shared_cores():
    """Return options by which threads do not wait by computing: others decode."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
