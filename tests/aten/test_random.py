"""Random operators draw, for one seed, the numbers the CPU draws."""

import pytest
import torch
from torch.nn import functional as F

DRAWS = {
    "rand": lambda d: torch.rand(7, 5, device=d),
    "rand_double": lambda d: torch.rand(3, device=d, dtype=torch.float64),
    "randn": lambda d: torch.randn(33, device=d),
    "randn_odd": lambda d: torch.randn(3, 5, device=d, dtype=torch.float64),
    "randn_half": lambda d: torch.randn(5, device=d, dtype=torch.bfloat16),
    "randn_complex": lambda d: torch.randn(5, device=d, dtype=torch.complex64),
    "randint": lambda d: torch.randint(-5, 9, (7,), device=d),
    "randint_wide": lambda d: torch.randint(0, 2**40, (7,), device=d),
    "randperm": lambda d: torch.randperm(17, device=d),
    "randperm_zero": lambda d: torch.randperm(0, device=d),
    "rand_like": lambda d: torch.rand_like(torch.empty(3, 5, device=d).t()),
    "randn_like": lambda d: torch.randn_like(torch.empty(5, device=d)),
    "randint_like": lambda d: torch.randint_like(torch.empty(5, device=d), 3),
    "normal_": lambda d: torch.empty(4, 4, device=d).t()[1:].normal_(2, 3),
    "normal": lambda d: torch.normal(torch.zeros(5, device=d), torch.ones(5, device=d)),
    "normal_scalar": lambda d: torch.normal(1.0, 2.0, (5,), device=d),
    "normal_mean": lambda d: torch.normal(torch.zeros(5, device=d), 2.0),
    "uniform_": lambda d: torch.empty(5, device=d).uniform_(-1, 1),
    "random_": lambda d: torch.empty(5, device=d, dtype=torch.int32).random_(),
    "random_range": lambda d: torch.empty(5, device=d).random_(3, 9),
    "bernoulli": lambda d: torch.bernoulli(torch.full((9,), 0.3, device=d)),
    "bernoulli_": lambda d: torch.empty(9, device=d).bernoulli_(0.3),
    "bernoulli_tensor": lambda d: torch.empty(9, device=d).bernoulli_(
        torch.full((9,), 0.5, device=d)
    ),
    "multinomial": lambda d: torch.multinomial(torch.ones(3, 7, device=d), 5),
    "multinomial_again": lambda d: torch.multinomial(torch.ones(7, device=d), 9, replacement=True),
    "exponential_": lambda d: torch.empty(5, device=d).exponential_(2),
    "geometric_": lambda d: torch.empty(5, device=d).geometric_(0.3),
    "cauchy_": lambda d: torch.empty(5, device=d).cauchy_(),
    "log_normal_": lambda d: torch.empty(5, device=d).log_normal_(),
    "poisson": lambda d: torch.poisson(torch.full((5,), 3.0, device=d)),
    "binomial": lambda d: torch.binomial(
        torch.full((5,), 9.0, device=d), torch.full((5,), 0.5, device=d)
    ),
    "dirichlet": lambda d: torch._sample_dirichlet(torch.ones(3, 4, device=d)),
    "gamma": lambda d: torch._standard_gamma(torch.full((5,), 2.0, device=d)),
    "dropout": lambda d: F.dropout(torch.ones(33, device=d), 0.4),
    "dropout_": lambda d: F.dropout(torch.ones(33, device=d), 0.4, inplace=True),
    "native_dropout": lambda d: torch.native_dropout(torch.ones(33, device=d), 0.4, True),
    "dropout2d": lambda d: F.dropout2d(torch.ones(2, 5, 3, 3, device=d), 0.5),
    "alpha_dropout": lambda d: F.alpha_dropout(torch.ones(33, device=d), 0.4, training=True),
    "feature_alpha": lambda d: F.feature_alpha_dropout(
        torch.ones(3, 4, 5, device=d), 0.4, training=True
    ),
    "rrelu": lambda d: F.rrelu(-torch.ones(9, device=d), training=True),
    "rrelu_": lambda d: F.rrelu_(-torch.ones(9, device=d), training=True),
    "gumbel": lambda d: F.gumbel_softmax(torch.ones(3, 4, device=d)),
    "fractional": lambda d: F.fractional_max_pool2d(
        torch.arange(50.0, device=d).view(1, 2, 5, 5), 2, output_size=3
    ),
    "trunc_normal": lambda d: torch.nn.init.trunc_normal_(torch.empty(9, device=d)),
    "orthogonal": lambda d: torch.nn.init.kaiming_uniform_(torch.empty(4, 5, device=d)),
    "sdpa_dropout": lambda d: F.scaled_dot_product_attention(
        torch.ones(1, 2, 4, 8, device=d),
        torch.ones(1, 2, 4, 8, device=d),
        torch.ones(1, 2, 4, 8, device=d),
        None,
        0.5,
    ),
    "categorical": lambda d: torch.distributions.Categorical(torch.ones(5, device=d)).sample((4,)),
    "distribution": lambda d: torch.distributions.Normal(torch.zeros(3, device=d), 1.0).rsample(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_draw_equals_the_cpu_draw_for_the_same_seed(same, draw) -> None:
    same(lambda d: [draw(d), draw(d)], torch.device("cpu"))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_draw_leaves_the_cpu_generator_alone_and_moves_the_npu_one(npu, draw) -> None:
    before, moved = torch.get_rng_state(), torch.npu.get_rng_state(npu)
    draw(npu)
    assert torch.equal(torch.get_rng_state(), before)
    if draw is not DRAWS["randperm_zero"]:
        assert not torch.equal(torch.npu.get_rng_state(npu), moved)


GENERATED = {
    "rand": lambda g: torch.rand(5, device=g.device, generator=g),
    "randn": lambda g: torch.randn(5, device=g.device, generator=g),
    "randint": lambda g: torch.randint(9, (5,), device=g.device, generator=g),
    "randperm": lambda g: torch.randperm(9, device=g.device, generator=g),
    "normal_": lambda g: torch.empty(5, device=g.device).normal_(generator=g),
    "uniform_": lambda g: torch.empty(5, device=g.device).uniform_(generator=g),
    "bernoulli": lambda g: torch.bernoulli(torch.full((5,), 0.5, device=g.device), generator=g),
    "multinomial": lambda g: torch.multinomial(torch.ones(5, device=g.device), 3, generator=g),
    "exponential_": lambda g: torch.empty(5, device=g.device).exponential_(generator=g),
    "out": lambda g: torch.rand(5, generator=g, out=torch.empty(0, device=g.device)),
}


@pytest.mark.parametrize("draw", GENERATED.values(), ids=GENERATED.keys())
def test_an_npu_generator_draws_what_a_cpu_generator_draws(npu, draw) -> None:
    ours = torch.Generator(device=npu).manual_seed(7)
    theirs = torch.Generator().manual_seed(7)
    default = torch.npu.get_rng_state(npu)
    for _ in range(2):
        assert torch.equal(draw(ours).cpu(), draw(theirs))
    assert torch.equal(torch.npu.get_rng_state(npu), default)


@pytest.mark.parametrize("draw", GENERATED.values(), ids=GENERATED.keys())
def test_a_saved_state_repeats_the_draw(npu, draw) -> None:
    generator = torch.Generator(device=npu).manual_seed(3)
    draw(generator)
    state = generator.get_state()
    copy = generator.clone_state()
    first = draw(generator)
    generator.set_state(state)
    assert torch.equal(draw(generator), first)
    assert torch.equal(draw(copy), first)


def test_graphsafe_state_is_shared_not_copied(npu) -> None:
    a, b = torch.Generator(device=npu).manual_seed(1), torch.Generator(device=npu).manual_seed(2)
    b.graphsafe_set_state(a.graphsafe_get_state())
    torch.rand(3, device=npu, generator=a)
    assert torch.equal(a.get_state(), b.get_state())


def test_generator_reports_device_and_seed(npu) -> None:
    generator = torch.Generator(device=npu)
    assert generator.device == npu
    assert generator.manual_seed(11) is generator
    assert generator.initial_seed() == 11
    assert isinstance(generator.seed(), int)


def test_a_generator_of_another_device_is_refused(npu) -> None:
    with pytest.raises(
        RuntimeError, match="Expected a 'npu' device type for generator but found 'cpu'"
    ):
        torch.rand(3, device=npu, generator=torch.Generator())
    with pytest.raises(
        RuntimeError, match="Expected a 'cpu' device type for generator but found 'npu'"
    ):
        torch.rand(3, generator=torch.Generator(device=npu))


def test_each_device_has_its_own_default_generator() -> None:
    torch.manual_seed(5)
    first = torch.rand(3, device="npu:0")
    second = torch.rand(3, device="npu:1")
    assert torch.equal(first.cpu(), second.cpu())
    assert not torch.equal(torch.rand(3, device="npu:0"), first)


def test_fork_rng_restores_every_npu(npu) -> None:
    before = torch.npu.get_rng_state(npu)
    with torch.random.fork_rng(devices=[0], device_type="npu"):
        torch.rand(3, device=npu)
    assert torch.equal(torch.npu.get_rng_state(npu), before)
