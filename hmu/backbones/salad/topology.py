"""Skeleton graphs of SALAD: which columns belong to a joint, which joints touch, which joints are pooled together.

Everything follows from five kinematic chains (right leg, left leg, trunk, right arm, left arm), in the order that
HumanML3D and KIT-ML list them: no table per data set. Measured against the authors' matrices (Hong et al., CVPR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from hmu.errors import ConfigError, shown
from hmu.motion.skeleton import KIT, T2M

Chains = Sequence[Sequence[int]]

#: The two pooled graphs, the same for every skeleton: 12 half limbs, then 7 body parts.
HALF_LIMBS = (
    "root", "left hip", "left leg", "right hip", "right leg", "spine",
    "chest", "left shoulder", "left arm", "right shoulder", "right arm", "head",
)  # fmt: skip
HALF_LIMB_CHAINS: tuple[tuple[int, ...], ...] = ((0, 3, 4), (0, 1, 2), (0, 5, 6, 11), (6, 9, 10), (6, 7, 8))
BODY_PARTS = ("root", "left lower", "right lower", "spine", "left upper", "right upper", "head")
BODY_PART_CHAINS: tuple[tuple[int, ...], ...] = ((0, 2), (0, 1), (0, 3, 6), (3, 5), (3, 4))


def joints_of(features: int) -> int:
    """Joints of a 12 J - 1 column representation (263 -> 22, 251 -> 21).

    Raises:
        ConfigError: if no whole number of joints gives that many columns.
    """
    joints, rest = divmod(features + 1, 12)
    if rest or joints < 2:
        raise ConfigError(
            f"features={features} is no HumanML3D-style representation: expected 12*joints - 1 (263, 251)"
        )
    return joints


def chains_of(joints: int) -> tuple[tuple[int, ...], ...]:
    """The known kinematic chains for a joint count.

    Raises:
        ConfigError: for a skeleton that is neither T2M-22 nor KIT-21 (pass ``chains`` then).
    """
    known = {skeleton.joints: skeleton.chains for skeleton in (T2M, KIT)}
    if joints not in known:
        raise ConfigError(f"no kinematic chains known for {joints} joints: give chains=[right leg, left leg, trunk, …]")
    return known[joints]


def chain_edges(chains: Chains) -> list[tuple[int, int]]:
    """Sorted ``(parent, child)`` pairs of all chains."""
    return sorted({(int(a), int(b)) for chain in chains for a, b in pairwise(chain)})


def adjacency(nodes: int, edges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Symmetric 0/1 matrix with self loops ``(nodes, nodes)`` float32."""
    matrix = np.eye(nodes, dtype=np.float32)
    for a, b in edges:
        matrix[a, b] = matrix[b, a] = 1.0
    return matrix


def _neighbours(node: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    return sorted({a if b == node else b for a, b in edges if node in (a, b)})


def _halves(chain: Sequence[int]) -> list[list[int]]:
    """A limb as two overlapping halves: 5 joints share the middle one, even counts share two."""
    size = len(chain) // 2 + 1
    return [list(chain[:size]), list(chain[-size:])]


def pool_joints(chains: Chains) -> list[list[int]]:
    """Joint sets of the 12 half limbs (root with neighbours, limbs in halves, spine, chest with neighbours, head)."""
    right_leg, left_leg, trunk, right_arm, left_arm = (list(chain) for chain in chains)
    edges = chain_edges(chains)
    chest = trunk.index(left_arm[0])
    return [
        [trunk[0], *_neighbours(trunk[0], edges)],
        *_halves(left_leg),
        *_halves(right_leg),
        trunk[: chest + 1],
        [trunk[chest], *_neighbours(trunk[chest], edges)],
        *_halves(left_arm),
        *_halves(right_arm),
        trunk[chest:],
    ]


def pool_half_limbs() -> list[list[int]]:
    """Sets of half limbs of the 7 body parts."""
    right_leg, left_leg, trunk, right_arm, left_arm = (list(chain) for chain in HALF_LIMB_CHAINS)
    chest = trunk.index(left_arm[0])
    root = [0, *_neighbours(0, chain_edges(HALF_LIMB_CHAINS))]
    return [root, left_leg, right_leg, trunk[: chest + 1], left_arm, right_arm, trunk[chest:]]


def pool_body_parts() -> list[list[int]]:
    """Sets of body parts for a third stage: the root with its neighbours, every other part with its parent."""
    edges = chain_edges(BODY_PART_CHAINS)
    parent = {b: a for a, b in edges}
    return [[0, *_neighbours(0, edges)], *([parent[part], part] for part in range(1, len(BODY_PARTS)))]


def membership(sets: Sequence[Sequence[int]], nodes: int) -> np.ndarray:
    """0/1 matrix ``(sets, nodes)`` float32: 1 where the node is in the set."""
    matrix = np.zeros((len(sets), nodes), dtype=np.float32)
    for row, members in enumerate(sets):
        matrix[row, list(members)] = 1.0
    return matrix


@dataclass(frozen=True)
class Level:
    """One resolution of the body graph and how it is pooled to the next.

    Attributes:
        adjacency: ``(nodes, nodes)`` with self loops.
        pool: averaging matrix ``(coarser nodes, nodes)``, rows sum to 1.
        unpool: summing matrix ``(nodes, coarser nodes)``, 0/1.
    """

    adjacency: np.ndarray
    pool: np.ndarray
    unpool: np.ndarray


@dataclass(frozen=True)
class Topology:
    """Body graph of a motion representation.

    Attributes:
        joints: number of joints J; the representation has ``12 J - 1`` columns.
        chains: right leg, left leg, trunk, right arm, left arm, each from its attachment outwards.
    """

    joints: int
    chains: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, features: int, chains: Chains | None = None) -> Topology:
        """The topology of a representation with ``features`` columns.

        Raises:
            ConfigError: for an impossible column count, or chains that are not five or do not cover the joints.
        """
        joints = joints_of(features)
        chosen = chains_of(joints) if chains is None else tuple(tuple(int(j) for j in chain) for chain in chains)
        if len(chosen) != 5 or {j for chain in chosen for j in chain} != set(range(joints)):
            raise ConfigError(
                f"chains must be five (legs, trunk, arms) and cover the joints 0..{joints - 1}: {shown(chosen, 120)}"
            )
        if not all(chosen) or chosen[4][0] not in chosen[2]:
            raise ConfigError(f"chains: the left arm must begin at a joint of the trunk: {shown(chosen[2:], 120)}")
        return cls(joints, chosen)

    @property
    def features(self) -> int:
        """Columns of the representation."""
        return 12 * self.joints - 1

    @property
    def contact_joints(self) -> tuple[int, int, int, int]:
        """Joints of the four contact columns in column order: left ankle and toe, right ankle and toe."""
        right, left = self.chains[0], self.chains[1]
        return (left[-2], left[-1], right[-2], right[-1])

    @property
    def blocks(self) -> dict[str, slice]:
        """Columns of ``root``, ``ric``, ``rot``, ``vel`` and ``contact``."""
        sizes = {"root": 4, "ric": 3 * (self.joints - 1), "rot": 6 * (self.joints - 1), "vel": 3 * self.joints}
        blocks, start = {}, 0
        for name, size in {**sizes, "contact": 4}.items():
            blocks[name] = slice(start, start + size)
            start += size
        return blocks

    @cached_property
    def columns(self) -> list[list[int]]:
        """Columns of every joint token: root 4 + vel, others ric 3 + rot 6 + vel 3 and a contact flag last."""
        start = {name: block.start for name, block in self.blocks.items()}
        tokens = [[*range(4), *range(start["vel"], start["vel"] + 3)]]
        for joint in range(1, self.joints):
            ric, rot, vel = start["ric"] + 3 * (joint - 1), start["rot"] + 6 * (joint - 1), start["vel"] + 3 * joint
            tokens.append([*range(ric, ric + 3), *range(rot, rot + 6), *range(vel, vel + 3)])
        for column, joint in enumerate(self.contact_joints):
            tokens[joint].append(start["contact"] + column)
        return tokens

    def edges(self, stage: int) -> list[tuple[int, int]]:
        """Edges of the graph that encoder stage ``stage`` works on."""
        return chain_edges((self.chains, HALF_LIMB_CHAINS)[stage] if stage < 2 else BODY_PART_CHAINS)

    def pool_sets(self, stage: int) -> list[list[int]]:
        """The node sets that stage ``stage`` pools."""
        if stage == 0:
            return pool_joints(self.chains)
        return pool_half_limbs() if stage == 1 else pool_body_parts()

    def nodes(self, stage: int) -> int:
        """Nodes that encoder stage ``stage`` works on (22, 12, 7, 7 …)."""
        return (self.joints, len(HALF_LIMBS))[stage] if stage < 2 else len(BODY_PARTS)

    def level(self, stage: int) -> Level:
        """Matrices of encoder stage ``stage``.

        A third stage keeps the 7 body parts. The published matrix averages all of them there (it starts as ones),
        while its unpooling uses the sets; kept, since it is what a three-stage checkpoint holds.
        """
        nodes = self.nodes(stage)
        member = membership(self.pool_sets(stage), nodes)
        pool = member if stage < 2 else np.ones_like(member)
        return Level(adjacency(nodes, self.edges(stage)), pool / pool.sum(1, keepdims=True), member.T.copy())
