"""PEFT adapters on a backbone's network: put on, read, taken off again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

ADAPTER = "default"


def inject(backbone: MotionBackbone, rank: int, alpha: float, dropout: float) -> dict[str, nn.Parameter]:
    """Put LoRA adapters on the backbone's ``adapter_targets`` and freeze everything else.

    ``A`` starts Kaiming-uniform with a = sqrt 5 (from torch's global generator), ``B`` zero: nothing changes yet.
    Returns the adapters' parameters by name.
    """
    from peft import LoraConfig, inject_adapter_in_model  # lazily: imports transformers

    network = backbone.network()
    targets = list(backbone.adapter_targets)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, bias="none")  # type: ignore[arg-type]
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    inject_adapter_in_model(config, network, ADAPTER)
    network.eval()
    layers = lora_layers(network)
    if set(layers) != set(targets):
        raise RuntimeError(f"adapters went on {sorted(set(layers) ^ set(targets))[:3]}, not on adapter_targets exactly")
    trained: dict[str, nn.Parameter] = {}
    for name, layer in layers.items():
        layer.lora_dropout.train(dropout > 0)
        for side in ("lora_A", "lora_B"):
            trained[f"{name}.{side}"] = getattr(layer, side)[ADAPTER].weight.requires_grad_(True)
    return trained


def lora_layers(network: nn.Module) -> dict[str, LoraLayer]:
    """The adapted layers by the name their linear layer had."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in network.named_modules() if isinstance(module, LoraLayer)}


def factors(network: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Learned ``A`` ``(rank, inputs)`` and ``B`` ``(outputs, rank)`` by linear layer."""
    sides: dict[str, tuple[Any, Any]] = {
        n: (x.lora_A[ADAPTER], x.lora_B[ADAPTER]) for n, x in lora_layers(network).items()
    }
    return {name: (a.weight.detach().clone(), b.weight.detach().clone()) for name, (a, b) in sides.items()}


def remove(network: nn.Module) -> None:
    """Take the adapters off: the original linear layers are back in their places, untouched."""
    for name, layer in lora_layers(network).items():
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, layer.get_base_layer())
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        vars(network).pop(attribute, None)


def size_of(backbone: MotionBackbone, name: str) -> tuple[int, int]:
    """Outputs and inputs of a linear layer of the backbone's network."""
    layer: Any = backbone.network().get_submodule(name)
    return layer.out_features, layer.in_features


def count(backbone: MotionBackbone, rank: int) -> tuple[int, int]:
    """Parameters of rank-``rank`` adapters on ``backbone``, and of its network with them (text encoder not counted)."""
    trained = sum(rank * sum(size_of(backbone, name)) for name in backbone.adapter_targets)
    return trained, trained + sum(p.numel() for p in backbone.network().parameters())
