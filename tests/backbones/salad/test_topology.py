from __future__ import annotations

import numpy as np
import pytest

from hmu.backbones.salad.topology import Topology, chain_edges
from hmu.errors import ConfigError

#: arms that begin at a foot
DETACHED = [[0, 2, 5, 8, 11], [0, 1, 4, 7, 10], [0, 3, 6, 9, 12, 15], [10, 14, 17, 19, 21], [10, 13, 16, 18, 20]]


@pytest.mark.parametrize("features", [263, 251])
def test_every_column_belongs_to_one_joint(features):
    body = Topology.of(features)
    assert sorted(c for token in body.columns for c in token) == list(range(features))
    assert [len(token) for token in body.columns].count(13) == 4
    assert body.layout.contacts.stop == body.features == features


@pytest.mark.parametrize("features", [263, 251])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_matrices_fit_together(features, stage):
    level = Topology.of(features).level(stage)
    np.testing.assert_array_equal(level.adjacency, level.adjacency.T)
    assert level.adjacency.diagonal().all()
    np.testing.assert_allclose(level.pool.sum(1), 1, rtol=1e-6)
    assert level.unpool.any(1).all()  # every joint comes back
    assert level.pool.shape == level.unpool.T.shape


def test_graph_is_a_tree():
    body = Topology.of(263)
    assert len(chain_edges(body.chains)) == body.joints - 1


@pytest.mark.parametrize(
    ("features", "chains", "message"),
    [
        (264, None, "expected 12"),
        (95, None, "no kinematic chains"),
        (263, [[0, 1]], "must be five"),
        (263, DETACHED, "begin at a joint of the trunk"),
    ],
)
def test_refuses_impossible_bodies(features, chains, message):
    with pytest.raises(ConfigError, match=message):
        Topology.of(features, chains)
