"""ONNX Runtime."""


def network(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads that wait by computing nothing take the cores from those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    cpu = ["CPUExecutionProvider"]
    net = onnxruntime.InferenceSession(path, options, providers=cpu)
    names = [output.name for output in net.get_outputs()]
    return lambda x: dict(zip(names, net.run(names, {"image": x}), strict=True))
