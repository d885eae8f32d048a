from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError, DtypeError, ShapeError, WeightsError
from lamina.optimizers.groups import Group, ParameterSet, has_kernel, is_dense, make_groups


def parameter(*shape: int, dtype: torch.dtype = torch.float32, requires_grad: bool = True) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(shape, dtype=dtype), requires_grad=requires_grad)


def group_of(*parameters: torch.Tensor) -> Group:
    slots = {"momentum": [torch.zeros_like(p) for p in parameters]}
    (group,) = make_groups(list(parameters), slots, [True] * len(parameters))
    return group


def test_frozen_and_repeated_parameters_are_left_out():
    a, b, frozen = parameter(2), parameter(3), parameter(4, requires_grad=False)
    known = ParameterSet([a, frozen, b, a])
    assert [p is q for p, q in zip(known.parameters, [a, b], strict=True)] == [True, True]
    assert a in known
    assert frozen not in known


def test_what_is_no_tensor_is_refused():
    with pytest.raises(DtypeError, match="built on parameters"):
        ParameterSet([np.zeros(3)])


def test_names_are_taken_in_either_direction():
    a, b = parameter(2), parameter(3)
    assert ParameterSet([a, b], {"left": a, "right": b}).names == ["left", "right"]
    assert ParameterSet([a, b], {b: "right"}).names == ["parameter_0", "right"]
    assert not ParameterSet([a, b]).named


def test_gradients_are_put_into_the_order_of_the_parameters():
    a, b, frozen = parameter(2), parameter(3), parameter(4, requires_grad=False)
    known, grad = ParameterSet([a, b, frozen]), torch.ones(3)
    assert known.align([None, grad, None], [frozen, b, a])[1] is grad
    assert known.align([grad], [b]) == [None, grad]


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_gradients_is_refused(count):
    with pytest.raises(ArgumentError, match=f"expected: 2 gradients\n  received: {count} gradients"):
        ParameterSet([parameter(2), parameter(2)]).align([torch.ones(2)] * count, None)


def test_an_unknown_variable_is_refused():
    known = ParameterSet([parameter(2)])
    with pytest.raises(ArgumentError, match="does not know this variable"):
        known.align([torch.ones(2)], [parameter(2)])
    with pytest.raises(ArgumentError, match="received: a ndarray of shape"):
        known.align([torch.ones(2)], [np.ones(2)])


def test_a_gradient_of_another_shape_is_refused_by_name():
    a = parameter(2, 3)
    with pytest.raises(ShapeError, match=r"gradient of 'kernel' does not fit"):
        ParameterSet([a], {"kernel": a}).align([torch.ones(3, 3)], None)


@pytest.mark.parametrize("grad", [np.ones(2), torch.ones(2, device="meta")])
def test_a_gradient_that_is_no_tensor_of_this_device_is_refused(grad):
    with pytest.raises(DtypeError, match="a torch.Tensor on cpu"):
        ParameterSet([parameter(2)]).align([grad], None)


def test_other_variables_are_told_from_the_same():
    a, b, frozen = parameter(2), parameter(3), parameter(1, requires_grad=False)
    known = ParameterSet([a, b])
    known.check_same([b, frozen, a])
    with pytest.raises(WeightsError, match="the same 2 parameters"):
        known.check_same([a])


def test_parameters_are_grouped_by_dtype_decay_and_density():
    dense, double, other = parameter(2, 3), parameter(2, dtype=torch.float64), parameter(4)
    sliced = torch.randn(4, 4)[:, :2].requires_grad_()
    groups = make_groups([dense, double, sliced, other], {}, [True, True, True, False])
    assert [group.indices for group in groups] == [[0], [1], [2], [3]]
    assert [group.dense for group in groups] == [True, True, False, True]
    assert [group.decays for group in groups] == [True, True, True, False]
    assert make_groups([dense, other], {}, [True, True])[0].indices == [0, 1]


def test_only_memory_without_gaps_is_dense():
    value = torch.randn(2, 3, 4)
    assert is_dense(value)
    assert is_dense(value.permute(2, 0, 1))
    assert not is_dense(value[:, :, :2])
    assert not is_dense(torch.randn(3, 1).expand(3, 4))


def test_gradients_laid_out_like_the_parameters_are_passed_on_as_they_are():
    group = group_of(parameter(2, 3), parameter(4))
    grads = [torch.ones(2, 3), torch.ones(4)]
    same, passed = group.meet(grads)
    assert same is group
    assert passed is grads


def test_a_gradient_of_other_strides_is_laid_out_like_its_parameter():
    kernel = torch.nn.Parameter(torch.randn(5, 3).t())
    grad = torch.randn(3, 5)
    _, (passed,) = group_of(kernel).meet([grad])
    assert passed.stride() == kernel.stride() == (1, 3)
    assert torch.equal(passed, grad)


def test_strides_of_axes_of_size_1_cost_no_copy():
    kernel = torch.nn.Parameter(torch.randn(4, 1, 1, 3).permute(1, 2, 3, 0))
    grad = torch.randn(4, 3).t().reshape(1, 1, 3, 4)
    grad = grad.as_strided(grad.shape, (99, 77, *grad.stride()[2:]))
    _, (passed,) = group_of(kernel).meet([grad])
    assert passed.stride() == kernel.stride()
    assert passed.data_ptr() == grad.data_ptr()
    assert torch.equal(passed, grad)


def test_a_gradient_of_another_dtype_is_cast():
    _, (passed,) = group_of(parameter(2)).meet([torch.ones(2, dtype=torch.float64)])
    assert passed.dtype == torch.float32


def test_a_sparse_gradient_is_filled_up():
    place, value = torch.tensor([[1]]), torch.tensor([[5.0, 6.0]])
    grad = torch.sparse_coo_tensor(place, value, (3, 2), check_invariants=True)
    _, (passed,) = group_of(parameter(3, 2)).meet([grad])
    assert passed.tolist() == [[0, 0], [5, 6], [0, 0]]


def test_parameters_without_a_gradient_are_left_out_and_the_rest_is_kept():
    group = group_of(parameter(2), parameter(3), parameter(4))
    grads = [None, torch.ones(3), torch.ones(4)]
    part, passed = group.meet(grads)
    assert part.indices == [1, 2]
    assert part.slots["momentum"][0] is group.slots["momentum"][1]
    assert len(passed) == 2
    assert group.meet(grads)[0] is part
    assert group.meet([torch.ones(2), None, None])[0].indices == [0]
    assert group.meet(grads)[0].indices == [1, 2]
    assert group.meet([None] * 3)[1] == []


def test_drift_is_noticed():
    moved = parameter(2, 3)
    group = group_of(moved)
    assert not group.drifted()
    moved.data = moved.data.t().contiguous().t()
    assert group.drifted()
    moved.data = moved.data.contiguous().double()
    assert group.drifted()


def test_kernels_are_known_for_what_they_are():
    assert has_kernel("_fused_adamw_", "cpu")
    assert not has_kernel("_fused_nothing_", "cpu")
    assert not has_kernel("_fused_adamw_", "vulkan")


def test_a_fused_kernel_is_used_only_where_it_is_right():
    assert group_of(parameter(2)).fused("_fused_sgd_")
    assert not group_of(torch.randn(4, 4)[:, :2].requires_grad_()).fused("_fused_sgd_")
    assert not group_of(parameter(2, dtype=torch.bfloat16)).fused("_fused_sgd_")  # pytorch issue 191763
    assert group_of(parameter(2, dtype=torch.bfloat16)).fused("_fused_adamw_")


def test_views_in_memory_order_are_contiguous_and_share_their_memory():
    kernel, bias = torch.nn.Parameter(torch.randn(4, 2, 3, 5).permute(1, 2, 3, 0)), parameter(4)
    group = group_of(kernel, bias)
    grads = [torch.empty_like(kernel).copy_(torch.randn(kernel.shape)), torch.randn(4)]
    turned, turned_grads = group.in_memory_order(grads)
    for view, tensor in (
        (turned.parameters[0], kernel),
        (turned.slots["momentum"][0], group.slots["momentum"][0]),
        (turned_grads[0], grads[0]),
    ):
        assert view.is_contiguous()
        assert view.data_ptr() == tensor.data_ptr()
    assert turned.parameters[1] is bias
    assert turned_grads[1] is grads[1]
    assert group.in_memory_order(grads)[0] is turned


def test_views_follow_a_parameter_whose_data_are_replaced():
    kernel = torch.nn.Parameter(torch.randn(5, 3).t())
    group = group_of(kernel)
    group.in_memory_order([torch.ones(5, 3).t()])
    kernel.data = kernel.data.clone()
    turned, _ = group.in_memory_order([torch.ones(5, 3).t()])
    assert turned.parameters[0].data_ptr() == kernel.data_ptr()


def test_a_copy_of_a_group_makes_views_of_its_own():
    group = group_of(torch.nn.Parameter(torch.randn(5, 3).t()))
    turned, _ = group.in_memory_order([torch.ones(5, 3).t()])
    copied = copy.deepcopy(group)
    assert len(pickle.dumps(group)) == len(pickle.dumps(copied))
    again, _ = copied.in_memory_order([torch.ones(5, 3).t()])
    assert again.parameters[0].data_ptr() == copied.parameters[0].data_ptr() != turned.parameters[0].data_ptr()


def test_contiguous_parameters_need_no_views():
    group, grads = group_of(parameter(2, 3)), [torch.ones(2, 3)]
    assert group.in_memory_order(grads)[0] is group
    assert group.in_memory_order(grads)[1] is grads
