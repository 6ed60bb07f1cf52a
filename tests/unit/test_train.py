"""Training against a naive loop, bit for bit; and the results of a diverged run."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from bnopt import plugins
from bnopt.files import images
from bnopt.run import snapshots, streams
from bnopt.run.run import Run, split
from bnopt.runtime import StudyError
from bnopt.study import study
from bnopt.tasks import vgg
from bnopt.train import rate_at, train

STEPS = 12
CPU = torch.device("cpu")


@pytest.fixture
def trained(prepared, sizes, tmp_path):
    """Function: train a short run; return its curve and the folder of its snapshots."""

    def trained(norm="batch", *, initial_scale=1, seed=0, name="run", **settings):
        folder = tmp_path / name
        folder.mkdir()
        scaled = sizes | {"net": sizes["net"] | {"initial_scale": initial_scale}}
        run = Run(prepared, **scaled, norm=norm, seed=seed, device=CPU)
        defaults = {"lr": 0.1, "steps": STEPS, "test_every": 5, "snapshot_every": 0}
        return train(run, **(defaults | settings), folder=folder), folder

    return trained


def naive_net(prepared, sizes, norm, *, seed, initial_scale):
    """Return an untrained net of the task vgg, and what a frozen norm needs: the inputs of its modules."""
    data = {"train_images": torch.from_numpy(images.read(prepared).train_images), "classes": 10}
    norm_file = plugins.load("norms", norm)
    model = vgg.build(norm_file, data, **sizes["net"], seed=seed)
    seen = {}
    for name, module in model.named_modules():
        if name.endswith("linear"):
            with torch.no_grad():
                module.weight *= initial_scale
            if norm.startswith("weight_") and not name.startswith(f"{len(model)}."):
                norm_file.reparametrise(module)
        if norm == "frozen" and name.endswith("norm"):
            module.register_forward_hook(lambda module, x, _: seen.update({module: x[0].detach()}))
    return model, seen


def move_statistics(seen, share):
    """Move the statistics of frozen norms towards those of the inputs that they saw last."""
    for module, x in seen.items():
        variance, mean = torch.var_mean(x, dim=[d for d in range(x.dim()) if d != 1], correction=0)
        module.settled_mean.lerp_(mean, share)
        module.settled_var.lerp_(variance, share)


def naive_run(prepared, sizes, norm, *, lr, steps, seed, warmup=0, initial_scale=1):
    """Train with a plain loop; return loss, accuracy and test accuracy of every step, and all states θ_t."""
    raw = images.read(prepared)
    mean, std = (torch.from_numpy(v).float().view(1, -1, 1, 1) for v in (raw.mean, raw.std))
    model, seen = naive_net(prepared, sizes, norm, seed=seed, initial_scale=initial_scale)
    if norm == "frozen":
        indices = streams.batch_indices(seed, 0, len(raw.train_labels), sizes["batch_size"]).numpy()
        for _ in model:  # each pass is right for one more layer
            model((torch.from_numpy(raw.train_images[indices]).float() - mean) / std)
            move_statistics(seen, 1)
    losses, accuracies, tests, states = [], [], [], []
    for step in range(steps + 1):
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        model.eval()
        with torch.no_grad():
            guesses = model((torch.from_numpy(raw.test_images).float() - mean) / std).argmax(1)
        tests.append(sum((guesses.numpy() == raw.test_labels).tolist()) / len(raw.test_labels))
        model.train()
        if step == steps:
            break
        indices = streams.batch_indices(seed, step, len(raw.train_labels), sizes["batch_size"]).numpy()
        for name, module in model.named_modules():
            if hasattr(module, "stream"):
                module.stream = (seed, step, int(name.split(".")[0]))
        outputs = model((torch.from_numpy(raw.train_images[indices]).float() - mean) / std)
        labels = torch.from_numpy(raw.train_labels[indices])
        loss = functional.cross_entropy(outputs, labels)
        losses.append(loss.item())
        accuracies.append(sum((outputs.argmax(1) == labels).tolist()) / len(labels))
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                rate = lr * min(1, (step + 1) / (warmup * steps)) if warmup else lr
                parameter.sub_(gradient, alpha=rate)
        move_statistics(seen, 0.1)
    return losses, accuracies, tests, states


@pytest.mark.parametrize("norm", plugins.names("norms"))
def test_training_is_plain_sgd_bit_for_bit(prepared, sizes, trained, norm):
    curve, folder = trained(norm, snapshot_every=1, test_every=5)
    losses, accuracies, tests, states = naive_run(prepared, sizes, norm, lr=0.1, steps=STEPS, seed=0)

    assert curve["step"].tolist() == list(range(STEPS + 1))
    assert curve["loss"].tolist()[:-1] == losses
    assert curve["accuracy"].tolist()[:-1] == pytest.approx(accuracies)
    assert curve[["loss", "accuracy"]].iloc[-1].isna().all()
    tested = {0, 5, 10, STEPS}
    for step, accuracy in enumerate(curve["test_accuracy"]):
        if step in tested:
            assert accuracy == pytest.approx(tests[step])
        else:
            assert math.isnan(accuracy)
    assert (curve["chance"] == 0.1).all()
    assert (curve["diverged"] == 0).all()

    assert snapshots.steps(folder) == list(range(STEPS))
    for step in range(STEPS):
        state = snapshots.read(folder, step, "cpu")
        assert state.keys() == states[step].keys()
        assert all(torch.equal(state[name], states[step][name]) for name in state), step


@pytest.mark.parametrize("norm", ["none", "batch", "weight_norm", "frozen"])
@pytest.mark.parametrize(
    "changes", [{"warmup": 0.3}, {"warmup": 1}, {"initial_scale": 2}, {"warmup": 0.5, "initial_scale": 0.5}]
)
def test_warmup_and_initial_scale_are_those_of_a_naive_loop(prepared, sizes, trained, norm, changes):
    curve, folder = trained(norm, snapshot_every=1, name="changed", **changes)
    losses, *_, states = naive_run(prepared, sizes, norm, lr=0.1, steps=STEPS, seed=0, **changes)
    assert curve["loss"].tolist()[:-1] == pytest.approx(losses, rel=1e-6)
    for step in range(STEPS):
        state = snapshots.read(folder, step, "cpu")
        for name, value in states[step].items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
    plain, _ = trained(norm, name="plain")
    assert (curve["loss"] != plain["loss"])[2:STEPS].all()


@pytest.mark.parametrize(
    ("warmup_steps", "expected"),
    [
        (0, [0.4] * 6),
        (1, [0.4] * 6),
        (4, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]),
        (2.5, [0.16, 0.32, 0.4, 0.4, 0.4, 0.4]),
        (6, [0.4 * step / 6 for step in range(1, 7)]),
    ],
)
def test_the_rate_rises_linearly_and_stays(warmup_steps, expected):
    rates = [rate_at(step, lr=0.4, warmup_steps=warmup_steps) for step in range(6)]
    assert rates == pytest.approx(expected, rel=1e-14)
    assert all(rate == 0.4 for rate in rates[max(math.ceil(warmup_steps) - 1, 0) :])


def test_the_naive_loop_moves_far_enough_to_reveal_mistakes(prepared, sizes):
    losses, _, tests, states = naive_run(prepared, sizes, "batch", lr=0.1, steps=STEPS, seed=0)
    assert losses[-1] < 0.8 * losses[0]
    assert len(set(tests)) > 3
    first, last = states[0], states[-1]
    assert all(not torch.equal(first[name], last[name]) for name in first)


def test_runs_of_different_conditions_start_from_the_same_weights_at_a_seed(trained):
    _, a = trained("none", snapshot_every=STEPS, name="a")
    _, b = trained("noise", snapshot_every=STEPS, name="b")
    _, c = trained("none", snapshot_every=STEPS, name="c", lr=0.5)
    _, d = trained("none", snapshot_every=STEPS, name="d", seed=1)
    states = [snapshots.read(folder, 0, "cpu") for folder in (a, b, c, d)]
    for other in states[1:3]:
        assert all(torch.equal(states[0][name], other[name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[3][name]) for name in states[0])


@pytest.mark.parametrize("norm", ["batch", "noisy_batch"])
def test_snapshots_and_tests_do_not_change_the_run(trained, norm):
    plain, _ = trained(norm, snapshot_every=0, test_every=1000, name="plain")
    watched, _ = trained(norm, snapshot_every=3, test_every=2, name="watched")
    tested, _ = trained(norm, snapshot_every=0, test_every=1, name="tested")
    for other in (watched, tested):
        for column in ("loss", "accuracy"):
            np.testing.assert_array_equal(plain[column], other[column])
        assert plain["test_accuracy"].iloc[-1] == other["test_accuracy"].iloc[-1]

    # One more step, so that the last snapshot holds the weights after all steps above.
    _, seen = trained(norm, steps=STEPS + 1, snapshot_every=STEPS, test_every=1, name="seen")
    _, unseen = trained(norm, steps=STEPS + 1, snapshot_every=STEPS, test_every=1000, name="unseen")
    _, often = trained(norm, steps=STEPS + 1, snapshot_every=1, test_every=1000, name="often")
    last = [snapshots.read(folder, STEPS, "cpu") for folder in (seen, unseen, often)]
    for state in last[1:]:
        assert all(torch.equal(last[0][name], state[name]) for name in last[0])


def test_snapshots_are_written_at_multiples_of_their_interval(trained):
    curve, folder = trained(snapshot_every=5, name="five")
    assert snapshots.steps(folder) == snapshots.expected(curve, 5) == [0, 5, 10]
    _, folder = trained(snapshot_every=0, name="none")
    assert snapshots.steps(folder) == snapshots.expected(curve, 0) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("norm", plugins.names("norms"))
def test_the_snapshot_of_a_step_yields_the_loss_recorded_at_that_step(prepared, sizes, trained, norm):
    curve, folder = trained(norm, snapshot_every=3)
    for step in snapshots.steps(folder):
        run = Run(prepared, **sizes, norm=norm, seed=0, device=CPU)
        run.model.load_state_dict(snapshots.read(folder, step, "cpu"))
        run.set_noise(step)
        inputs, targets = run.batch(step)
        outputs = run.model(inputs)
        assert functional.cross_entropy(outputs, targets).item() == curve["loss"][step]
        assert vgg.accuracy(outputs, targets).item() == curve["accuracy"][step]


def test_noise_of_a_step_is_that_of_seed_step_and_layer(prepared, sizes):
    run = Run(prepared, **sizes, norm="noisy_batch", seed=4, device=CPU)
    run.set_noise(9)
    found = {name: module.stream for name, module in run.model.named_modules() if hasattr(module, "stream")}
    assert found == {f"{layer}.norm.1": (4, 9, layer) for layer in range(1, 6)}


def test_two_runs_of_one_seed_agree_and_two_seeds_differ(trained):
    first, _ = trained("noisy_batch", name="first")
    torch.manual_seed(77)
    again, _ = trained("noisy_batch", name="again")
    other, _ = trained("noisy_batch", name="other", seed=1)
    np.testing.assert_array_equal(first, again)
    assert (first["loss"][:STEPS] != other["loss"][:STEPS]).all()


# -- divergence -----------------------------------------------------------------------------------


def first_not_finite(prepared, sizes, norm, *, lr):
    losses, *_ = naive_run(prepared, sizes, norm, lr=lr, steps=STEPS, seed=0)
    return next(step for step, loss in enumerate(losses) if not math.isfinite(loss))


@pytest.mark.parametrize(("norm", "lr"), [("none", 1e4), ("noise", 1e4), ("none", 1e38), ("batch", 1e38)])
def test_a_diverged_run_ends_normally_and_marks_the_step(prepared, sizes, trained, norm, lr):
    first = first_not_finite(prepared, sizes, norm, lr=lr)
    assert 0 < first < STEPS - 1
    for number, (test_every, snapshot_every) in enumerate([(1, 1), (2, 3), (1000, 0), (5, 1), (1000, 1)]):
        curve, folder = trained(
            norm, lr=lr, test_every=test_every, snapshot_every=snapshot_every, name=str(number)
        )
        before, after = curve[curve["step"] < first], curve[curve["step"] >= first]
        assert curve["step"].tolist() == list(range(STEPS + 1))
        assert np.isfinite(before["loss"]).all()
        assert before["accuracy"].notna().all()
        assert (before["diverged"] == 0).all()
        assert (after["loss"] == math.inf).all()
        assert after["accuracy"].isna().all()
        assert after["test_accuracy"].isna().all()
        assert (after["diverged"] == 1).all()
        assert (curve["chance"] == 0.1).all()
        tested = [step for step in range(first) if step % test_every == 0]
        assert curve.loc[curve["test_accuracy"].notna(), "step"].tolist() == tested
        written = [step for step in range(first) if snapshot_every and step % snapshot_every == 0]
        assert snapshots.steps(folder) == snapshots.expected(curve, snapshot_every) == written


def test_a_run_that_diverges_says_so_once(trained, capsys):
    trained("none", lr=1e38)
    printed = capsys.readouterr().out
    assert printed.count("diverged") == 1


# -- a run ----------------------------------------------------------------------------------------


def test_a_data_set_smaller_than_a_batch_is_refused_with_a_sentence(prepared, sizes):
    with pytest.raises(StudyError, match="batch"):
        Run(prepared, **(sizes | {"batch_size": 100_000}), norm="none", seed=0, device=CPU)


@pytest.mark.parametrize("condition", ["vgg_noisy_batch", "deep_linear_none"])
def test_settings_are_split_into_those_of_the_run_and_the_others(small_config, prepared, condition):
    of_scale = study.written_out(small_config)
    settings = study.train_settings(of_scale, condition)
    of_run, others = split(settings)
    assert of_run | others == settings
    assert not of_run.keys() & others.keys()
    assert set(others) == {"lr", "tf32", "steps", "test_every", "snapshot_every"}
    run = Run(prepared, **of_run, seed=3, device=CPU)
    chosen = of_scale["conditions"][condition]
    assert run.name == f"{chosen['task']} {chosen['norm']} seed 3"
    _, of_probe = split(study.probe_settings(of_scale, condition, "along_gradient"))
    assert set(of_probe) == {"lr", "probe", "settings"}
