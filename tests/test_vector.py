"""Vector and Arena: names see one array, and a step's arrays come back."""

import numpy as np
import pytest

from distill.nn.vector import Arena, Vector

SHAPES = {"w1": (2, 3), "b1": (3,)}


def test_names_are_views_of_one_flat_array() -> None:
    v = Vector(SHAPES)
    v["w1"][...] = 1
    v["b1"][...] = 2
    np.testing.assert_array_equal(v.flat, [1] * 6 + [2] * 3)
    v.flat[0] = 7
    assert v["w1"][0, 0] == 7


def test_like_has_the_same_shapes_and_type_but_its_own_numbers() -> None:
    v = Vector(SHAPES, np.float64)
    v.flat += 1
    other = v.like()
    assert (other.shapes, other.flat.dtype) == (v.shapes, v.flat.dtype)
    assert not other.flat.any()
    assert not np.shares_memory(other.flat, v.flat)


def test_a_frozen_vector_is_a_copy_that_nothing_can_write_to() -> None:
    v = Vector(SHAPES)
    frozen = v.frozen()
    v.flat += 1
    assert not frozen.flat.any()
    for array in (frozen.flat, frozen["w1"], frozen["b1"]):
        with pytest.raises(ValueError, match="read-only"):
            array += 1


def test_a_flat_array_of_another_length_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match=r"9 numbers.*\(8,\)"):
        Vector(SHAPES, flat=np.zeros(8))


def test_the_kth_request_of_a_step_gets_the_kth_array_of_the_step_before() -> None:
    new = Arena()
    first = [new((2, 3)), new((2, 3)), new((4,))]
    assert len({id(array) for array in first}) == 3
    new.rewind()
    assert [id(new((2, 3))), id(new((2, 3))), id(new((4,)))] == [id(array) for array in first]


def test_another_batch_shape_gets_its_own_arrays_and_the_old_ones_come_back() -> None:
    new = Arena(np.float64)
    full = new((32, 3))
    new.rewind()
    assert new((5, 3)).shape == (5, 3)
    new.rewind()
    assert new((32, 3)) is full
    assert full.dtype == np.float64
