"""Vector: names see one array, and the networks of a stack stand in one."""

import re

import numpy as np
import pytest

from distill.nn.vector import Vector

SHAPES = {"w1": (2, 3), "w2": (1, 3)}


def test_names_are_views_of_one_flat_array_and_of_every_network_of_a_stack_at_once() -> None:
    flat = np.arange(9.0)
    assert Vector(SHAPES, flat=flat).flat is flat
    assert Vector(SHAPES, flat=flat)["w2"].tolist() == [[6, 7, 8]]
    stack = Vector(SHAPES, stack=(2,))
    assert (stack.flat.dtype, stack.flat.shape, stack["w1"].shape) == (np.float32, (2, 9), (2, 2, 3))
    stack["w1"][1] = 5
    networks = stack.networks()
    assert [(network.shapes, network.stack, network.flat.shape) for network in networks] == [(SHAPES, (), (9,))] * 2
    networks[1]["w2"][...] = 7
    networks[0].networks()[0]["w2"][0, 2] = 4  # a single network is a stack of itself
    assert stack.flat.tolist() == [[0] * 8 + [4], [5] * 6 + [7] * 3]


@pytest.mark.parametrize("stack", [(), (1,), (3,)])
def test_like_has_the_same_shapes_stack_and_type_but_its_own_numbers(stack: tuple[int, ...]) -> None:
    v = Vector(SHAPES, np.float64, stack=stack)
    v.flat += 1
    other = v.like()
    assert (other.shapes, other.stack, other.flat.dtype, other.flat.any()) == (SHAPES, stack, np.float64, False)


def test_a_frozen_vector_is_a_copy_that_nothing_can_write_to() -> None:
    stack = Vector(SHAPES, stack=(2,))
    frozen = stack.networks()[1].frozen()
    stack.flat += 1
    assert (frozen.flat.shape, frozen.flat.any()) == ((9,), False)
    for array in (frozen.flat, frozen["w1"], frozen["w2"]):
        with pytest.raises(ValueError, match="read-only"):
            array += 1


@pytest.mark.parametrize("shape", [(8,), (2, 8), (9, 2), (2, 2, 10)])
def test_a_flat_array_of_another_length_is_refused_with_both_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"9 numbers.*{re.escape(str(shape))}"):
        Vector(SHAPES, flat=np.zeros(shape))
