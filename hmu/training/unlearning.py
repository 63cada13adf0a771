"""One LightningModule and one function that run every trained method on every backbone."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, StackDataset

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.safe import first_nonfinite
from hmu.data.clips import MotionClips
from hmu.errors import ConfigError
from hmu.methods.base import Side, TrainedMethod
from hmu.methods.edit import Edit, weights_of
from hmu.progress import phase
from hmu.training.batches import SideCache, plan
from hmu.training.callbacks import Steps
from hmu.training.divergence import Diverged
from hmu.training.trainer import adamw, fit

log = logging.getLogger(__name__)

Pair = tuple[Side, Side]
#: trainer of those who give none
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    **dict.fromkeys(("enable_checkpointing", "logger", "enable_progress_bar", "enable_model_summary"), False),
}


class UnlearningModule(L.LightningModule):
    """Minimises a method's loss over the parameters that its ``setup`` returned.

    Only those parameters are registered here, so that a checkpoint of this module is small and DDP synchronises nothing
    else; the backbone (the student, on which ``method`` has been set up) is moved to the device at the start. Every
    process draws its own noise.
    """

    def __init__(
        self, method: TrainedMethod, backbone: MotionBackbone, trained: Mapping[str, nn.Parameter], seed: int
    ) -> None:
        super().__init__()
        self.method, self.seed = method, seed
        self._student = [backbone]  # in a list: not a submodule
        self.trained = nn.ParameterDict({name.replace(".", "/"): p for name, p in trained.items()})
        self.averages: dict[str, float] = {}
        self.stopped: str | None = None
        self._recent: deque[dict[str, float]] = deque(maxlen=method.stop_window)
        self._generator: torch.Generator | None = None

    @property
    def generator(self) -> torch.Generator:
        """Noise source on the CPU, so that a seed means the same noise on every device; one per process."""
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.global_rank)
        return self._generator

    def on_fit_start(self) -> None:
        """Move student and teacher to this process's device."""
        self._student[0].to(self.device)
        self.method.to(self.device)

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        """One step of the method's loss (a scalar); asks the method whether to stop."""
        terms = self.method.loss(self._student[0], *batch, self.generator)
        size = len(batch[0])
        values = {name: float(value.detach()) for name, value in terms.items()}
        self.log_dict({f"train/{name}": value for name, value in values.items()}, batch_size=size)
        self.log("loss", values["loss"], prog_bar=True, logger=False, batch_size=size)
        self._check(values)
        self._watch(values)
        return terms["loss"]

    def _check(self, values: dict[str, float]) -> None:
        """Stop at the first loss of any process that is no number."""
        bad = not all(map(math.isfinite, values.values()))
        if self.trainer.world_size > 1:
            bad = self.trainer.strategy.reduce_boolean_decision(bad, all=False)
        if bad:
            raise Diverged("the loss", self.global_step + 1, "method.lr", self.method.lr)

    def _watch(self, values: dict[str, float]) -> None:
        self._recent.append(values)
        self.averages = {name: sum(v[name] for v in self._recent) / len(self._recent) for name in values}
        full = len(self._recent) == self._recent.maxlen
        reason = self.method.should_stop(self.averages) if full else None
        strategy = self.trainer.strategy
        if self.trainer.world_size > 1 and strategy.reduce_boolean_decision(reason is not None, all=False):
            reason = reason or "another process asked for it"
        if reason is not None and self.stopped is None:
            self.stopped = reason
            self.trainer.should_stop = True
            log.warning("stopped after %d steps: %s", self.global_step + 1, reason)

    def configure_optimizers(self) -> Any:
        """AdamW with the method's numbers."""
        return adamw(self.trained.values(), self.method, self.trainer.max_steps)

    def transfer_batch_to_device(self, batch: Pair, device: torch.device, dataloader_idx: int) -> Pair:
        """Our typed sides know how to move themselves."""
        return batch[0].to(device), batch[1].to(device)


@contextmanager
def restored(backbone: MotionBackbone, method: TrainedMethod) -> Iterator[None]:
    """Afterwards the backbone is what it was: modules, weights bit for bit, which of them train, and its modes."""
    weights = {name: value.detach().clone() for name, value in weights_of(backbone.network()).items()}
    trains = [(parameter, parameter.requires_grad) for parameter in backbone.parameters()]
    modes = [(module, module.training) for module in backbone.modules()]
    device = next(iter(weights.values())).device
    try:
        yield
    finally:
        method.teardown(backbone)
        backbone.to(device)
        with torch.no_grad():
            for name, value in weights_of(backbone.network()).items():
                value.copy_(weights[name])
        for parameter, flag in trains:
            parameter.requires_grad_(flag)
            parameter.grad = None
        for module, mode in modes:
            module.training = mode


def run_method(
    method: TrainedMethod,
    backbone: MotionBackbone,
    forget: MotionClips,
    retain: MotionClips,
    trainer: Mapping[str, Any] | None = None,
    seed: int = 0,
    *,
    concept: str = "",
) -> Edit:
    """Train ``method`` on the two sides and return its edit; ``backbone`` is left as it was, bit for bit.

    ``settings["training"]`` of the edit says how many steps ran, in how many seconds, why they stopped, and the running
    averages of the loss terms at the end. Only the process of rank 0 should save it.

    Args:
        trainer: keyword arguments of ``lightning.Trainer`` (device, strategy, logger, precision ...).
        seed: decides the order of clips, the choice of captions, the noise, and the first adapter weights.
        concept: name written into the edit.

    Raises:
        ConfigError: the method does not fit the backbone, the batch does not share out among the processes, or the
            training diverged (:class:`~hmu.training.divergence.Diverged`).
    """
    reason = method.fits(backbone)
    if reason is not None:
        raise ConfigError(f"method={method.name} does not fit backbone {backbone.name}: {reason}")
    runner = L.Trainer(**trainer_arguments(trainer, method, len(forget)))
    with restored(backbone, method), torch.random.fork_rng():
        torch.manual_seed(seed)  # the same adapters in every process
        backbone.requires_grad_(False)
        begin = time.perf_counter()
        with phase("preparing clips"):
            pairs = cache_sides(method, backbone, (forget, retain), seed, runner)
        cached = time.perf_counter()
        module = UnlearningModule(method, backbone, method.setup(backbone), seed)
        with phase("training", len(pairs), "steps") as steps:
            runner.callbacks.append(Steps(steps))  # type: ignore[attr-defined]
            fit(runner, module, train_dataloaders=DataLoader(pairs, batch_size=None, num_workers=0))
        bad = first_nonfinite(dict(module.trained))
        if bad is not None:
            raise Diverged(f"the weight '{bad.replace('/', '.')}'", runner.global_step, "method.lr", method.lr)
        edit = method.to_edit(backbone)
        edit.concept = concept
        edit.settings["training"] = {
            "steps": runner.global_step,
            "of": len(pairs),
            "stopped": module.stopped or ("a callback asked for it" if runner.global_step < len(pairs) else None),
            "seconds": round(time.perf_counter() - cached, 2),
            "seconds_caching": round(cached - begin, 2),
            "terms": {name: round(value, 6) for name, value in module.averages.items()},
        }
    return edit


def trainer_arguments(trainer: Mapping[str, Any] | None, method: TrainedMethod, forget_clips: int) -> dict[str, Any]:
    """The trainer's arguments with what belongs to the method: length and clipping."""
    return {
        **(QUIET if trainer is None else trainer),
        "max_steps": method.total_steps(forget_clips),
        "max_epochs": 1,
        "min_epochs": 0,
        "min_steps": 0,
        "gradient_clip_val": method.grad_clip,
        "use_distributed_sampler": False,
    }


def cache_sides(
    method: TrainedMethod, backbone: MotionBackbone, sides: Sequence[MotionClips], seed: int, runner: L.Trainer
) -> StackDataset[Any]:
    """Plan the run, and compute once what the steps of this process need; ``sides`` are forget and retain.

    Raises:
        ConfigError: fewer clips per step than processes.
    """
    world = runner.world_size
    if method.batch_size < world or method.batch_size % world:
        raise ConfigError(
            f"method.batch_size={method.batch_size} does not share out among {world} processes: choose a multiple"
        )
    steps = method.total_steps(len(sides[0]))
    caches = []
    for number, clips in enumerate(sides):
        share = plan(len(clips), method.batch_size, steps, seed * 2 + number)[:, :, runner.global_rank :: world]
        caches.append(SideCache(backbone, clips, share))
    return StackDataset(*caches)
