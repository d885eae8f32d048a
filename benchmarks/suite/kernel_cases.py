"""The cases of `kernels.py`: the shapes that the networks of `keras_networks.py` give to lamina's kernels.

Torch's side is what a torch user with an eye to speed writes: channels-last memory, whole sequences, the fused Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

import lamina
from lamina.kernels import images, rnn
from lamina.kernels.conv import conv
from lamina.kernels.linear import linear
from lamina.kernels.normalization import batch_norm_with_own_statistics
from lamina.kernels.pooling import average_pool, max_pool
from suite.cases import Case, Way, Work, channels_last, turned, weight, work

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}


def linears() -> Iterator[Case]:
    """Products of Dense layers: batch, inputs, units, and whether it is a first layer."""
    for batch, inputs, units, first in (
        (128, 784, 512, True),
        (128, 512, 216, False),
        (256, 256, 120, False),
        (64, 3104, 128, False),
    ):
        x = torch.randn(batch, inputs).requires_grad_(not first)
        ours, bias = turned(weight(units, inputs)), weight(units)
        theirs = turned(ours)
        given = () if first else (x,)
        forward, both = work(2.0 * batch * inputs * units, [x], [ours, bias], batch * units, not first)
        yield Case(
            "linear",
            f"{batch} x {inputs} x {units}",
            Way(lambda x=x, k=ours, b=bias: linear(x, k, b), (*given, ours, bias)),
            Way(lambda x=x, k=theirs, b=bias: F.linear(x, k, b), (*given, theirs, bias)),
            forward,
            both,
        )


# Network, (batch, height, width, channels), window, filters, stride, padding, activation, pooling, groups.
CONVOLUTIONS = (
    ("lenet, first", (256, 28, 28, 1), 5, 6, 1, "valid", "sigmoid", 2, 1),
    ("lenet, second", (256, 12, 12, 6), 5, 16, 1, "valid", "sigmoid", 2, 1),
    ("cnn, first", (128, 28, 28, 1), 4, 128, 1, "valid", "relu", 2, 1),
    ("cnn, second", (128, 12, 12, 128), 4, 64, 1, "valid", "relu", 2, 1),
    ("two_towers, second", (64, 30, 30, 32), 4, 16, 1, "valid", "relu", 2, 1),
    ("resnet, first", (128, 32, 32, 3), 3, 16, 1, "same", "linear", 0, 1),
    ("resnet, 16", (128, 32, 32, 16), 3, 16, 1, "same", "linear", 0, 1),
    ("resnet, 16 to 32", (128, 32, 32, 16), 3, 32, 2, "same", "linear", 0, 1),
    ("resnet, 64", (128, 8, 8, 64), 3, 64, 1, "same", "linear", 0, 1),
    ("resnext50, 1x1", (8, 56, 56, 256), 1, 128, 1, "valid", "linear", 0, 1),
    ("resnext50, 32 groups", (8, 56, 56, 128), 3, 128, 1, "same", "linear", 0, 32),
)


def convolutions() -> Iterator[Case]:
    """Convolutions with the activation and the pooling behind them."""
    for name, image, size, filters, stride, padding, activation, pool, groups in CONVOLUTIONS:
        first = "first" in name
        x = torch.randn(image).requires_grad_(not first)
        window = images.Window((stride, stride), padding, (pool, pool), activation)
        filters_first = weight(filters, image[3] // groups, size, size).detach()
        theirs = filters_first.to(memory_format=torch.channels_last).requires_grad_()
        ours, bias = theirs.detach().permute(2, 3, 1, 0).requires_grad_(), weight(filters)
        y = channels_last(x)
        out_h, out_w = places(image, size, stride, padding)
        flops = 2.0 * image[0] * out_h * out_w * filters * size * size * (image[3] // groups)
        shrunk = image[0] * filters * (out_h // (pool or 1)) * (out_w // (pool or 1))
        forward, both = work(flops, [x], [ours, bias], shrunk, not first)
        yield Case(
            "convolution",
            f"{name}: {size}x{size}, {filters}" + (f", {activation}, pooling" if pool else ""),
            Way(
                lambda x=x, k=ours, b=bias, w=window, g=groups: our_convolution(x, k, b, w, g),
                (ours, bias) if first else (x, ours, bias),
            ),
            Way(
                lambda x=y, k=theirs, b=bias, w=window, g=groups: torchs_convolution(x, k, b, w, g),
                (theirs, bias) if first else (y, theirs, bias),
            ),
            forward,
            both,
        )


def places(image: tuple[int, ...], size: int, stride: int, padding: str) -> tuple[int, int]:
    """Where a window can lie: along the height and the width."""
    room = [length if padding == "same" else length - size + 1 for length in image[1:3]]
    return -(-room[0] // stride), -(-room[1] // stride)


def our_convolution(x: Tensor, kernel: Tensor, bias: Tensor, window: images.Window, groups: int) -> Tensor:
    """In one pass where lamina has one for these shapes, and otherwise as its layers do it."""
    if groups == 1 and images.suits(x, kernel, bias, window):
        return images.convolution(x, kernel, bias, window)
    padding = window.padding
    assert isinstance(padding, str)
    y = conv(x, kernel, bias, window.strides, padding, groups=groups, activation=window.activation)
    return max_pool(y, window.pool, window.pool, "valid") if window.pool[0] else y


def torchs_convolution(x: Tensor, kernel: Tensor, bias: Tensor, window: images.Window, groups: int) -> Tensor:
    """One function of torch after the other."""
    stride, size = window.strides[0], kernel.shape[2]
    uneven = window.padding == "same" and stride > 1  # then Keras pads only after the axis, which torch cannot
    if uneven:
        x = F.pad(x, (0, 1, 0, 1))
    padding = size // 2 if window.padding == "same" and not uneven else 0
    y = ACTIVATIONS[window.activation](F.conv2d(x, kernel, bias, stride, padding, groups=groups))
    if window.pool[0]:
        y = F.max_pool2d(y, window.pool)
    return y.permute(0, 2, 3, 1)


def normalizations() -> Iterator[Case]:
    """Batch normalization in training, with the sum and the ReLU that follow it in residual networks."""
    for name, shape in (
        ("resnet, 16", (128, 32, 32, 16)),
        ("resnet, 64", (128, 8, 8, 64)),
        ("resnext50, 256", (8, 56, 56, 256)),
    ):
        for then in ("", "relu", "sum, relu"):
            x = torch.randn(shape).requires_grad_()
            y = channels_last(x)
            gamma, beta = torch.ones(shape[3]).requires_grad_(), weight(shape[3])
            branch = torch.randn(shape).requires_grad_() if "sum" in then else None
            branch_y = None if branch is None else channels_last(branch)
            mean, variance = torch.zeros(shape[3]), torch.ones(shape[3])

            def ours(x=x, g=gamma, b=beta, r=branch, relu="relu" in then) -> Tensor:
                return batch_norm_with_own_statistics(x, g, b, -1, 1e-3, r, relu)[0]

            def theirs(x=y, g=gamma, b=beta, r=branch_y, relu="relu" in then, m=mean, v=variance) -> Tensor:
                out = F.batch_norm(x, m, v, g, b, True, 0.01, 1e-3)
                out = out if r is None else out + r
                return (torch.relu(out) if relu else out).permute(0, 2, 3, 1)

            # A sum for the mean, one for the variance, a product and a sum to normalize; and what follows.
            flops = (6.0 + then.count(",") + then.count("relu")) * x.numel()
            inputs = [x] if branch is None else [x, branch]
            leaves = (x, gamma, beta) if branch is None else (x, gamma, beta, branch)
            torchs = (y, gamma, beta) if branch_y is None else (y, gamma, beta, branch_y)
            forward, both = work(flops, inputs, [gamma, beta], x.numel(), True)
            yield Case(
                "normalization", ", ".join(filter(None, (name, then))), Way(ours, leaves), Way(theirs, torchs),
                forward, both,
            )  # fmt: skip


def poolings() -> Iterator[Case]:
    """Pooling on its own."""
    for name, shape, kind, size in (
        ("largest: lenet, first", (256, 24, 24, 6), "max", 2),
        ("largest: cnn, first", (128, 25, 25, 128), "max", 2),
        ("mean: resnet", (128, 8, 8, 64), "average", 8),
    ):
        x = torch.randn(shape).requires_grad_()
        y = channels_last(x)
        ours, theirs = {"max": (max_pool, F.max_pool2d), "average": (average_pool, F.avg_pool2d)}[kind]
        out = shape[0] * (shape[1] // size) * (shape[2] // size) * shape[3]
        forward, both = work(float(x.numel()), [x], [], out, True)
        yield Case(
            "pooling",
            f"{name}, {size}x{size}",
            Way(lambda x=x, f=ours, s=size: f(x, (s, s), (s, s), "valid"), (x,)),
            Way(lambda x=y, f=theirs, s=size: f(x, s).permute(0, 2, 3, 1), (y,)),
            forward,
            both,
        )


def recurrences() -> Iterator[Case]:
    """Whole sequences: kind, batch, steps, features, units."""
    for kind, batch, steps, features, units in (
        ("lstm", 64, 784, 1, 128),
        ("lstm", 64, 784, 64, 32),
        ("gru", 64, 784, 1, 128),
        ("rnn", 64, 784, 1, 128),
    ):
        gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
        x = torch.randn(batch, steps, features).requires_grad_(features > 1)
        h, c = torch.zeros(batch, units), torch.zeros(batch, units)
        theirs = [weight(gates * units, features), weight(gates * units, units)]
        theirs += [torch.zeros(gates * units).requires_grad_() for _ in range(2)]
        if kind == "gru":  # torch puts the reset gate first
            order = [1, 0, 2]
            found = [torch.cat([w.detach().chunk(3)[i] for i in order]) for w in theirs[:2]]
        else:
            found = [w.detach() for w in theirs[:2]]
        ours = [turned(w) for w in found]
        bias = torch.zeros(2, 3 * units) if kind == "gru" else torch.zeros(gates * units)
        ours.append(bias.requires_grad_())

        def run(k=kind, x=x, h=h, c=c, w=ours) -> Tensor:
            if k == "lstm":
                return rnn.lstm(x, h, c, *w)[0]
            return rnn.gru(x, h, *w)[0] if k == "gru" else rnn.simple_rnn(x, h, *w)[0]

        def torchs(k=kind, x=x, h=h[None], c=c[None], w=theirs) -> Tensor:
            state = (h, c) if k == "lstm" else h
            function = {"lstm": torch.lstm, "gru": torch.gru, "rnn": torch.rnn_tanh}[k]
            return function(x, state, w, True, 1, 0.0, torch.is_grad_enabled(), False, True)[0]

        flops = 2.0 * batch * steps * (features + units) * gates * units
        given = (x,) if x.requires_grad else ()
        forward, both = work(flops, [x], ours, batch * steps * units, x.requires_grad)
        yield Case(
            "recurrence",
            f"{kind}: {steps} steps of {features}, {units} units",
            Way(run, (*given, *ours)),
            Way(torchs, (*given, *theirs)),
            forward,
            both,
        )


def losses() -> Iterator[Case]:
    """Softmax and the cross-entropy of class numbers, mean over the batch."""
    for rows, classes in ((128, 10), (50176, 10), (256, 1000)):
        x, labels = torch.randn(rows, classes).requires_grad_(), torch.randint(0, classes, (rows,))
        # A maximum, a difference, an exponential, a sum and a quotient for each number.
        forward, both = work(5.0 * x.numel(), [x], [], rows, True)
        yield Case(
            "loss",
            f"{rows} x {classes}",
            Way(lambda x=x, y=labels: our_loss(x, y), (x,)),
            Way(lambda x=x, y=labels: F.cross_entropy(x, y), (x,)),
            forward,
            both,
        )


def our_loss(x: Tensor, labels: Tensor) -> Tensor:
    """A model's last activation, then its loss."""
    return lamina.losses.sparse_categorical_crossentropy(labels, lamina.activations.softmax(x)).mean()


def optimizers() -> Iterator[Case]:
    """A step of Adam over all weights of a network."""
    for name, shapes in (
        ("mlp", [(784, 512), (512,), (512, 216), (216,), (216, 128), (128,), (128, 10), (10,)]),
        ("60 of 3x3x64x64", [(64, 64, 3, 3), (64,)] * 30),
    ):
        sides = []
        for _ in range(2):
            weights = [weight(*shape) for shape in shapes]
            for each in weights:
                each.grad = torch.randn_like(each)
            sides.append(weights)
        ours, theirs = lamina.optimizers.Adam(), torch.optim.Adam(sides[1], fused=True)
        ours.build(sides[0])
        count = sum(each.numel() for each in sides[0])
        # Reads the weight, its gradient and two averages; writes all but the gradient.
        yield Case("optimizer", f"Adam, {name}", Way(ours.step), Way(theirs.step), Work(12.0 * count, 28.0 * count))


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "linear": linears,
    "convolution": convolutions,
    "normalization": normalizations,
    "pooling": poolings,
    "recurrence": recurrences,
    "loss": losses,
    "optimizer": optimizers,
}
