"""Factors of folds in one space: the rotation between two factorizations, and predictions that it leaves as they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from crossaisle.train.fold_factors import FoldFactors, rotation_between


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(6, 40))
@settings(max_examples=50, deadline=None)
def test_a_rotation_is_found(seed: int, size: int, items: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(items, size)).astype(np.float32)
    rotation = np.linalg.qr(rng.normal(size=(size, size)))[0].astype(np.float32)
    factors = FoldFactors(reference @ rotation, rng.normal(size=(5, size)).astype(np.float32))
    rotated = factors.rotated(reference)
    np.testing.assert_allclose(rotated.items, reference, atol=1e-4)
    np.testing.assert_allclose(rotated.items @ rotated.histories.T, factors.items @ factors.histories.T, atol=1e-3)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_the_rotation_is_that_of_a_second_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors, reference = rng.normal(size=(2, 12, 4)).astype(np.float32)
    np.testing.assert_allclose(rotation_between(factors, reference), orthogonal_procrustes(factors, reference)[0], atol=1e-4)
