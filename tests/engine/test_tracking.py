"""Layers in lists, tuples and dicts belong to the layer that holds them, and the containers stay what they were."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, defaultdict, namedtuple

import pytest
import torch

from lamina.engine.layer import Layer
from lamina.engine.tracking import TrackedDict, TrackedList, may_register, registers
from lamina.layers import Dense

Pair = namedtuple("Pair", "left right")


class Holder(Layer):
    """Has whatever a test assigns to it."""

    def call(self, x):
        return x


def paths(layer):
    return [path for path, _ in layer.named_parameters()]


def dense():
    layer = Dense(1, use_bias=False)
    layer.build((None, 1))
    return layer


def test_a_list_of_layers_is_a_list_and_a_module():
    holder = Holder()
    first, second = dense(), dense()
    holder.blocks = [first, second]
    assert isinstance(holder.blocks, list) and isinstance(holder.blocks, torch.nn.Module)
    assert list(holder.blocks) == [first, second] and len(holder.blocks) == 2
    assert holder.blocks[0] is first and holder.blocks[-1] is second and holder.blocks[:1] == [first]
    assert [*reversed(holder.blocks)] == [second, first] and holder.blocks.index(second) == 1
    assert paths(holder) == ["blocks.0.kernel", "blocks.1.kernel"]
    assert holder.get_submodule("blocks.1") is second


CHANGES = {
    "append": (lambda b: b.append(dense()), 4),
    "extend": (lambda b: b.extend([dense(), dense()]), 5),
    "insert": (lambda b: b.insert(0, dense()), 4),
    "pop": (lambda b: b.pop(), 2),
    "pop first": (lambda b: b.pop(0), 2),
    "remove": (lambda b: b.remove(b[1]), 2),
    "clear": (lambda b: b.clear(), 0),
    "reverse": (lambda b: b.reverse(), 3),
    "set": (lambda b: b.__setitem__(0, dense()), 3),
    "set slice": (lambda b: b.__setitem__(slice(0, 2), [dense()]), 2),
    "delete": (lambda b: b.__delitem__(0), 2),
    "plus": (lambda b: b.__iadd__([dense()]), 4),
    "times": (lambda b: b.__imul__(2), 3),
    "append a number": (lambda b: b.append(3), 3),
    "sort": (lambda b: b.sort(key=id), 3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_list_that_changes_registers_what_it_holds_then(name):
    holder = Holder()
    holder.blocks = [dense(), dense(), dense()]
    change, count = CHANGES[name]
    change(holder.blocks)
    layers = {id(member) for member in holder.blocks if isinstance(member, Layer)}
    assert {id(module) for module in holder.modules() if isinstance(module, Dense)} == layers
    assert len(list(holder.parameters())) == len(layers) == count
    for place, member in enumerate(holder.blocks):
        if isinstance(member, Layer):
            assert holder.get_submodule(f"blocks.{place}") is member


DICT_CHANGES = {
    "set": (lambda d: d.__setitem__("c", dense()), 3),
    "replace": (lambda d: d.__setitem__("a", dense()), 2),
    "replace by none": (lambda d: d.__setitem__("a", None), 1),
    "delete": (lambda d: d.__delitem__("a"), 1),
    "pop": (lambda d: d.pop("a"), 1),
    "popitem": (lambda d: d.popitem(), 1),
    "clear": (lambda d: d.clear(), 0),
    "update": (lambda d: d.update(c=dense(), d=dense()), 4),
    "setdefault": (lambda d: d.setdefault("c", dense()), 3),
    "or": (lambda d: d.__ior__({"c": dense()}), 3),
}


@pytest.mark.parametrize("name", DICT_CHANGES)
def test_a_dict_that_changes_registers_what_it_holds_then(name):
    holder = Holder()
    holder.table = {"a": dense(), "b": dense()}
    assert isinstance(holder.table, dict) and isinstance(holder.table, torch.nn.Module)
    change, count = DICT_CHANGES[name]
    change(holder.table)
    layers = {key: member for key, member in holder.table.items() if member is not None}
    assert paths(holder) == [f"table.{key}.kernel" for key in layers]
    assert len(layers) == count
    assert set(holder.table.keys()) == set(holder.table) and len(holder.table.values()) == len(holder.table)
    assert holder.table.get("nothing", 5) == 5 and ("b" in holder.table) == ("b" in layers)


def test_an_empty_list_or_dict_may_grow_later_also_inside_another():
    holder = Holder()
    holder.blocks, holder.table = [], {}
    holder.blocks.append(dense())
    holder.table["x"] = []
    holder.table["x"].append(dense())
    holder.stages = [[dense()], []]
    holder.stages[1].append(dense())
    holder.stages.append([])
    holder.stages[2].extend([dense()])
    assert paths(holder) == [
        "blocks.0.kernel", "table.x.0.kernel", "stages.0.0.kernel", "stages.1.0.kernel", "stages.2.0.kernel"
    ]  # fmt: skip


def test_lists_without_layers_stay_plain():
    holder = Holder()
    holder.sizes, holder.names, holder.options = [1, 2], ("a", "b"), {"x": 1}
    assert type(holder.sizes) is list and type(holder.names) is tuple and type(holder.options) is dict
    assert list(holder.children()) == []


def test_other_kinds_of_containers_keep_their_type_and_their_layers_are_registered():
    holder = Holder()
    holder.both = (dense(), dense())
    holder.pair = Pair(dense(), [dense()])
    holder.ordered = OrderedDict(a=dense())
    holder.groups = defaultdict(list)
    assert type(holder.both) is tuple and type(holder.pair) is Pair and type(holder.ordered) is OrderedDict
    assert holder.pair.left is holder.pair[0] and holder.groups["new"] == []
    assert len(list(holder.parameters())) == 5
    assert paths(holder)[0] == "both_.0.kernel"


def test_keys_that_torch_could_not_find_get_another_name():
    holder = Holder()
    holder.table = {"train": dense(), "items": dense(), "a.b": dense(), 3: dense(), "": dense()}
    assert paths(holder) == [f"table.{key}.kernel" for key in ("train_", "items_", "a_b", "3", "_")]
    for path, parameter in holder.named_parameters():
        module, _, name = path.rpartition(".")
        assert getattr(holder.get_submodule(module), name) is parameter
    assert holder.table["train"] is holder.get_submodule("table.train_")


def test_a_list_may_give_way_to_something_else():
    holder = Holder()
    holder.blocks = [dense()]
    holder.blocks = dense()
    assert paths(holder) == ["blocks.kernel"]
    holder.blocks = [dense(), dense()]
    assert len(paths(holder)) == 2
    holder.blocks = None
    assert holder.blocks is None and paths(holder) == []
    holder.blocks = [dense()]
    del holder.blocks
    assert not hasattr(holder, "blocks") and paths(holder) == []


def test_torch_modules_in_lists_take_the_mode_of_their_owner_and_follow_it():
    holder = Holder()
    holder.drops = [torch.nn.Dropout(0.5)]
    holder.drops.append(torch.nn.Dropout(0.5))
    assert [drop.training for drop in holder.drops] == [False, False]
    holder.train()
    assert [drop.training for drop in holder.drops] == [True, True]
    holder.drops[0].eval()
    holder.drops.insert(1, torch.nn.Dropout(0.1).eval())
    assert [drop.training for drop in holder.drops] == [False, True, True]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "pickle"]
)
def test_copies_have_layers_of_their_own_and_go_on_tracking(copied):
    holder = Holder()
    holder.blocks, holder.table, holder.stages = [dense()], {"a": dense(), "n": 1}, [[dense()], []]
    other = copied(holder)
    assert paths(other) == paths(holder)
    assert not {id(p) for p in other.parameters()} & {id(p) for p in holder.parameters()}
    other.blocks.append(dense())
    other.stages[1].append(dense())
    assert len(paths(other)) == len(paths(holder)) + 2
    assert isinstance(other.blocks, TrackedList) and isinstance(other.table, TrackedDict) and other.table["n"] == 1
    assert [member for member in other.modules() if member is other.blocks[0]]


def test_a_plain_copy_of_a_list_is_plain():
    holder = Holder()
    holder.blocks, holder.table = [dense()], {"a": dense()}
    for copied in (copy.copy(holder.blocks), holder.blocks.copy(), holder.blocks + [], holder.blocks[:]):
        assert type(copied) is list and copied[0] is holder.blocks[0]
    for copied in (copy.copy(holder.table), holder.table.copy(), {**holder.table}, dict(holder.table)):
        assert type(copied) is dict and copied["a"] is holder.table["a"]


def test_a_list_shared_by_two_layers_is_one_list():
    first, second = Holder(), Holder()
    first.blocks = [dense()]
    second.blocks = first.blocks
    second.blocks.append(dense())
    assert len(paths(first)) == len(paths(second)) == 2


def test_what_registers():
    layer = dense()
    assert registers(layer) and registers([1, {"a": (layer,)}]) and registers(torch.nn.Parameter(torch.ones(1)))
    assert not registers([1, "a", torch.ones(1)]) and not registers(None)
    assert may_register([]) and may_register({}) and may_register((layer,))
    assert not may_register(()) and not may_register("") and not may_register([0]) and not may_register(layer)


class Net(Layer):
    def __init__(self):
        super().__init__()
        self.blocks = [Dense(4) for _ in range(2)]
        self.table = {"train": Dense(4), "other": Dense(4)}
        self.both = (Dense(4), Dense(4))
        self.scales = [self.add_weight((4,), "ones")]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        for key, block in self.table.items():
            x = block(x) if key in self.table else x
        for block in self.both:
            x = block(x)
        return x * self.scales[0] + self.blocks[0](x) * len(self.blocks)


@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")
def test_torchs_tools_see_through_the_containers():
    net, x = Net(), torch.randn(2, 4)
    wanted = net(x)
    torch.testing.assert_close(torch.compile(net, fullgraph=True, backend="eager")(x), wanted)
    for strict in (False, True):
        torch.testing.assert_close(torch.export.export(net, (x,), strict=strict).module()(x), wanted)
    zeros = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    assert torch.func.functional_call(net, zeros, (x,)).abs().max() == 0
