"""The trainer byol_pytorch: equal to our own, step by step and as a whole, and its constructor leaves no trace."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from galaxy_assets import plugins
from galaxy_assets.plugins.training_contracts import check_trainer
from galaxy_assets.science import byol, byol_pytorch
from galaxy_assets.science.byol import Byol
from galaxy_assets.science.byol_pytorch import PackageByol
from galaxy_assets.science.encoders.network import Encoder
from galaxy_assets.science.encoders.weights import build_encoder, random_weights
from galaxy_assets.science.training import adam
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.checkpoints import StateFile
from galaxy_assets_tests.science.test_byol import online_state, small_encoder, statistics, target_state

CPU = torch.device("cpu")
RECIPE = Recipe(
    preset="paper",
    batch_norm="concat",
    backbone="test_resnet",
    image_size=16,
    epochs=2,
    batch_size=4,
    learning_rate=1e-4,
    projection_size=8,
    projection_hidden_size=16,
    tau=0.9,
    noise=0.1,
)


def states(learner: Byol | PackageByol) -> list[dict[str, torch.Tensor]]:
    """Weights and statistics of the online network, the target network and the predictor."""
    if isinstance(learner, Byol):
        return [online_state(learner), target_state(learner), learner.predictor.state_dict()]
    parts = learner.online_encoder, learner.target_encoder, learner.online_predictor
    return [part.state_dict() for part in parts]


def assert_equal(ours: Byol, theirs: PackageByol, atol: float) -> None:
    for mine, other in zip(states(ours), states(theirs), strict=True):
        assert mine.keys() == other.keys()
        for name, tensor in mine.items():
            torch.testing.assert_close(other[name], tensor, atol=atol, rtol=0, msg=name)


@pytest.mark.parametrize("freeze", [False, True])
def test_ten_steps_equal_our_own_trainers_in_float64(freeze):
    ours = Byol(small_encoder(), RECIPE, freeze=freeze).double()
    theirs = PackageByol(small_encoder(), RECIPE, freeze=freeze).double()
    assert_equal(ours, theirs, atol=0)
    before, optimisers = copy.deepcopy(target_state(ours)), [adam(ours, RECIPE), adam(theirs, RECIPE)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        views = [torch.rand((6, 3, 16, 16), generator=generator, dtype=torch.float64) for _ in range(2)]
        loss = byol.step(ours, optimisers[0], *views, bfloat16=False)
        other = byol_pytorch.step(theirs, optimisers[1], *views)
        assert float(other) == pytest.approx(float(loss), abs=1e-10)
    assert_equal(ours, theirs, atol=1e-10)
    assert not all(torch.equal(tensor, before[name]) for name, tensor in target_state(ours).items())


def trained(trainer: str, folder, *, freeze: bool) -> tuple[Encoder, list[float]]:
    """Two epochs of a trainer through its plug-in, from statistics that are not 0 and 1: the encoder and the losses."""
    encoder, losses = small_encoder(), []
    encoder.train()(torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(2)))
    plugins.load("trainers", trainer)(
        encoder,
        np.random.default_rng(0).integers(0, 256, (11, 20, 20, 3), np.uint8),
        np.arange(11),
        RECIPE.model_copy(update={"trainer": trainer}),
        freeze=freeze,
        devices=[CPU],
        state=StateFile(folder / f"{trainer}.pt"),
        on_epoch=lambda result, _: losses.append(result.loss),
    )
    return encoder, losses


@pytest.fixture
def float64():
    """Networks are made in double precision: what rounding in float32 does, two epochs of Adam enlarge."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("freeze", [False, True])
def test_two_epochs_equal_our_own_trainers_through_the_plug_ins(tmp_path, freeze, float64):
    """From the same pixels: the same order, views, heads and start, and statistics kept or not."""
    ours, losses = trained("byol", tmp_path, freeze=freeze)
    theirs, others = trained("byol_pytorch", tmp_path, freeze=freeze)
    assert len(losses) == 2 and others == pytest.approx(losses, abs=1e-10)
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(theirs.state_dict()[name], tensor, atol=1e-10, rtol=0, msg=name)
    start = small_encoder()
    moved = [(ours.state_dict()[name] - tensor).abs().max() for name, tensor in start.named_parameters()]
    assert ours.mean.dtype == torch.float64 and min(moved) > 1e-4


def test_the_constructor_leaves_no_trace(tmp_path):
    """Its noise passes the networks in training mode, and afterwards nothing is known of it: statistics and heads are
    as new, the random state is as it was, and no simplicial embedding stands before the projector."""
    encoder = build_encoder("test_resnet", "random", seed=0, weights=tmp_path).train()
    before, state = copy.deepcopy(encoder.state_dict()), torch.random.get_rng_state()
    learner = PackageByol(encoder, RECIPE, freeze=False)
    assert torch.equal(torch.random.get_rng_state(), state)
    for network in (learner.online_encoder, learner.target_encoder):
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.net.state_dict().items())
        assert [type(part) for part in network.projector] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    heads = learner.online_encoder.projector, learner.target_encoder.projector, learner.online_predictor
    for head in heads:
        fresh = nn.BatchNorm1d(RECIPE.projection_hidden_size)
        assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in head[1].state_dict().items())


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_statistics_stay_and_the_heads_still_train(freeze):
    learner = PackageByol(small_encoder(), RECIPE, freeze=freeze)
    networks = learner.online_encoder, learner.target_encoder
    parts = [network.net for network in networks] + [network.projector for network in networks]
    before = [statistics(part) for part in parts]
    learner.eval().train()
    byol_pytorch.step(learner, adam(learner, RECIPE), torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16))
    kept = [torch.equal(statistics(part), b) for part, b in zip(parts, before, strict=True)]
    assert kept == [freeze, freeze, False, False]


@pytest.mark.parametrize("trainer", ["byol", "byol_pytorch"])
def test_our_trainers_keep_the_contract(trainer):
    check_trainer(trainer)


def test_the_contract_catches_a_trainer_that_starts_anew_each_time(monkeypatch):
    def forgetful(*given, state, **named):
        state.read = lambda: None
        return byol.train(*given, state=state, **named)

    monkeypatch.setattr(plugins, "load", lambda kind, name: forgetful if kind == "trainers" else random_weights)
    with pytest.raises(AssertionError, match="mine, killed in epoch 2, goes on with .*1, 2"):
        check_trainer("mine")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_norm": "per_view"}, r"byol-pytorch 0\.\d+\.\d+ normalises both views .* set batch_norm: concat"),
        ({"precision": "bfloat16"}, "set precision: float32, or trainer: byol"),
    ],
)
def test_what_the_package_cannot_do_is_refused(tmp_path, change, says):
    recipe = RECIPE.model_copy(update=change)
    given = small_encoder(), np.zeros((8, 20, 20, 3), np.uint8), np.arange(8), recipe
    settings = {"freeze": False, "devices": [CPU], "state": StateFile(tmp_path / "s.pt"), "on_epoch": print}
    with pytest.raises(ValueError, match=says):
        byol_pytorch.train(*given, **settings)


def test_a_state_of_another_version_of_the_package_is_refused(tmp_path, monkeypatch):
    trained("byol_pytorch", tmp_path, freeze=False)
    monkeypatch.setattr(byol_pytorch, "VERSION", "0.8.2")
    with pytest.raises(ValueError, match=r"another training \(it differs in byol-pytorch\); delete .*byol_pytorch.pt"):
        trained("byol_pytorch", tmp_path, freeze=False)
