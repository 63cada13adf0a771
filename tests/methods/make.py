"""Methods with the numbers of their files, and whatever a test changes."""

from __future__ import annotations

from functools import partial

from hmu.compose import configured

NAMES = ("esd", "finetune", "lora", "uce", "rece")
esd, finetune, lora, uce, rece = (partial(configured, "method", name) for name in NAMES)
lcr = partial(configured, "method", "lcr", cache=None)
