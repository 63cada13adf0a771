from __future__ import annotations

import torch

from hmu.backbones.bamm.corruption import Hidden, corrupt, draw
from hmu.backbones.bamm.generation import with_end

from .conftest import CODES, options, seeded

LENGTHS = torch.tensor([7, 2, 5])


def answer():
    ids = torch.randint(CODES, (3, 8), generator=seeded(1))
    return with_end(ids, LENGTHS, CODES)


def test_everything_hidden_stays_inside_the_clip():
    yes = torch.ones(3, 8, dtype=torch.bool)
    state = corrupt(answer(), LENGTHS, Hidden(yes, yes, torch.full((3, 8), 5)))
    place = torch.arange(8)[None]
    assert torch.equal(state.conditions, place <= LENGTHS[:, None])
    assert torch.equal(state.valid, place <= LENGTHS[:, None])
    assert (state.ids[place < LENGTHS[:, None]] == 5).all()
    assert torch.equal(state.ids[place >= LENGTHS[:, None]], answer()[place >= LENGTHS[:, None]])
    assert torch.equal(state.target, answer())


def test_nothing_hidden_is_the_answer():
    no = torch.zeros(3, 8, dtype=torch.bool)
    state = corrupt(answer(), LENGTHS, Hidden(no, no, torch.zeros(3, 8, dtype=torch.long)))
    assert torch.equal(state.ids, answer())
    assert not state.conditions.any()


def test_rates_are_drawn_per_batch():
    shown, replaced = [], []
    for seed in range(200):
        hidden = draw((8, 50), CODES, options(), seeded(seed), torch.device("cpu"))
        assert 0 <= hidden.random_ids.min() <= hidden.random_ids.max() < CODES
        shown.append(float(hidden.shown.float().mean()))
        replaced.append(float(hidden.replaced.float().mean()))
    without = sum(share == 0 for share in shown) / 200
    assert 0.4 < without < 0.6
    assert max(shown) < 0.6
    assert 0.2 < sum(replaced) / 200 < 0.3
    quiet = draw((8, 50), CODES, options(condition_chance=0.0, random_rate=0.0), seeded(), torch.device("cpu"))
    assert not quiet.shown.any()
    assert not quiet.replaced.any()


def test_draws_follow_the_generator():
    one, two, three = (draw((2, 9), CODES, options(), seeded(s), torch.device("cpu")) for s in (1, 1, 2))
    assert torch.equal(one.random_ids, two.random_ids)
    assert torch.equal(one.replaced, two.replaced)
    assert not torch.equal(one.random_ids, three.random_ids)
