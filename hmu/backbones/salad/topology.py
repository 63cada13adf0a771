"""Skeleton graphs of SALAD: which columns belong to a joint, which joints touch, which joints are pooled together.

Everything follows from five kinematic chains (right leg, left leg, trunk, right arm, left arm), in the order that
HumanML3D and KIT-ML list them: no table per data set. Measured against the authors' matrices (Hong et al., CVPR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise

import numpy as np

from hmu.errors import ConfigError, shown
from hmu.motion.layout import FeatureLayout
from hmu.motion.skeleton import KIT, T2M

Chains = Sequence[Sequence[int]]

#: The two pooled graphs, the same for every skeleton: 12 half limbs, then 7 body parts.
HALF_LIMBS = (
    "root", "left hip", "left leg", "right hip", "right leg", "spine",
    "chest", "left shoulder", "left arm", "right shoulder", "right arm", "head",
)  # fmt: skip
HALF_LIMB_CHAINS: Chains = ((0, 3, 4), (0, 1, 2), (0, 5, 6, 11), (6, 9, 10), (6, 7, 8))
BODY_PARTS = ("root", "left lower", "right lower", "spine", "left upper", "right upper", "head")
BODY_PART_CHAINS: Chains = ((0, 2), (0, 1), (0, 3, 6), (3, 5), (3, 4))
#: the half limbs of every body part
HALF_LIMB_SETS: Chains = ((0, 1, 3, 5), (0, 1, 2), (0, 3, 4), (0, 5, 6), (6, 7, 8), (6, 9, 10), (6, 11))
#: a third stage keeps the body parts: the root with its neighbours, every other one with its parent
BODY_PART_SETS: Chains = ((0, 1, 2, 3), (0, 1), (0, 2), (0, 3), (3, 4), (3, 5), (3, 6))


def chain_edges(chains: Chains) -> list[tuple[int, int]]:
    """Sorted ``(parent, child)`` pairs of all chains."""
    return sorted({pair for nodes in chains for pair in pairwise(nodes)})


def joint_sets(chains: Chains) -> list[list[int]]:
    """Joints of the 12 half limbs: root and chest with their neighbours, spine, head, and the limbs in halves.

    The halves of a limb overlap: 5 joints share the middle one, even counts share two.
    """
    right_leg, left_leg, trunk, right_arm, left_arm = (list(joints) for joints in chains)
    chest = trunk.index(left_arm[0])
    edges = chain_edges(chains)

    def around(joint: int) -> list[int]:
        return sorted({joint, *chain.from_iterable(edge for edge in edges if joint in edge)})

    def halves(limb: list[int]) -> list[list[int]]:
        size = len(limb) // 2 + 1
        return [limb[:size], limb[-size:]]

    return [
        around(trunk[0]),
        *halves(left_leg),
        *halves(right_leg),
        trunk[: chest + 1],
        around(trunk[chest]),
        *halves(left_arm),
        *halves(right_arm),
        trunk[chest:],
    ]


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
        """The topology of a representation with ``features`` columns; ``chains`` of a skeleton that is not known.

        Raises:
            ConfigError: for an impossible column count, or chains that are not five or do not cover the joints.
        """
        joints, rest = divmod(features + 1, 12)
        if rest or joints < 2:
            raise ConfigError(
                f"features={features} is no HumanML3D-style representation: expected 12*joints - 1 (263, 251)"
            )
        known = {skeleton.joints: skeleton.chains for skeleton in (T2M, KIT)}
        if chains is None and joints not in known:
            raise ConfigError(
                f"no kinematic chains known for {joints} joints: give chains=[right leg, left leg, trunk, …]"
            )
        five = known[joints] if chains is None else tuple(tuple(int(joint) for joint in limb) for limb in chains)
        if len(five) != 5 or set(chain.from_iterable(five)) != set(range(joints)):
            raise ConfigError(
                f"chains must be five (legs, trunk, arms) and cover the joints 0..{joints - 1}: {shown(five, 120)}"
            )
        if not all(five) or five[4][0] not in five[2]:
            raise ConfigError(f"chains: the left arm must begin at a joint of the trunk: {shown(five[2:], 120)}")
        return cls(joints, five)

    @property
    def features(self) -> int:
        """Columns of the representation."""
        return self.layout.dims

    @property
    def layout(self) -> FeatureLayout:
        """Where each quantity sits among the columns."""
        return FeatureLayout(self.joints)

    @property
    def contact_joints(self) -> tuple[int, int, int, int]:
        """Joints of the four contact columns in column order: left ankle and toe, right ankle and toe."""
        right, left = self.chains[0], self.chains[1]
        return (left[-2], left[-1], right[-2], right[-1])

    @cached_property
    def columns(self) -> list[list[int]]:
        """Columns of every joint token: root 4 + velocity, others position 3 + rotation 6 + velocity 3 and a contact
        flag last.
        """
        every, layout = np.arange(self.features), self.layout
        positions = every[layout.positions].reshape(-1, 3).tolist()
        rotations = every[layout.rotations].reshape(-1, 6).tolist()
        root_velocity, *velocities = every[layout.velocities].reshape(-1, 3).tolist()
        limbs = zip(positions, rotations, velocities, strict=True)
        tokens = [[*range(4), *root_velocity], *([*p, *r, *v] for p, r, v in limbs)]
        for column, joint in enumerate(self.contact_joints):
            tokens[joint].append(layout.contacts.start + column)
        return tokens

    def graph(self, stage: int) -> tuple[Chains, Chains]:
        """Chains of the graph that encoder stage ``stage`` works on (22, 12, 7, 7 … nodes), and the sets it pools."""
        stages = ((self.chains, joint_sets(self.chains)), (HALF_LIMB_CHAINS, HALF_LIMB_SETS))
        return stages[stage] if stage < 2 else (BODY_PART_CHAINS, BODY_PART_SETS)

    def level(self, stage: int) -> Level:
        """Matrices of encoder stage ``stage``.

        The published matrix of a third stage averages all body parts (it starts as ones), while its unpooling uses the
        sets; kept, since it is what a three-stage checkpoint holds.
        """
        chains, sets = self.graph(stage)
        nodes = len(set(chain.from_iterable(chains)))
        adjacency = np.eye(nodes, dtype=np.float32)
        for a, b in chain_edges(chains):
            adjacency[a, b] = adjacency[b, a] = 1.0
        member = np.zeros((len(sets), nodes), dtype=np.float32)
        for row, nodes_of_set in enumerate(sets):
            member[row, list(nodes_of_set)] = 1.0
        pool = member if stage < 2 else np.ones_like(member)
        return Level(adjacency, pool / pool.sum(1, keepdims=True), member.T.copy())
