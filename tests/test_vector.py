"""Vector: names see one array, and the networks of a stack stand in one."""

import numpy as np
import pytest

from distill.nn.vector import Vector

SHAPES = {"w1": (2, 3), "w2": (1, 3)}


def test_names_are_views_of_one_flat_array() -> None:
    v = Vector(SHAPES)
    v["w1"][...] = 1
    v["w2"][...] = 2
    np.testing.assert_array_equal(v.flat, [1] * 6 + [2] * 3)
    v.flat[0] = 7
    assert v["w1"][0, 0] == 7


def test_a_flat_array_is_used_as_it_is() -> None:
    flat = np.arange(9.0)
    v = Vector(SHAPES, flat=flat)
    assert v.flat is flat
    np.testing.assert_array_equal(v["w2"], [[6, 7, 8]])


@pytest.mark.parametrize("stack", [(), (1,), (3,)])
def test_like_has_the_same_shapes_stack_and_type_but_its_own_numbers(stack: tuple[int, ...]) -> None:
    v = Vector(SHAPES, np.float64, stack=stack)
    v.flat += 1
    other = v.like()
    assert (other.shapes, other.stack, other.flat.dtype) == (v.shapes, stack, v.flat.dtype)
    assert {name: view.shape for name, view in other.views.items()} == {n: stack + shape for n, shape in SHAPES.items()}
    assert not other.flat.any()
    assert not np.shares_memory(other.flat, v.flat)


def test_a_frozen_vector_is_a_copy_that_nothing_can_write_to() -> None:
    v = Vector(SHAPES)
    frozen = v.frozen()
    v.flat += 1
    assert not frozen.flat.any()
    for array in (frozen.flat, frozen["w1"], frozen["w2"]):
        with pytest.raises(ValueError, match="read-only"):
            array += 1


@pytest.mark.parametrize("shape", [(8,), (2, 8), (9, 2), (2, 2, 10)])
def test_a_flat_array_of_another_length_is_refused_with_both_sizes(shape: tuple[int, ...]) -> None:
    said = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=f"9 numbers.*{said}"):
        Vector(SHAPES, flat=np.zeros(shape))


# --- several networks -------------------------------------------------------------------------------------------------


def test_a_stacks_names_are_views_of_every_network_at_once() -> None:
    stack = Vector(SHAPES, stack=(2,))
    assert (stack.flat.shape, stack["w1"].shape, stack["w2"].shape) == ((2, 9), (2, 2, 3), (2, 1, 3))
    stack["w1"][1] = 5
    np.testing.assert_array_equal(stack.flat, [[0] * 9, [5] * 6 + [0] * 3])
    stack.flat[0, -1] = 7
    assert stack["w2"][0, 0, -1] == 7


def test_the_networks_of_a_stack_are_vectors_that_write_to_it() -> None:
    stack = Vector(SHAPES, stack=(3,))
    networks = stack.networks()
    assert [(one.shapes, one.stack, one.flat.shape) for one in networks] == [(SHAPES, (), (9,))] * 3
    for i, one in enumerate(networks, start=1):
        one["w2"][...] = i
    np.testing.assert_array_equal(stack["w2"], [[[1] * 3], [[2] * 3], [[3] * 3]])
    stack.flat[1, 0] = 9
    assert [one["w1"][0, 0] for one in networks] == [0, 9, 0]


def test_a_single_network_is_a_stack_of_itself() -> None:
    v = Vector(SHAPES)
    (one,) = v.networks()
    assert one.stack == ()
    one["w1"][1, 2] = 4
    assert v["w1"][1, 2] == 4


def test_a_frozen_network_of_a_stack_stays_as_it_was() -> None:
    stack = Vector(SHAPES, stack=(2,))
    frozen = stack.networks()[1].frozen()
    stack.flat += 1
    assert frozen.flat.shape == (9,)
    assert not frozen.flat.any()
