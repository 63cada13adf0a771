"""The frozen teacher, and the batching that lets teacher and student predict everything in one forward each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone, State
from hmu.data.batch import stack_padded
from hmu.text.base import TextCondition, concat_conditions

Request = tuple[State, TextCondition]


def teacher_of(backbone: MotionBackbone) -> MotionBackbone:
    """A frozen twin in evaluation mode: its own copy of :meth:`network`, everything else (VAE, text encoder) shared."""
    network = backbone.network()
    inside = {id(module) for module in network.modules()}
    around = {id(m) for m in backbone.modules() if any(child is network for child in m.modules())}
    shared: dict[int, object] = {
        id(module): module for module in backbone.modules() if id(module) not in inside | around
    }
    own = ("_modules", "_parameters", "_buffers")
    shared |= {id(v): v for k, v in vars(backbone).items() if k not in own and not isinstance(v, (bool, int, float))}
    twin = copy.deepcopy(backbone, shared)
    for parameter in twin.network().parameters():
        parameter.requires_grad_(False)
    twin.network().eval()
    return twin


def predict_jointly(backbone: MotionBackbone, requests: Sequence[Request]) -> list[Tensor]:
    """The network's outputs ``(batch, frames', ...)`` for several batches, in one forward, each of its batch's frames.

    A condition of one prompt stands for all items of its state.
    """
    full = [(s, c.to(s.inputs.device).expand(len(s.time)) if len(c) == 1 else c) for s, c in requests]
    if len(full) == 1:
        return [backbone.predict(*full[0])]
    joint = concat_states([state for state, _ in full])
    prediction = backbone.predict(joint, concat_conditions([condition for _, condition in full]))
    parts = prediction.split([len(state.time) for state, _ in full])
    return [part[:, : state.valid.shape[1]] for part, (state, _) in zip(parts, full, strict=True)]


def concat_states(states: Sequence[State]) -> State:
    """Stack states along the batch, padding the time axis (dimension 1) to the longest; padding is not valid."""
    return State(
        inputs=stack_padded([s.inputs for s in states]),
        time=torch.cat([s.time for s in states]),
        target=stack_padded([s.target for s in states]),
        valid=stack_padded([s.valid for s in states]),
    )


def erase_target(anchor: Tensor, concept: Tensor, null: Tensor, eta: float) -> Tensor:
    """What an erased model should output for the concept: ``out0(a) - eta (out0(c) - out0(empty))``.

    Gandikota et al. 2023, with an anchor prompt ``a`` (published: the empty one). All three are outputs of the *frozen*
    model to the same ``x_t``, in any one parametrisation: at a given ``x_t`` noise, velocity and sample are affine
    images of each other, all ``(batch, ...)``. With the empty anchor ``eta = 0`` makes the concept mean nothing, above
    0 repels.
    """
    return anchor - eta * (concept - null)


@dataclass(frozen=True)
class Query:
    """A target that a step needs: what the teacher is asked, and how one output per request becomes the target."""

    requests: tuple[Request, ...]
    combine: Callable[..., Tensor]


def given(target: Callable[[], Tensor]) -> Query:
    """A target ``(batch, frames', ...)`` that no teacher is needed for."""
    return Query((), target)


class Teacher:
    """The frozen original with the prompts it is asked.

    ``backbone`` is the base before anything in it changes; an empty ``anchor`` is the unconditional prompt.
    """

    def __init__(self, backbone: MotionBackbone, anchor: str) -> None:
        self.backbone = teacher_of(backbone)
        with torch.no_grad():
            self.null = backbone.encode_text([""])
            self.anchor = backbone.encode_text([anchor]) if anchor else self.null

    def to(self, device: torch.device) -> None:
        """Move the frozen network (what is shared with the student moves with it)."""
        self.backbone.network().to(device)

    def output(self, state: State, condition: TextCondition) -> Query:
        """Asks for the teacher's own output."""
        return Query(((state, condition),), lambda output: output)

    def erased(self, noisy: State, concept: TextCondition, eta: float) -> Query:
        """Asks for :func:`erase_target` on a forget state and its captions; ``eta`` 0 needs the anchor alone."""
        if eta == 0:
            return self.output(noisy, self.anchor)
        requests = ((noisy, self.anchor), (noisy, concept), (noisy, self.null))
        return Query(requests, lambda anchor, own, null: erase_target(anchor, own, null, eta))

    @torch.no_grad()
    def predict(self, *queries: Query) -> list[Tensor]:
        """The target ``(batch, frames', ...)`` of each query, from one forward that asks nothing twice."""
        distinct = {_key(request): request for query in queries for request in query.requests}
        predicted = predict_jointly(self.backbone, list(distinct.values())) if distinct else []
        outputs = dict(zip(distinct, predicted, strict=True))
        return [query.combine(*(outputs[_key(request)] for request in query.requests)) for query in queries]


def _key(request: Request) -> tuple[int, int]:
    return id(request[0]), id(request[1])


def drop_condition(
    condition: TextCondition, null: TextCondition, share: float, generator: torch.Generator | None
) -> TextCondition:
    """Replace each prompt by the empty one with probability ``share`` (what trains the unconditional output).

    ``null`` holds one prompt.
    """
    if share <= 0:
        return condition
    device = condition.tokens.device
    draw = torch.rand(len(condition), generator=generator, device=None if generator is None else generator.device)
    rows = torch.arange(len(condition)).where(draw.cpu() >= share, len(condition))
    return concat_conditions([condition, null.to(device)]).select(rows)
