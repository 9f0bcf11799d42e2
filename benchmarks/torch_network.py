"""A Keras backbone as a PyTorch module with the same weights.

As people write it in PyTorch: channels first, padding inside of convolutions and
pooling, BatchNormalization as a layer of its own.
"""

import keras
import numpy as np
import torch
from torch import fx, nn

from keras_transfer.runtime.keras_internals import nodes


def torch_network(network: keras.Model, pooled: bool = True) -> nn.Module:
    """Return a PyTorch module that computes what `network` computes, for inference.

    Args:
        network: Flat functional model from RGB images 0-255 to a feature map, of the
            kinds of layers that `build_backbone` uses for ResNet50, VGG16 and
            EfficientNet-Lite0.
        pooled: Whether to average over height and width. Defaults to `True`.

    Returns:
        A module from images of shape `(batch, 3, height, width)`, in `eval` mode.
    """
    walk = _Walk()
    for node in nodes(network):
        walk.add(node)
    output = walk.read(network.output)
    if pooled:
        output = walk.graph.call_method("mean", (output, (2, 3)))
    walk.graph.output(output)
    return fx.GraphModule(walk.modules, walk.graph).eval()


class _Walk:
    """Hold the graph while it is made: what stands for each tensor of Keras."""

    def __init__(self):
        self.graph, self.modules = fx.Graph(), nn.Module()
        self.made, self.padding = {}, {}

    def add(self, node) -> None:
        (output,) = node.output_tensors
        if node.is_input:
            self.made[id(output)] = self.graph.placeholder("images")
            return
        kind = type(node.operation).__name__.lower()
        if kind not in _KINDS:
            raise ValueError(f"No layer of PyTorch is known here for {kind}.")
        self.made[id(output)] = _KINDS[kind](self, node)

    def read(self, tensor):
        """Return what stands for a tensor, with the zeros around it made."""
        made = self.made[id(tensor)]
        if padding := self.padding.get(id(tensor)):
            made = self.call(nn.ZeroPad2d(padding), made)
        return made

    def read_padded(self, layer, tensor, size):
        """Return what a window slides over, and the zeros that it puts around it."""
        given = self.padding.get(id(tensor), (0, 0, 0, 0))
        if layer.padding == "same":
            given = tuple(map(sum, zip(given, _same(layer, tensor, size), strict=True)))
        left, right, top, bottom = given
        made = self.made[id(tensor)]
        if left == right and top == bottom and max(top, left) <= min(size) // 2:
            return made, (top, left)
        return self.call(nn.ZeroPad2d(given), made), (0, 0)

    def call(self, module: nn.Module, made):
        name = f"layer_{len(list(self.modules.children()))}"
        self.modules.add_module(name, module)
        return self.graph.call_module(name, (made,))

    def constant(self, values):
        """Return numbers, one a channel or one for all, as a part of the graph."""
        name = f"constant_{len(list(self.modules.buffers(recurse=False)))}"
        values = torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
        self.modules.register_buffer(name, values)
        return self.graph.get_attr(name)

    def activate(self, activation, made):
        if activation is keras.activations.linear:
            return made
        if activation is not keras.activations.relu:
            raise ValueError(f"Expected relu. Received: activation={activation}")
        return self.call(nn.ReLU(inplace=True), made)


def _same(layer, tensor, size) -> tuple[int, int, int, int]:
    """Return the zeros left, right, above and below, for "same" of TensorFlow."""
    around = []
    for side, window, stride in zip(
        tensor.shape[1:3], size, layer.strides, strict=True
    ):
        missing = max((-(-side // stride) - 1) * stride + window - side, 0)
        around.append((missing // 2, missing - missing // 2))
    (top, bottom), (left, right) = around
    return left, right, top, bottom


def _set(module: nn.Module, **values) -> None:
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(torch.from_numpy(np.array(value)))


def _convolution(walk: _Walk, node):
    layer = node.operation
    (tensor,) = node.input_tensors
    kernel, *bias = map(np.asarray, layer.get_weights())
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        # A group a channel: (height, width, channels, multiplier).
        groups, kernel = kernel.shape[2], kernel.reshape(*kernel.shape[:2], 1, -1)
    else:
        groups = layer.groups
    made, padding = walk.read_padded(layer, tensor, kernel.shape[:2])
    convolution = nn.Conv2d(
        kernel.shape[2] * groups,
        kernel.shape[3],
        kernel.shape[:2],
        layer.strides,
        padding,
        groups=groups,
        bias=bool(bias),
    )
    _set(convolution, weight=kernel.transpose(3, 2, 0, 1))
    if bias:
        _set(convolution, bias=bias[0])
    return walk.activate(layer.activation, walk.call(convolution, made))


def _batch_normalization(walk: _Walk, node):
    layer = node.operation
    (tensor,) = node.input_tensors
    normalization = nn.BatchNorm2d(tensor.shape[-1], eps=layer.epsilon)
    _set(
        normalization,
        weight=layer.gamma,
        bias=layer.beta,
        running_mean=layer.moving_mean,
        running_var=layer.moving_variance,
    )
    return walk.call(normalization, walk.read(tensor))


def _max_pooling(walk: _Walk, node):
    layer = node.operation
    # Behind ReLU, PyTorch's padding is as good as zeros.
    made, padding = walk.read_padded(layer, node.input_tensors[0], layer.pool_size)
    return walk.call(nn.MaxPool2d(layer.pool_size, layer.strides, padding), made)


def _zero_padding(walk: _Walk, node):
    layer = node.operation
    (top, bottom), (left, right) = layer.padding
    (tensor,), (output,) = node.input_tensors, node.output_tensors
    # Made by what reads it, if that has no padding of its own.
    walk.padding[id(output)] = (left, right, top, bottom)
    return walk.read(tensor)


def _relu(walk: _Walk, node):
    highest = node.operation.max_value
    if highest not in (None, 6.0):
        raise ValueError(f"Expected ReLU or ReLU6. Received: max_value={highest}")
    kind = nn.ReLU6 if highest else nn.ReLU
    return walk.call(kind(inplace=True), walk.read(node.input_tensors[0]))


def _activation(walk: _Walk, node):
    return walk.activate(node.operation.activation, walk.read(node.input_tensors[0]))


def _add(walk: _Walk, node):
    first, second = map(walk.read, node.input_tensors)
    return walk.graph.call_function(torch.add, (first, second))


def _flip(walk: _Walk, node):
    return walk.graph.call_method("flip", (walk.read(node.input_tensors[0]), (1,)))


def _rescaling(walk: _Walk, node):
    layer, made = node.operation, walk.read(node.input_tensors[0])
    scaled = walk.graph.call_function(torch.mul, (made, walk.constant(layer.scale)))
    return walk.graph.call_function(torch.add, (scaled, walk.constant(layer.offset)))


_KINDS = {
    "conv2d": _convolution,
    "depthwiseconv2d": _convolution,
    "batchnormalization": _batch_normalization,
    "maxpooling2d": _max_pooling,
    "zeropadding2d": _zero_padding,
    "relu": _relu,
    "activation": _activation,
    "add": _add,
    "flip": _flip,
    "rescaling": _rescaling,
}
