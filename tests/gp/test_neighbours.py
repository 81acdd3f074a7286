"""The search of neighbours against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import DataError
from caffe_gp.gp import Neighbours, majority
from caffe_gp.gp import neighbours as module

pytestmark = pytest.mark.engine


def brute_force(bank, queries, k):
    """All distances in float64, one after the other; ties by row."""
    rows, distances = [], []
    for query in queries.astype(np.float64):
        squares = ((bank.astype(np.float64) - query) ** 2).sum(axis=1)
        order = np.lexsort((np.arange(len(bank)), squares))[:k]
        rows.append(order)
        distances.append(np.sqrt(squares[order]))
    return np.array(rows), np.array(distances)


def check(bank, queries, k, **options):
    rows, distances = Neighbours(bank, **options).nearest(queries, k)
    expected_rows, expected_distances = brute_force(bank, queries, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-12)
    assert rows.dtype == np.int64 and distances.dtype == np.float64
    return rows


@pytest.fixture()
def random():
    return np.random.RandomState(5)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_features_like_a_net_s(random, k):
    bank = np.maximum(random.randn(3000, 40), 0).astype(np.float32)
    check(bank, np.maximum(random.randn(200, 40), 0).astype(np.float32), k)


def test_exact_duplicates_come_in_the_order_of_their_rows(random):
    few = random.randn(20, 500).astype(np.float32)
    bank = few[random.randint(0, 20, 2000)]
    rows = check(bank, np.concatenate([few, random.randn(5, 500).astype(np.float32)]), 5)
    for i, row in enumerate(rows[:20]):  # each of the 20 is in the bank about a hundred times
        same = np.flatnonzero((bank == few[i]).all(axis=1))
        np.testing.assert_array_equal(row, same[:5])


def test_near_ties_that_float32_cannot_tell_apart(random):
    """Far from the origin the products' rounding is larger than the differences of the distances."""
    bank = (1000 + random.randn(500, 64) * 1e-3).astype(np.float32)
    queries = (1000 + random.randn(30, 64) * 1e-3).astype(np.float32)
    rows = check(bank, queries, 4)
    squares = (bank * bank).sum(axis=1) - 2 * queries @ bank.T
    assert (np.argsort(squares, axis=1, kind="stable")[:, :4] != rows).any()


def test_a_bank_of_equal_vectors():
    bank = np.ones((50, 3), np.float32)
    rows = check(bank, np.zeros((2, 3), np.float32), 50)
    np.testing.assert_array_equal(rows[0], np.arange(50))


@pytest.mark.parametrize("rank", [1, 20, 300])
def test_long_vectors_are_compared_by_their_shadows(random, rank):
    """Of whatever rank: 300 fill the space, and the shadows leave many candidates."""
    mixing = random.randn(rank, 300) + 2
    bank, queries = ((random.randn(n, rank) @ mixing).astype(np.float32) for n in (1500, 60))
    check(bank, np.concatenate([queries, bank[:20]]), 3)


def test_few_long_vectors_are_compared_in_full(random, monkeypatch):
    """With a bank of a net's kind: most of what it holds lies along few axes."""
    mixing = random.randn(10, 400)
    bank, queries = (
        (random.randn(n, 10) @ mixing + 0.3 * random.randn(n, 400)).astype(np.float32) for n in (4000, 50)
    )
    compared = []
    plain = module._squared_distances

    def counting(bank, rows, query):
        compared.append(len(rows))
        return plain(bank, rows, query)

    monkeypatch.setattr(module, "_squared_distances", counting)
    check(bank, queries, 3)
    assert sum(compared) < 50 * 400


@pytest.mark.parametrize("values", [3, 300])
@pytest.mark.parametrize(
    "bank_size, query_size", [(1e-30, 1e-30), (1e30, 1e30), (1e-30, 1e30), (1e30, 1e-30)]
)
def test_sizes_whose_squares_float32_cannot_hold(random, values, bank_size, query_size):
    bank = (bank_size * random.randn(200, values)).astype(np.float32)
    check(bank, (query_size * random.randn(10, values)).astype(np.float32), 3)


def test_a_query_whose_products_alone_are_too_large():
    """All distances are 2e38 in float64, so the first row is the nearest."""
    check(np.array([[-0.9], [0.5], [0.7]], np.float32), np.array([[2e38]], np.float32), 1)


@pytest.mark.parametrize("values", [3, 300])
def test_a_bank_of_zeros(random, values):
    rows = check(np.zeros((40, values), np.float32), random.randn(5, values).astype(np.float32), 3)
    np.testing.assert_array_equal(rows, [[0, 1, 2]] * 5)


def test_blocks_do_not_show(random, monkeypatch):
    bank, queries = (random.randn(n, 6).astype(np.float32) for n in (300, 70))
    whole, _ = Neighbours(bank).nearest(queries, 3)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4 * 300 * 8)
    np.testing.assert_array_equal(Neighbours(bank).nearest(queries, 3)[0], whole)


def test_another_order_of_summation_gives_the_same_rows(random):
    """What an engine's product on a GPU may do: any order, in float32."""

    def backwards(a, b):
        total = np.zeros((len(a), b.shape[1]), np.float32)
        for j in reversed(range(a.shape[1])):
            total += a[:, j : j + 1] * b[j]
        return total

    bank = (3 + random.randn(400, 50)).astype(np.float32)
    check(bank, (3 + random.randn(40, 50)).astype(np.float32), 3, product=backwards)


@pytest.mark.parametrize(
    "bank, queries, k, message",
    [
        (np.zeros((4, 3)), np.zeros((2, 3)), 1, "float32"),
        (np.zeros((4, 3), np.float32), np.zeros((2, 2), np.float32), 1, r"\(2, 2\).*expected \(n, 3\)"),
        (np.zeros((0, 3), np.float32), np.zeros((2, 3), np.float32), 1, "no features"),
        (np.zeros((4, 3), np.float32), np.zeros((2, 3), np.float32), 5, "5 nearest neighbours among 4"),
        (np.zeros((4, 3), np.float32), np.zeros((2, 3), np.float32), 0, "0 nearest"),
        (np.full((4, 3), np.inf, np.float32), np.zeros((2, 3), np.float32), 1, "NaN or infinite"),
    ],
)
def test_what_cannot_be_searched(bank, queries, k, message):
    with pytest.raises(DataError, match=message):
        Neighbours(bank).nearest(queries, k)


def test_majority():
    """The first to appear wins a draw: the nearest one's class among all different ones."""
    found = majority(np.array([[7, 3, 3], [1, 2, 3], [4, 4, 4], [9, 0, 9]]))
    np.testing.assert_array_equal(found, [3, 1, 4, 9])
    np.testing.assert_array_equal(majority(np.array([[5, 6, 6, 5, 0]])), [5])
