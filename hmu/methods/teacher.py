"""The frozen teacher, and the batching that lets teacher and student answer everything in one forward each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, State
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


def answers(backbone: MotionBackbone, requests: Sequence[Request]) -> list[Tensor]:
    """What the network answers to several batches, in one forward; each answer has its own batch's frames.

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
    longest = max(state.valid.shape[1] for state in states)

    def stack(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([_pad_time(tensor, longest) for tensor in tensors])

    return State(
        inputs=stack([s.inputs for s in states]),
        time=torch.cat([s.time for s in states]),
        answer=stack([s.answer for s in states]),
        valid=stack([s.valid for s in states]),
    )


def _pad_time(tensor: Tensor, longest: int) -> Tensor:
    missing = longest - tensor.shape[1]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])], 1)


def erase_target(anchor: Tensor, concept: Tensor, null: Tensor, eta: float) -> Tensor:
    """What an erased model should answer to the concept: ``out0(a) - eta (out0(c) - out0(empty))``.

    Gandikota et al. 2023, with an anchor prompt ``a`` (published: the empty one). All three are answers of the *frozen*
    model to the same ``x_t``, in any one parametrisation: at a given ``x_t`` noise, velocity and sample are affine
    images of each other. With the empty anchor ``eta = 0`` makes the concept mean nothing, above 0 repels.
    """
    return anchor - eta * (concept - null)


@dataclass(frozen=True)
class Lesson:
    """The teacher's answers for one step.

    Attributes:
        redirected: :func:`erase_target` on the forget state, if asked for.
        concept: the answer to the forget captions, if asked for or needed.
        kept: the answer on the retain state, if asked for.
    """

    redirected: Tensor | None
    concept: Tensor | None
    kept: Tensor | None


class Teacher:
    """The frozen original with the prompts it is asked.

    Args:
        backbone: the base, before anything in it changes.
        anchor: prompt that takes the concept's place; empty = unconditional.
    """

    def __init__(self, backbone: MotionBackbone, anchor: str) -> None:
        self.backbone = teacher_of(backbone)
        with torch.no_grad():
            self.null = backbone.encode_text([""])
            self.anchor = backbone.encode_text([anchor]) if anchor else self.null

    def to(self, device: torch.device) -> None:
        """Move the frozen network (what is shared with the student moves with it)."""
        self.backbone.network().to(device)

    @torch.no_grad()
    def teach(
        self,
        noisy: State,
        concept: TextCondition,
        kept: Request | None,
        *,
        eta: float,
        redirect: bool = True,
        ask_concept: bool = False,
    ) -> Lesson:
        """All answers that a step needs, from one batched forward; prompts without effect are not asked.

        Args:
            noisy, concept: the forget state and its captions.
            kept: the retain state and its captions, where the teacher's answer is wanted.
            eta: negative guidance; 0 saves the forward on the concept.
            redirect: whether the erased answer is wanted.
            ask_concept: whether the answer to the forget captions is wanted for its own sake.
        """
        requests: dict[str, Request] = {}
        if redirect:
            requests["anchor"] = (noisy, self.anchor)
        if ask_concept or (redirect and eta != 0):
            requests["concept"] = (noisy, concept)
        if redirect and eta != 0 and self.anchor is not self.null:
            requests["null"] = (noisy, self.null)
        if kept is not None:
            requests["kept"] = kept
        if not requests:
            return Lesson(None, None, None)
        got = dict(zip(requests, answers(self.backbone, list(requests.values())), strict=True))
        redirected = got.get("anchor")
        if redirected is not None and eta != 0:
            redirected = erase_target(redirected, got["concept"], got.get("null", redirected), eta)
        return Lesson(redirected, got.get("concept"), got.get("kept"))


def drop_condition(
    condition: TextCondition, null: TextCondition, share: float, generator: torch.Generator | None
) -> TextCondition:
    """Replace each prompt by the empty one with probability ``share`` (what trains the unconditional answer).

    ``null`` holds one prompt and is not longer than ``condition`` after padding.
    """
    if share <= 0:
        return condition
    device = condition.tokens.device
    draw = torch.rand(len(condition), generator=generator, device=None if generator is None else generator.device)
    drop = (draw < share).to(device)
    longest = max(condition.tokens.shape[1], null.tokens.shape[1])
    condition, null = _pad_words(condition, longest), _pad_words(null.to(device), longest)
    tokens = torch.where(drop[:, None, None], null.tokens, condition.tokens)
    mask = torch.where(drop[:, None], null.mask, condition.mask)
    pooled = condition.pooled
    if pooled is not None and null.pooled is not None:
        pooled = torch.where(drop[:, None], null.pooled, pooled)
    return TextCondition(tokens, mask, pooled)


def _pad_words(condition: TextCondition, longest: int) -> TextCondition:
    missing = longest - condition.tokens.shape[1]
    tokens = nn.functional.pad(condition.tokens, (0, 0, 0, missing))
    return TextCondition(tokens, nn.functional.pad(condition.mask, (0, missing)), condition.pooled)
