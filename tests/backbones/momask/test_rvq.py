from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.backbones.draws import Draws
from hmu.backbones.tokens.options import RvqOptions
from hmu.backbones.tokens.quantizer import Codebook, ResidualQuantizer, nearest
from hmu.backbones.tokens.rvq import Rvq, rvq_terms
from tests import published

from .conftest import seeded

SMALL = published.options(
    RvqOptions, codes=6, code_dim=4, quantizers=3, width=8, depth=2, dropout=0.0, quantize_dropout=0.0
)
FEATURES = 23


def filled(variant: str = "default", **changes) -> Rvq:
    torch.manual_seed(0)
    model = Rvq(FEATURES, replace(SMALL, **changes), variant)
    for book in model.quantizer.books():
        book.codebook.normal_(generator=seeded(3), std=0.2)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def motion(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, FEATURES, generator=seeded(5))


@pytest.mark.parametrize("norm", ["none", "LN", "GN", "BN"])
def test_a_padded_clip_is_encoded_and_decoded_as_alone(norm):
    model, x = filled(norm=norm, width=8), motion(2, 24)
    lengths = torch.tensor([24, 12])
    x[1, 12:] = 7.0  # rubbish beyond the end
    ids = model.encode(x, lengths)
    alone = model.encode(x[1:, :12])
    assert torch.equal(ids[1, :3], alone[0])
    assert (ids[1, 3:] == -1).all()
    decoded = model.decode(ids, lengths)
    torch.testing.assert_close(decoded[1, :12], model.decode(alone)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", ["GN", "BN"])
def test_norms_leave_padding_out_in_training_too(norm):
    model, x = filled(norm=norm).train(), motion(2, 16)
    lengths = torch.tensor([16, 8])
    first = model.latents(x, lengths)
    x[1, 8:] = 50.0
    torch.testing.assert_close(model.latents(x, lengths)[1, :2], first[1, :2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", ["default", "upstream"])
def test_encoding_never_changes_a_codebook(variant):
    model = filled(variant).train()
    before = [book.codebook.clone() for book in model.quantizer.books()]
    model.encode(motion(2, 16))
    model.eval()(motion(2, 16))
    assert all(torch.equal(a, b.codebook) for a, b in zip(before, model.quantizer.books(), strict=True))


def test_training_on_keeps_loaded_codes_where_the_authors_lose_them():
    for variant, kept in (("default", True), ("upstream", False)):
        model = filled(variant).train()
        before = model.quantizer.books()[0].codebook.clone()
        model(motion(4, 16), draws=Draws(seeded()))
        change = (model.quantizer.books()[0].codebook - before).norm() / before.norm()
        assert (change < 0.1) == kept, variant


def test_first_batch_fills_empty_codebooks_with_its_latents():
    model = Rvq(FEATURES, SMALL).train()
    model(motion(8, 16), draws=Draws(seeded()))
    for book in model.quantizer.books():
        assert book.codebook.any()
        assert (book.code_count > 0).all()


def test_unused_codes_move_to_random_latents_and_forget_their_old_place():
    book = Codebook(replace(SMALL, decay=0.5), "default")
    x = torch.randn(40, 4, generator=seeded(1)) + 3.0
    book.codebook.copy_(torch.full((6, 4), -50.0))
    book.codebook[0] = 3.0
    draws = Draws(seeded(2))
    for _ in range(8):
        book.start(x, draws)
        book.update(x, nearest(x, book.codebook), draws)
    assert (book.codebook > -5).all()  # an average with the old place would lie far below
    first = torch.cdist(book.codebook, x[:6]).min(1).values
    assert (first > 1e-3).any()  # not simply the first rows of the batch


def test_running_averages_follow_the_batch():
    book = Codebook(replace(SMALL, codes=2, reset_below=0.01), "default")
    book.codebook.copy_(torch.tensor([[0.0] * 4, [10.0] * 4]))
    x = torch.cat([torch.full((3, 4), 1.0), torch.full((1, 4), 9.0)])
    draws = Draws(seeded())
    book.start(x, draws)
    assert book.code_count.tolist() == [2.0, 2.0]  # four tokens share out on two codes
    book.update(x, nearest(x, book.codebook), draws)
    torch.testing.assert_close(book.code_count, torch.tensor([0.99 * 2 + 0.03, 0.99 * 2 + 0.01]))
    expected = (0.99 * 2 * 0.0 + 0.01 * 3.0) / (0.99 * 2 + 0.03)
    torch.testing.assert_close(book.codebook[0], torch.full((4,), expected))


def test_straight_through_gradient_is_the_identity():
    for variant, slope in (("default", 1.0), ("upstream", 3.0)):
        quantizer = ResidualQuantizer(SMALL, variant).eval()
        for book in quantizer.books():
            book.codebook.normal_(generator=seeded(1))
        x = torch.randn(2, 5, 4, requires_grad=True)
        quantizer(x).latent.sum().backward()
        torch.testing.assert_close(x.grad, torch.full_like(x, slope))


def test_training_works_on_a_single_clip():
    model = filled().train()
    x = motion(1, 16)
    output = model(x, draws=Draws(seeded()))
    rvq_terms(output, x, SMALL, slice(4, 7))["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_quantise_dropout_leaves_out_trailing_layers():
    model = filled(quantize_dropout=1.0).train()
    seen = set()
    for seed in range(20):
        ids = model(motion(2, 8), draws=Draws(seeded(seed))).ids
        used = (ids >= 0).all(0).all(0)
        assert used.tolist() == sorted(used.tolist(), reverse=True)
        seen.add(int(used.sum()))
    assert seen == {1, 2, 3}


def test_eval_output_is_the_decoded_ids():
    model, x = filled(), motion(2, 16)
    output = model(x)
    assert torch.equal(output.ids, model.encode(x))
    torch.testing.assert_close(output.recon, model.decode(output.ids))


def test_padding_counts_neither_in_the_loss_nor_in_the_codebooks():
    results = []
    for junk in (0.0, 9.0):
        model, x = filled().train(), motion(2, 16)
        x[1, 8:] = junk
        lengths = torch.tensor([16, 8])
        output = model(x, lengths, Draws(seeded(1)))
        assert (output.ids[1, 2:] == -1).all()
        results.append((rvq_terms(output, x, SMALL, slice(4, 7), lengths)["loss"], model.quantizer.books()[0].codebook))
    torch.testing.assert_close(results[0], results[1])


def test_shared_codebook_is_one_buffer_under_all_names():
    model = Rvq(FEATURES, replace(SMALL, shared=True))
    assert len({id(book) for book in model.quantizer.books()}) == 1
    names = [name for name in model.state_dict() if name.endswith(".codebook")]
    assert names == [f"quantizer.layers.{q}.codebook" for q in range(3)]
    assert len([n for n, _ in model.named_buffers() if n.endswith(".codebook")]) == 1


def test_noise_comes_only_with_the_codes_that_have_it():
    quantizer = filled().quantizer
    ids = torch.tensor([[[0, 1, 2], [1, 1, 2], [-1, -1, -1]]])
    plain = quantizer.decode(ids)
    quantizer.books()[0].code_noise[1] = 2.0
    one, two = quantizer.decode(ids, seeded(1)), quantizer.decode(ids, seeded(2))
    assert torch.equal(one[0, 0], plain[0, 0])
    assert not one[0, 2].any()
    assert not torch.equal(one[0, 1], two[0, 1])
    assert torch.equal(one, quantizer.decode(ids, seeded(1)))
    assert "code_noise" not in " ".join(quantizer.state_dict())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 5), st.integers(0, 10**6))
def test_nearest_is_the_nearest(rows, codes, width, seed):
    generator = seeded(seed)
    x, book = (torch.randn(n, width, generator=generator, dtype=torch.float64) for n in (rows, codes))
    assert torch.equal(nearest(x, book), torch.cdist(x, book).argmin(1))


def test_options_refuse_what_cannot_work():
    from hmu.errors import ConfigError

    with pytest.raises(ConfigError, match="norm=XX"):
        published.options(RvqOptions, norm="XX")
    with pytest.raises(ConfigError, match="stride=3"):
        published.options(RvqOptions, stride=3)
    with pytest.raises(ConfigError, match="depth=0: expected a whole number, at least 1"):
        published.options(RvqOptions, depth=0)
