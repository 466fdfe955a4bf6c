"""Figures against scipy's, and their intervals against draws from a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.retrieval.associations import statistics


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None)  # the first example imports scipy
def test_wilson_equals_scipy(counts: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    low, high = statistics.wilson(*counts)
    wanted = binomtest(*counts).proportion_ci(method="wilson")
    assert (float(low), float(high)) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@pytest.mark.parametrize(
    ("total", "source", "target", "lift"),
    [
        (100, 0.05, 0.05, 1.0),
        (1000, 0.02, 0.02, 0.3),
        (100, 0.1, 0.1, 4.0),
        (300, 0.02, 0.2, 2.0),
        (400, 0.25, 0.075, 3.0),
        (1000, 0.01, 0.01, 30.0),
        (1000, 0.05, 0.1, 1.0),
        (1000, 0.1, 0.1, 0.3),
        (5000, 0.02, 0.02, 5.0),
        (5000, 0.3, 0.4, 1.5),
        (2000, 0.1, 0.09, 9.5),
    ],
)
def test_lift_interval_coverage(total: int, source: float, target: float, lift: float) -> None:
    random = np.random.default_rng(7)
    both = lift * source * target
    cells = random.multinomial(total, [both, source - both, target - both, 1 - source - target + both], size=20_000)
    support, n, m = cells[:, 0], cells[:, 0] + cells[:, 1], cells[:, 0] + cells[:, 2]
    seen = (n > 0) & (m > 0)
    low, high = statistics.lift_interval(support[seen], n[seen], m[seen], total)
    assert ((low <= lift) & (lift <= high)).mean() >= 0.94


def test_lift_interval_is_not_too_wide() -> None:
    """With many users it misses about one time in twenty."""
    random = np.random.default_rng(8)
    cells = random.multinomial(50_000, [0.02, 0.08, 0.08, 0.82], size=20_000)
    low, high = statistics.lift_interval(cells[:, 0], cells[:, 0] + cells[:, 1], cells[:, 0] + cells[:, 2], 50_000)
    assert ((low <= 2) & (high >= 2)).mean() == pytest.approx(0.95, abs=0.01)


def test_one_of_one_has_a_wide_interval() -> None:
    low, high = statistics.lift_interval(1, 1, 10, 1000)
    assert low < 25
    assert statistics.lift(1, 1, 10, 1000) == 100
    assert high >= 100


@given(st.integers(1, 60), st.integers(1, 500), st.integers(1, 500), st.integers(500, 5000))
@settings(deadline=None)
def test_poisson_tail_equals_scipy(support: int, source: int, base: int, users: int) -> None:
    from scipy.stats import poisson

    found = float(statistics.poisson_tail(support, source, base, users))
    assert found == pytest.approx(float(poisson.sf(support - 1, source * base / users)), rel=1e-6, abs=1e-200)
    assert statistics.poisson_tail(0, source, base, users) == 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 600))
@settings(deadline=None)
def test_log_likelihood_ratio_equals_scipy(both: int, left: int, right: int, neither: int) -> None:
    from scipy.stats import chi2_contingency

    wanted = chi2_contingency([[both, left], [right, neither]], lambda_="log-likelihood", correction=False).statistic
    found = statistics.log_likelihood_ratio(both, both + left, both + right, both + left + right + neither)
    assert float(found) == pytest.approx(wanted, abs=1e-7)


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(0, 30))
@settings(deadline=None)
def test_false_discovery_rate_equals_scipy(chances: list[float], unseen: int) -> None:
    from scipy.stats import false_discovery_control

    found = statistics.false_discovery_rate(np.array(chances), len(chances) + unseen)
    if chances:
        wanted = false_discovery_control([*chances, *[1.0] * unseen])[: len(chances)]
        assert found == pytest.approx(np.asarray(wanted), abs=1e-12)
    else:
        assert found.tolist() == []


def test_fewer_tests_than_p_values_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 tests cannot have 3 p-values"):
        statistics.false_discovery_rate(np.array([0.1, 0.2, 0.3]), 2)


@pytest.mark.filterwarnings("error")
def test_zero_counts_give_no_warnings() -> None:
    """All 16 ways of being zero or one, a base below the support among them."""
    support, source, base, users = (part.ravel().astype(float) for part in np.meshgrid(*[[0, 1]] * 4, indexing="ij"))
    low, high = statistics.wilson(support, source)
    assert low[source == 0].tolist() == [0.0] * 8
    assert high[source == 0].tolist() == [1.0] * 8
    lift = statistics.lift(support, source, base, users)
    assert np.isnan(lift).tolist() == ((source == 0) | (base == 0)).tolist()
    low, high = statistics.lift_interval(support, source, base, users)
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == np.isnan(lift).tolist()
    nobody = (support == 0) & ~np.isnan(lift)
    assert low[nobody].tolist() == [0.0] * int(nobody.sum())
    assert np.isinf(high[nobody]).all()
    assert (statistics.log_likelihood_ratio(support, source, base, users) >= 0).all()
    chances = statistics.poisson_tail(support, source, base, users)
    assert ((chances >= 0) & (chances <= 1)).all()
