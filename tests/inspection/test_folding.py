"""What repeats in the rows of a report is found by its wiring, and nothing else is."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from graph_rows import Net, check, named, residual, row

from lamina import layers
from lamina.inspection import Link, Row, measure
from lamina.inspection.folding import Group, fold, members
from lamina.models import Model, Sequential

# --------------------------------------------------------------------------------------------------------- branches


def test_equal_branches_and_their_join_are_one_item():
    net = Net()
    fork = net("Conv", 0)
    branches = [net("Conv", net("Lambda", fork, function=f"f{i}"), size=2) for i in range(32)]
    net("ReLU", net("Concatenate", *branches))
    assert net.titles() == ["InputLayer", "Conv", "32 x (Lambda -> Conv) -> Concatenate", "ReLU"]
    block = net.fold()[2]
    (parallel, join), = block.copies  # fmt: skip
    assert (block.kind, block.count) == ("block", 1) and net.rows[join].class_name == "Concatenate"
    assert (parallel.kind, parallel.count, parallel.title) == ("parallel", 32, "32 x (Lambda -> Conv)")
    assert parallel.copies[:2] == [[2, 3], [4, 5]] and members(block) == list(range(2, 67))


def test_a_join_that_takes_something_else_stays_outside():
    net = Net()
    branches = [net("ReLU", net("Conv", 0)) for _ in range(3)]
    net("Add", *branches, 0)
    assert net.titles() == ["InputLayer", "3 x (Conv -> ReLU)", "Add"]


def test_branches_in_any_order_of_rows_are_found():
    net = Net()
    firsts = [net("Conv", 0) for _ in range(4)]
    seconds = [net("ReLU", first) for first in reversed(firsts)]
    net("Add", *seconds)
    assert net.titles() == ["InputLayer", "4 x (Conv -> ReLU) -> Add"]


@pytest.mark.parametrize(
    "count, found", [(2, ["InputLayer", *["Conv"] * 2, "Add"]), (3, ["InputLayer", "3 x Conv -> Add"])]
)
def test_two_branches_are_left_side_by_side(count, found):
    net = Net()
    net("Add", *[net("Conv", 0) for _ in range(count)])
    assert net.titles() == found


def test_towers_on_different_inputs_are_not_parallel():
    net = Net()
    net.rows += [row("InputLayer", params=0) for _ in range(3)]
    net("Add", *[net("ReLU", net("Conv", place)) for place in range(4)])
    assert not any(isinstance(item, Group) for item in net.fold())
    inputs = [layers.Input((4,)) for _ in range(4)]
    rows = measure(Model(inputs, layers.add([layers.Dense(2)(layers.Dense(3)(x)) for x in inputs]))).rows
    assert fold(rows) == list(range(len(rows)))


@pytest.mark.parametrize("odd", [{"size": 5}, {"activation": "tanh"}, {"params": 9}])
def test_a_branch_that_differs_is_left_out(odd):
    net = Net()
    branches = [
        net("ReLU", net("Conv", 0, **({"activation": "relu"} if i else {"activation": "relu", **odd})))
        for i in range(4)
    ]
    net("Add", *branches)
    assert net.titles() == ["InputLayer", "Conv", "ReLU", "3 x (Conv -> ReLU)", "Add"]


def test_a_branch_that_something_else_reads_is_left_out():
    net = Net()
    inner = [net("Conv", 0) for _ in range(4)]
    net("Add", *[net("ReLU", place) for place in inner])
    net("Dense", inner[1])
    assert net.titles() == ["InputLayer", "3 x (Conv -> ReLU)", "Conv", "ReLU", "Add", "Dense"]


def test_a_branch_that_takes_another_result_is_left_out():
    net = Net()
    heads = [net("Split", 0) for _ in range(4)]
    net("Add", *[net("ReLU", Link("", head, 0, 1 if head == 1 else 0)) for head in heads])
    assert net.titles() == ["InputLayer", "Split", "3 x (Split -> ReLU)", "ReLU", "Add"]


def test_branches_on_a_circle_are_left_alone():
    net = Net()
    net("Add", *[net("Dense", 5) for _ in range(3)])
    net("Dense", 4, 0)
    assert net.fold() == [0, 1, 2, 3, 4, 5]


def test_branches_hold_what_is_folded_inside_them():
    net = Net()
    ends = []
    for _ in range(3):
        x = 0
        for _ in range(4):
            x = residual(net, x, ("Dense", "ReLU"))
        ends.append(x)
    net("Concatenate", *ends)
    assert net.titles() == ["InputLayer", "3 x ((Dense -> ReLU -> Add) x 4) -> Concatenate"]
    inner = net.fold()[1].copies[0][0].copies[2][0]
    assert (inner.kind, inner.count, len(members(inner))) == ("run", 4, 12)


# ------------------------------------------------------------------------------------------------------------- runs


def test_a_chain_of_equal_rows_is_a_run_from_three_on():
    for count, found in ((2, ["InputLayer", "Dense", "Dense"]), (3, ["InputLayer", "Dense x 3"])):
        net = Net()
        x = 0
        for _ in range(count):
            x = net("Dense", x)
        assert net.titles() == found


def test_residual_blocks_are_a_run_and_begin_at_the_fork():
    net = Net()
    x = net("ReLU", net("Conv", 0))
    for _ in range(5):
        x = net("ReLU", residual(net, x))
    net("Dense", x)
    assert net.titles() == ["InputLayer", "Conv", "ReLU", "(Conv -> Norm -> ReLU -> ... -> Add -> ReLU) x 5", "Dense"]
    run = net.fold()[3]
    assert run.copies[0] == list(range(3, 9)) and (run.kind, run.count) == ("run", 5)


def test_a_block_of_another_size_or_setting_is_not_in_the_run():
    for odd in ({"size": 8}, {"params": 9}, {"activation": "tanh"}, {"kernel_size": [3, 3]}):
        net = Net()
        x = 0
        for i in range(5):
            x = residual(net, x, **(odd if i == 2 else {}))
        counts = [item.count for item in net.fold() if isinstance(item, Group)]
        assert counts == [2, 2], odd


def test_a_block_that_is_wired_otherwise_is_not_in_the_run():
    net = Net()
    x = 0
    for i in range(5):
        a = net("Dense", x)
        b = net("Dense", x if i == 2 else a)
        x = net("Add", b, a)
    assert [item.count for item in net.fold() if isinstance(item, Group)] == [2, 2]


def test_a_row_that_is_read_elsewhere_ends_the_run():
    net = Net()
    x = 0
    for _ in range(9):
        x = net("Dense", x)
    net("Add", x, 4)
    assert net.titles() == ["InputLayer", "Dense x 4", "Dense x 5", "Add"]


def test_blocks_that_all_take_one_tensor_from_outside_are_a_run():
    net = Net()
    memory = net("Dense", 0, size=8)
    x = net("Embedding", 0)
    for _ in range(6):
        x = net("Add", net("Attention", x, memory), x)
    assert net.titles() == ["InputLayer", "Dense", "Embedding", "(Attention -> Add) x 6"]


def test_equal_rows_that_take_one_tensor_are_no_run():
    net = Net()
    query, key, value = (net("Dense", 0) for _ in range(3))
    net("MatMul", net("Softmax", net("MatMul", query, key)), value)
    assert net.titles() == ["InputLayer", *["Dense"] * 3, "MatMul", "Softmax", "MatMul"]


def test_the_first_block_has_its_own_shortcut_and_no_part_in_the_run():
    net = Net()
    x = 0
    for stage in (8, 16):
        shortcut = net("Conv", x, size=stage, params=3)
        h = net("ReLU", net("Conv", x, size=stage, params=5), size=stage)
        x = net("ReLU", net("Add", net("Conv", h, size=stage), shortcut, size=stage), size=stage)
        for _ in range(3):
            h = net("ReLU", net("Conv", x, size=stage), size=stage)
            x = net("ReLU", net("Add", net("Conv", h, size=stage), x, size=stage), size=stage)
    items = net.fold()
    runs = [item for item in items if isinstance(item, Group)]
    assert [(run.count, len(run.copies[0])) for run in runs] == [(3, 5), (3, 5)] and len(items) == 15
    assert net.titles(10) == ["InputLayer", *["(Conv -> Conv -> ReLU -> ... -> Add -> ReLU)",
                              "(Conv -> ReLU -> Conv -> Add -> ReLU) x 3"] * 2]  # fmt: skip


def test_blocks_that_take_different_tensors_from_outside_are_no_run():
    net = Net()
    one, other = net("Conv", 0), net("Norm", 0)
    x = net("Embedding", 0)
    for memory in (one, other):
        x = net("Add", net("Attention", x, memory), x)
    assert not any(isinstance(item, Group) for item in net.fold())


def test_two_chains_that_only_end_together_are_no_block():
    net = Net()
    x, y = net("Conv", 0), net("Dense", 0)
    for i in range(4):
        x, y = net("Conv", x, size=5 + i), net("Dense", y, size=5 + i)
    net("Add", x, y)
    assert net.titles(0) == ["InputLayer", "Conv x 5, sizes differ", "Dense x 5, sizes differ", "Add"]


def test_a_block_is_in_one_piece():
    net = Net()
    ends = []
    for _ in range(5):
        a = net("Conv", 0)
        net("Dense", 0)
        ends += [net("ReLU", a), net("Norm", a)]
    net("Add", *ends)
    assert not any(isinstance(item, Group) for item in net.fold(0))


def test_the_first_block_is_left_out_if_it_takes_one_tensor_for_two():
    net = Net()
    x = 0
    for _ in range(5):
        x = net("Cell", x, 0)
    assert net.titles() == ["InputLayer", "Cell", "Cell x 4"]


def test_a_block_in_a_chain_begins_as_the_chain_of_such_classes_does():
    net = Net()
    x = net("Pool", 0)
    for i in range(3):
        x = net("Conv", net("ReLU", net("Norm", x, params=8 if i else 4)), params=99)
    assert net.titles() == ["InputLayer", "Pool", "Norm", "ReLU", "Conv", "(Norm -> ReLU -> Conv) x 2"]


def test_a_block_in_a_chain_begins_with_most_weights_if_the_chain_cannot_tell():
    net = Net()
    x = 0
    for i, size in enumerate((16, 8, 4, 4, 4)):
        if i:
            x = net("ReLU", net("Norm", net("Thin", x, params=9), params=8), params=0)
        x = net("ReLU", net("Norm", net("Wide", x, params=99, units=size), params=8), params=0)
    found = net.titles()
    assert found[-1] == "(Thin -> Norm -> ReLU -> ... -> ReLU) x 3" and len(found) == 11


def test_two_chains_side_by_side_are_a_run_each():
    net = Net()
    x, y = net("Conv", 0), net("Dense", 0)
    for _ in range(4):
        x, y = net("Conv", x), net("Dense", y)
    net("Add", x, y)
    assert net.titles() == ["InputLayer", "Conv x 5", "Dense x 5", "Add"]


def test_runs_inside_runs_are_folded():
    net = Net()
    x = 0
    for _ in range(4):
        x = net("Conv", x)
        for _ in range(3):
            x = residual(net, x, ("Dense", "ReLU"))
    assert net.titles() == ["InputLayer", "(Conv -> (Dense -> ReLU -> Add) x 3) x 4"]
    outer = net.fold()[1]
    assert [one[1].title for one in outer.copies] == ["(Dense -> ReLU -> Add) x 3"] * 4


def test_many_blocks_are_preferred_to_two_halves():
    net = Net()
    x = 0
    for count in (4, 6, 4):
        for _ in range(count):
            x = net("ReLU", net("Conv", x))
        x = net("Pool", x)
    assert net.titles() == ["InputLayer", *[t for n in (4, 6, 4) for t in (f"(Conv -> ReLU) x {n}", "Pool")]]


# ------------------------------------------------------------------------------------------- regions, and the limit


def dense_net(blocks: int) -> Net:
    net = Net()
    x = 0
    for i in range(blocks):
        h = net("Conv", net("ReLU", net("Norm", x, size=4 + i), size=4 + i))
        x = net("Concatenate", x, h, size=5 + i)
    return net


def test_blocks_that_grow_are_one_item_only_above_the_limit():
    net = dense_net(12)
    assert net.fold(49) == list(range(49))
    (first, block) = net.fold(48)
    assert (first, block.kind, block.count) == (0, "block", 12)
    assert block.title == "(Norm -> ReLU -> Conv -> Concatenate) x 12, sizes differ"


def test_regions_recur_only_above_the_limit_and_not_around_runs():
    net = Net()
    x = 0
    for size in (4, 8, 16):
        x = net("Conv", net("Pool", residual(net, x, size=size), size=size), size=size)
        for _ in range(3):
            x = net("Dense", x, size=99)
    assert len(net.fold(25)) == 1 + 3 * 8
    titles = net.titles(24)
    assert titles == ["InputLayer", *["(Conv -> Norm -> ReLU -> ... -> Add -> ... -> Conv)", "Dense x 3"] * 3]
    assert [item.kind for item in net.fold(24)[1:]] == ["block", "run"] * 3


def test_what_does_not_repeat_stays_as_it_is():
    net = Net()
    x = 0
    for i in range(100):
        x = net(f"Layer{i}", x)
    assert net.fold(10) == list(range(101))


# ----------------------------------------------------------------------------- rows inside rows, shared and uncalled


def nested_model() -> Model:
    def block() -> Model:
        x = layers.Input((8,))
        h = x
        for _ in range(3):
            h = layers.Dense(8)(h)
        return Model(x, layers.add([x, layers.Dense(8, activation="relu")(h)]))

    x = inputs = layers.Input((8,))
    for _ in range(5):
        x = block()(x)
    return Model(inputs, layers.Dense(2)(x))


def test_nested_models_stay_with_their_layers_and_are_compared_as_a_whole():
    rows = measure(nested_model(), expand_nested=True).rows
    first, run, last = fold(rows)
    assert (first, run.title, run.count, last) == (0, "Functional x 5", 5, len(rows) - 1)
    place, inner_input, inner_run, *_ = run.copies[1]
    assert rows[place].class_name == "Functional" and rows[inner_input].parent == place
    assert inner_run.title == "Dense x 3" and {rows[i].parent for i in members(inner_run)} == {place}
    assert fold(measure(nested_model()).rows)[1].title == "Functional x 5"


@pytest.mark.parametrize("result, found", [(1, ["Dense x 4"]), (2, ["(Dense x 3) x 2"])])
def test_a_result_of_a_nested_model_ends_a_run_inside_it(result, found):
    x = h = layers.Input((8,))
    ends = []
    for _ in range(6):
        h = layers.Dense(8)(h)
        ends.append(h)
    inner = Model(x, [ends[result], h])
    inputs = layers.Input((8,))
    rows = measure(Model(inputs, layers.add(inner(inputs))), expand_nested=True).rows
    assert [item.title for item in fold(rows) if isinstance(item, Group)] == found


def test_models_in_a_sequential_fold_from_the_first_one_on():
    inner = [Sequential([layers.Dense(8), layers.ReLU()]) for _ in range(4)]
    rows = measure(Sequential([layers.Input((8,)), *inner]), expand_nested=True).rows
    (run,) = fold(rows)
    assert (run.title, len(members(run))) == ("Sequential x 4", 12)


def test_the_rows_of_a_torch_module_stay_with_the_one_around_them():
    rows = [row("Linear")]
    for _ in range(4):
        start = len(rows) - 1
        rows += [row("Linear", start), row("ReLU", len(rows)), row("Block", start)]
        rows[-3].depth = rows[-2].depth = 1
    rows.append(row("Linear", len(rows) - 1, size=2))
    first, run, last = fold(named(rows))
    assert (first, run.title, run.copies[0], last) == (0, "Block x 4", [1, 2, 3], 13)


def test_a_layer_that_is_called_twice_is_not_mixed_up():
    x = layers.Input((4,))
    shared = layers.Dense(4)
    rows = measure(Model(x, layers.Dense(4)(layers.Dense(4)(shared(shared(x)))))).rows
    assert fold(rows) == [0, 1, 2, 3]
    net = Net()
    net("Dense", 0, Link("row_3", 3))  # it is called on what comes out of it two rows on
    net("Dense", 1)
    net("Dense", 2)
    net("Dense", Link("row_1", 1, 1))
    assert net.titles() == ["InputLayer", *["Dense"] * 4]


def test_two_inputs_through_the_same_layers_are_a_run():
    a, b = p, q = layers.Input((8,)), layers.Input((8,))
    for layer in [layers.Dense(8) for _ in range(4)]:
        p, q = layer(p), layer(q)
    rows = measure(Model([a, b], layers.add([p, q]))).rows
    assert [item.title for item in fold(rows) if isinstance(item, Group)] == ["Dense x 4"]


def test_rows_that_were_not_called_are_left_alone():
    rows = named([Row("", "Dense", num_params=3, config={"units": 3}) for _ in range(100)])
    assert fold(rows) == list(range(100))
    assert fold([]) == []


# ------------------------------------------------------------------------------------------------------ whole models


def test_equal_dense_layers_in_a_sequential():
    rows = measure(Sequential([layers.Input((8,)), *(layers.Dense(8) for _ in range(6)), layers.Dense(1)])).rows
    run, last = fold(rows)
    assert (run.kind, run.count, run.title, last) == ("run", 6, "Dense x 6", 6)


def test_lambdas_are_alike_when_their_shapes_are():
    net = Net()
    net("Add", *[net("Lambda", 0, arguments={"i": i}, params=i) for i in range(3)])
    net("Add", *[net("Lambda", 0, size=4 + i) for i in range(3)])
    assert net.titles() == ["InputLayer", "3 x Lambda -> Add", *["Lambda"] * 3, "Add"]


def test_seeds_and_functions_do_not_tell_layers_apart_but_activations_do():
    x = inputs = layers.Input((8,))
    for i in range(3):
        x = layers.Dropout(0.1, seed=i)(layers.Lambda(lambda x, i=i: x * i)(x))
    rows = measure(Model(inputs, x)).rows
    assert [item.title for item in fold(rows)[1:]] == ["(Lambda -> Dropout) x 3"]
    x = inputs
    for activation in ("relu", "relu", "relu", "tanh", "tanh", "tanh"):
        x = layers.Dense(8, activation=activation)(x)
    assert [item.title for item in fold(measure(Model(inputs, x)).rows)[1:]] == ["Dense x 3"] * 2


def resnext(groups: int = 32) -> Model:
    """The network of the first users' document that has a convolution for each group."""

    def normalized(x: Any) -> Any:
        return layers.BatchNormalization(epsilon=1.001e-5)(x)

    def block(x: Any, filters: int, strides: int, projected: bool) -> Any:
        size = filters // groups
        shortcut = x
        if projected:
            shortcut = normalized(layers.Conv2D(filters * 2, 1, strides=strides, padding="same", use_bias=False)(x))
        x = layers.ReLU()(normalized(layers.Conv2D(filters, 1, padding="same", use_bias=False)(x)))
        parts = [layers.Lambda(lambda x, c=c: x[:, :, :, c * size : (c + 1) * size])(x) for c in range(groups)]
        parts = [layers.Conv2D(size, 3, strides=strides, padding="same", use_bias=False)(part) for part in parts]
        x = layers.ReLU()(normalized(layers.concatenate(parts, axis=3)))
        x = normalized(layers.Conv2D(filters * 2, 1, padding="same", use_bias=False)(x))
        return layers.ReLU()(layers.Add()([x, shortcut]))

    inputs = layers.Input((224, 224, 3))
    x = layers.Conv2D(64, 7, strides=2)(layers.ZeroPadding2D(3)(inputs))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(layers.ReLU()(normalized(x))))
    for filters, blocks, strides in ((128, 2, 1), (256, 3, 2), (512, 5, 2), (1024, 2, 2)):
        x = block(x, filters, strides, projected=True)
        for _ in range(blocks):
            x = block(x, filters, 1, projected=False)
    return Model(inputs, layers.Dense(1000, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def test_resnext_with_a_convolution_for_each_group_is_a_page():
    rows = measure(resnext()).rows
    items = fold(rows)
    check(rows, items)
    assert len(rows) == 1201 and len(items) == 17
    assert [rows[item].class_name for item in items[:7]] == [
        "InputLayer", "ZeroPadding2D", "Conv2D", "BatchNormalization", "ReLU", "ZeroPadding2D", "MaxPooling2D"
    ]  # fmt: skip
    stages = items[7:15]
    block = "(Conv2D -> ... -> 32 x (Lambda -> Conv2D) -> Concatenate -> ... -> Add -> ReLU)"
    assert [(item.kind, item.count) for item in stages] == [
        (kind, count) for blocks in (2, 3, 5, 2) for kind, count in (("block", 1), ("run", blocks))
    ]
    assert [item.title for item in stages[1::2]] == [f"{block} x {blocks}" for blocks in (2, 3, 5, 2)]
    assert sum(item.count for item in stages) == 16 and [rows[item].class_name for item in items[15:]] == [
        "GlobalAveragePooling2D", "Dense"
    ]  # fmt: skip
    found = sum(rows[place].num_params for item in items for place in members(item))
    assert found == sum(one.num_params for one in rows) == 25_097_192
    branches = next(item for item in stages[1].copies[0] if isinstance(item, Group)).copies[0][0]
    assert (branches.kind, branches.count, branches.title) == ("parallel", 32, "32 x (Lambda -> Conv2D)")


def test_names_do_not_matter():
    rows = measure(resnext(4)).rows
    renamed = copy.deepcopy(rows)
    names = random.Random(0).sample(range(10**6), len(rows))
    for one, name in zip(renamed, names, strict=True):
        one.name = one.path = f"x{name}"
        one.links = [Link(f"x{names[link.row]}", link.row, link.call, link.tensor) for link in one.links]
    assert fold(renamed) == fold(rows) and fold(rows) == fold(rows)
