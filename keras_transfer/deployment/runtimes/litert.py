"""LiteRT, which was TensorFlow Lite."""


def network(path):
    import os

    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(path, num_threads=os.cpu_count()).get_signature_runner()
    return lambda x: net(image=x)
