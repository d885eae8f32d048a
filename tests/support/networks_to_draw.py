"""Networks whose graphs are hard to draw, each in its own way."""

from __future__ import annotations

import random

from lamina.inspection.drawing.boxes import Box, heading
from lamina.inspection.drawing.diagram import Diagram, Node
from lamina.inspection.folding import Group
from lamina.layers import Concatenate, Conv2D, Dense, Input, Lambda, add, concatenate
from lamina.models import Model, Sequential


def one_box():
    return Sequential([Input((4,)), Dense(2, name="only")], name="one_box")


def chain(length=12):
    return Sequential([Input((4,)), *(Dense(4, name=f"d{i}") for i in range(length))], name="chain")


def fan():
    x = Input((4,), name="x")
    return Model(x, concatenate([Dense(2, name=f"d{i}")(x) for i in range(5)], name="join"), name="fan")


def residual():
    x = h = Input((4,), name="x")
    for i in range(3):
        h = add([Dense(4, name=f"b{i}")(Dense(40_000, name=f"a_wider_{i}")(h)), h], name=f"sum{i}")
    return Model(x, h, name="residual")


def uneven():
    """Branches of different lengths, as in Inception."""
    x = Input((4,), name="x")
    branches = []
    for i in range(4):
        h = x
        for j in range(i + 1):
            h = Dense(4, name=f"d{i}{j}")(h)
        branches.append(h)
    return Model(x, concatenate(branches, name="join"), name="uneven")


def resnext(blocks=2, branches=32):
    x = h = Input((6, 6, branches), name="x")
    for i in range(blocks):
        parts = []
        for j in range(branches):
            part = Lambda(lambda t, j=j: t[..., j : j + 1], name=f"b{i}_slice{j}")(h)
            parts.append(Conv2D(1, 3, padding="same", name=f"b{i}_conv{j}")(part))
        h = add([concatenate(parts, name=f"b{i}_cat"), h], name=f"b{i}_sum")
    return Model(x, h, name="resnext")


def dense_net(length=7):
    """Each layer reads all before it."""
    x = Input((4,), name="x")
    made = [x]
    for i in range(length):
        made.append(Dense(4, name=f"d{i}")(Concatenate(name=f"c{i}")(made) if i else x))
    return Model(x, made[-1], name="dense_net")


def circle():
    """A layer applied to its own output, and two that take each other's."""
    x = Input((4,), name="x")
    a, b = Dense(4, name="a"), Dense(4, name="b")
    return Model(x, Dense(2, name="out")(a(a(b(a(x))))), name="circle")


def several():
    one, other = Input((4,), name="one"), Input((3,), name="other")
    h = concatenate([Dense(4, name="d")(one), other], name="join")
    return Model([one, other], [Dense(2, name="first")(h), Dense(3, name="second")(h), h], name="several")


def apart():
    """Two graphs in one model."""
    one, other = Input((4,), name="one"), Input((3,), name="other")
    return Model([one, other], [Dense(2, name="a")(one), Dense(2, name="b")(Dense(9, name="c")(other))], name="apart")


def nested():
    """Models in models, one of them with two results, one called twice, one a chain without an input."""
    i = Input((4,), name="in")
    inner = Model(i, [Dense(4, name="d2")(Dense(4, name="d")(i)), Dense(3, name="d3")(i)], name="inner")
    j = Input((4,), name="in2")
    first, second = inner(j)
    deep = Model(j, add([first, Dense(4, name="up")(second), j], name="plus"), name="deep")
    tail = Sequential([Input((4,)), Dense(4, name="t1"), Dense(2, name="t2")], name="tail")
    x = Input((4,), name="x")
    h = deep(x)
    side = Dense(4, name="side")(x)
    return Model(x, [tail(add([deep(h), side], name="sum")), Dense(3, name="aux")(h)], name="nested")


class Subclass(Model):
    """Rows without links."""

    def __init__(self):
        super().__init__(name="subclass")
        self.parts = [Dense(4, name=f"part{i}") for i in range(7)]
        self.inside = Sequential([Dense(3, name="x"), Dense(2, name="y")], name="inside")
        self.unused = Dense(2, name="unused")
        self.scale = self.add_weight((2,), name="scale")

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return self.inside(x) * self.scale


def subclass():
    model = Subclass()
    model.build((None, 4))
    return model


NETWORKS = {
    make.__name__: make
    for make in (
        *(one_box, chain, fan, residual, uneven, resnext, dense_net),
        *(circle, several, apart, nested, subclass),
    )
}


def fold_branches(rows):
    """Groups of the branches of `resnext`, in the form that `lamina.inspection.folding.fold` has."""
    places = {row.name: place for place, row in enumerate(rows)}
    items = []
    for place, row in enumerate(rows):
        block, _, part = row.name.partition("_")
        if part == "slice0":
            count = sum(name.startswith(f"{block}_slice") for name in places)
            copies = [[places[f"{block}_slice{j}"], places[f"{block}_conv{j}"]] for j in range(count)]
            items.append(Group("parallel", count, copies, f"{count} × (Lambda → Conv2D)"))
        elif not part.startswith(("slice", "conv")):
            items.append(place)
    return items


def random_diagram(seed):
    """Boxes of all sizes, in frames or not, with links of all kinds, circles among them.

    Args:
        seed: which one.
    """
    rng = random.Random(seed)
    nodes: list[Node] = []
    nests, circles = rng.random() < 0.6, rng.random() < 0.4
    for index in range(rng.randint(1, rng.choice([4, 10, 25, 50]))):
        frames = [node for node in nodes if node.title is not None]
        holder = rng.choice([None, *frames]) if frames and rng.random() < 0.8 else None
        box = Box("dense", rng.uniform(60, 300), rng.uniform(30, 120), tooltip=f"box {index}")
        node = Node(index, None if holder is None else holder.index, index, box)
        if nests and rng.random() < 0.25:
            node.title = heading(f"frame {index} " * rng.randint(1, 4))
        if holder is not None:
            holder.members.append(index)
        nodes.append(node)
    leaves = [node.index for node in nodes if not node.members]
    links: dict[tuple[int, int], None] = {}
    for _ in range(int(rng.choice([0.5, 1, 1.2, 2, 4]) * len(leaves))):
        ends = [rng.choice(leaves), rng.choice(leaves)]
        source, target = ends if circles else sorted(ends)
        if source != target or rng.random() < 0.3:
            links[source, target] = None
    return Diagram(nodes, list(links))
