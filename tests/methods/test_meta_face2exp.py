"""Algorithm 1's step against plain autograd on tiny nets. f itself is in test_feedback.py."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, algorithm_1, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import PLAIN, Compute, descend
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.networks import build_network

ETA_A, ETA_B = 0.3, 0.2


def linear(seed: int) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(4, 3).double()


def linear_batch() -> StepBatch:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        x_fer, x_fr, x_fr_aug = torch.randn(3, 5, 4, dtype=torch.float64)
        return StepBatch(x_fer, torch.tensor([0, 1, 2, 0, 1]), x_fr, x_fr_aug)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def gradient(network: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(network.parameters()))


def run(**options: Any) -> tuple[nn.Module, nn.Module, dict[str, Tensor]]:
    """One step from B = linear(0), A = linear(1) on `linear_batch()`."""
    base, adaptation = linear(0), linear(1)
    result = meta_step(
        base,
        adaptation,
        SGD(base.parameters(), lr=ETA_B),
        SGD(adaptation.parameters(), lr=ETA_A),
        linear_batch(),
        MetaOptions(**options),
        FeedbackHistory(),
    )
    return base, adaptation, result


def assert_moved(network: nn.Module, start: nn.Module, eta: float, *grads: Any) -> None:
    """Every parameter is where one step of gradient descent along the sum of `grads` leads."""
    summed = [sum(parts) for parts in zip(*grads, strict=True)]
    for after, before, grad in zip(weights(network), weights(start), summed, strict=True):
        torch.testing.assert_close(after, before - eta * grad, atol=1e-12, rtol=0)


def test_line_7_a_descends_on_the_pseudo_labels_of_the_unmoved_b() -> None:
    _, adaptation, result = run()
    batch, start = linear_batch(), linear(1)
    y_hat = linear(0)(batch.x_fr).argmax(1)
    assert result["y_hat_fr"].tolist() == y_hat.tolist()
    assert len(set(y_hat.tolist())) > 1
    loss_u = F.cross_entropy(start(batch.x_fr), y_hat)
    assert_moved(adaptation, start, ETA_A, gradient(start, loss_u))
    assert result["loss_u"].item() == loss_u.item()


def test_a_learns_from_the_augmented_view_where_asked() -> None:
    _, adaptation, _ = run(adaptation_view="augmented")
    batch, start = linear_batch(), linear(1)
    y_hat = linear(0)(batch.x_fr).argmax(1)  # B labels the plain view in either reading
    loss_u = F.cross_entropy(start(batch.x_fr_aug), y_hat)
    assert_moved(adaptation, start, ETA_A, gradient(start, loss_u))


def left_by_line_7() -> nn.Module:
    """A at theta_A'."""
    batch, adaptation = linear_batch(), linear(1)
    y_hat = linear(0)(batch.x_fr).argmax(1)
    grads = gradient(adaptation, F.cross_entropy(adaptation(batch.x_fr), y_hat))
    with torch.no_grad():
        for parameter, grad in zip(adaptation.parameters(), grads, strict=True):
            parameter.sub_(ETA_A * grad)
    return adaptation


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp", "finite_difference", "none"])
def test_a_goes_on_along_the_labelled_gradient_where_asked(way: Any) -> None:
    """From theta_A' by a second step; what f is, and what B learns, stay as they are."""
    options = {"feedback": way, "feedback_unit": "image"} if way == "exact" else {"feedback": way}
    base, adaptation, result = run(**options, adaptation_labels="steps")
    batch, start = linear_batch(), left_by_line_7()
    loss_s = F.cross_entropy(start(batch.x_fer), batch.y_fer)
    assert_moved(adaptation, start, ETA_A, gradient(start, loss_s))
    same_base, _, without = run(**options)
    assert torch.equal(result["feedback"], without["feedback"])
    for parameter, same in zip(weights(base), weights(same_base), strict=True):
        assert torch.equal(parameter, same)


def parts_of_b() -> dict[str, Any]:
    """The gradients of B's losses at theta_B, each from a pass of its own."""
    batch = linear_batch()

    def base_gradient(which: str) -> tuple[Tensor, ...]:
        base = linear(0)
        fixed = linear(0)(batch.x_fr).detach()
        losses = {
            "s": lambda: F.cross_entropy(base(batch.x_fer), batch.y_fer),
            "c": lambda: F.cross_entropy(base(batch.x_fr_aug), fixed.softmax(1)),
            "c moving": lambda: F.cross_entropy(base(batch.x_fr_aug), base(batch.x_fr).softmax(1)),
            "hat": lambda: F.cross_entropy(base(batch.x_fr), fixed.argmax(1)),
        }
        return gradient(base, losses[which]())

    return {which: base_gradient(which) for which in ("s", "c", "c moving", "hat")}


def scaled(factor: float, grads: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(factor * grad for grad in grads)


def test_b_descends_on_the_sum_of_its_three_losses() -> None:
    base, _, result = run()
    parts = parts_of_b()
    f = result["feedback"].item()
    assert abs(f) > 1e-3
    assert_moved(base, linear(0), ETA_B, parts["s"], parts["c"], scaled(f, parts["hat"]))


def test_consistency_target_moves_where_asked() -> None:
    base, _, result = run(consistency_target="moving")
    parts = parts_of_b()
    hat = scaled(result["feedback"].item(), parts["hat"])
    assert_moved(base, linear(0), ETA_B, parts["s"], parts["c moving"], hat)
    assert not torch.allclose(parts["c"][0], parts["c moving"][0])


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"w_f": 0.0}, ("s", "c")),
        ({"w_c": 0.0}, ("s", "f")),
        ({"w_s": 0.0}, ("c", "f")),
        ({"w_f": 0.0, "w_c": 0.0}, ("s",)),
    ],
)
def test_a_weight_of_zero_switches_its_term_off(
    options: dict[str, float], kept: tuple[str, ...]
) -> None:
    base, adaptation, result = run(**options)
    parts = parts_of_b()
    parts["f"] = scaled(result["feedback"].item(), parts["hat"])
    assert_moved(base, linear(0), ETA_B, *(parts[name] for name in kept))
    for with_all, without in zip(weights(run()[1]), weights(adaptation), strict=True):
        assert torch.equal(with_all, without)  # A's step does not know B's weights


def test_weights_scale_their_terms() -> None:
    base, _, result = run(w_s=2.0, w_c=0.5, w_f=3.0)
    parts = parts_of_b()
    f = result["feedback"].item()
    assert_moved(
        base,
        linear(0),
        ETA_B,
        scaled(2.0, parts["s"]),
        scaled(0.5, parts["c"]),
        scaled(3.0 * f, parts["hat"]),
    )


def test_reported_losses_are_those_of_the_definitions() -> None:
    _, adaptation, result = run()
    batch, base = linear_batch(), linear(0)
    logits = base(batch.x_fr)
    expected = {
        "loss_s": F.cross_entropy(base(batch.x_fer), batch.y_fer),
        "loss_c": F.cross_entropy(base(batch.x_fr_aug), logits.softmax(1)),
        "loss_f": result["feedback"] * F.cross_entropy(logits, logits.argmax(1)),
        "loss_s_after": F.cross_entropy(adaptation(batch.x_fer), batch.y_fer),
    }
    for name, value in expected.items():
        assert result[name].item() == pytest.approx(value.item(), abs=1e-12), name
        assert result[name].shape == ()
        assert not result[name].requires_grad


def test_no_gradient_is_left_behind() -> None:
    base, adaptation, _ = run()
    for parameter in (*base.parameters(), *adaptation.parameters()):
        assert parameter.grad is None


def test_optimisers_see_the_sum_once_a_step() -> None:
    """With momentum, a second optimiser step within one meta step would show."""
    base, adaptation = linear(0), linear(1)
    optimiser_b = SGD(base.parameters(), lr=ETA_B, momentum=0.9)
    optimiser_a = SGD(adaptation.parameters(), lr=ETA_A, momentum=0.9)
    result = meta_step(
        base, adaptation, optimiser_b, optimiser_a, linear_batch(), MetaOptions(), FeedbackHistory()
    )
    parts = parts_of_b()
    f = result["feedback"].item()
    for parameter, s, c, hat in zip(
        base.parameters(), parts["s"], parts["c"], parts["hat"], strict=True
    ):
        memory = optimiser_b.state[parameter]["momentum_buffer"]
        torch.testing.assert_close(memory, s + c + f * hat, atol=1e-12, rtol=0)


def images() -> StepBatch:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        x_fer, x_fr, x_fr_aug = torch.randn(3, 6, 3, 32, 32)
        y_fer = torch.randint(7, (6,))
    return StepBatch(x_fer + 1, y_fer, x_fr * 2, x_fr_aug - 1)


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp", "finite_difference", "none"])
@pytest.mark.parametrize("consistency_target", ["fixed", "moving"])
def test_running_statistics_move_by_one_pass_a_network(consistency_target: Any, way: Any) -> None:
    """A's by x_FR at theta_A (line 7), B's by x_FER at theta_B (line 9), and by nothing else."""
    base, adaptation = (build_network("small", 7, pretrained=False, seed=i) for i in (0, 1))
    expected_b, expected_a = (build_network("small", 7, pretrained=False, seed=i) for i in (0, 1))
    batch = images()
    meta_step(
        base,
        adaptation,
        SGD(base.parameters(), lr=ETA_B),
        SGD(adaptation.parameters(), lr=ETA_A),
        batch,
        MetaOptions(consistency_target=consistency_target, feedback=way),
        FeedbackHistory(),
    )
    expected_a(batch.x_fr)
    expected_b(batch.x_fer)
    for network, expected in ((adaptation, expected_a), (base, expected_b)):
        for (name, buffer), wanted in zip(network.named_buffers(), expected.buffers(), strict=True):
            assert torch.equal(buffer, wanted), name


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp", "finite_difference", "none"])
def test_running_statistics_are_of_labelled_faces_where_a_sees_labels(way: Any) -> None:
    """A's by x_FER at theta_A', and by nothing else."""
    runs = {}
    for labels in ("finetune", "steps"):
        base, adaptation = (build_network("small", 7, pretrained=False, seed=i) for i in (0, 1))
        start = {name: buffer.clone() for name, buffer in adaptation.named_buffers()}
        rates = SGD(base.parameters(), lr=ETA_B), SGD(adaptation.parameters(), lr=ETA_A)
        options = MetaOptions(adaptation_labels=labels, feedback=way)
        meta_step(base, adaptation, *rates, images(), options, FeedbackHistory())
        runs[labels] = adaptation
    after_line_7 = runs["finetune"]
    with torch.no_grad():
        for name, buffer in after_line_7.named_buffers():
            buffer.copy_(start[name])
    after_line_7(images().x_fer)
    pairs = zip(runs["steps"].named_buffers(), after_line_7.buffers(), strict=True)
    for (name, buffer), wanted in pairs:
        assert torch.equal(buffer, wanted), name


def test_the_step_of_training_is_algorithm_1() -> None:
    """Several steps in double precision: weights, and batch norm's running statistics."""
    base, adaptation = (network.double() for network in small_networks())
    b, a = (network.double() for network in small_networks())
    optimiser_b, optimiser_a = (
        SGD(network.parameters(), lr=eta) for network, eta in ((base, ETA_B), (adaptation, ETA_A))
    )
    history, start = FeedbackHistory(), weights(base)
    for step in range(4):
        whole = images_in_double_precision()
        batch = StepBatch(*(values.roll(step, 0)[: 6 - step] for values in vars(whole).values()))
        found = meta_step(base, adaptation, optimiser_b, optimiser_a, batch, MetaOptions(), history)
        assert abs(found["feedback"]) > 1e-3  # so that a wrong one would show
        algorithm_1(b, a, batch, ETA_B, ETA_A)
    for one, other in ((base, b), (adaptation, a)):
        for (name, value), wanted in zip(
            one.state_dict().items(), other.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(value, wanted, atol=1e-12, rtol=0, msg=name)
    assert not torch.allclose(start[0], weights(base)[0], atol=1e-3)


def test_supervised_step_is_gradient_descent_on_the_labelled_loss() -> None:
    network, start, batch = linear(0), linear(0), linear_batch()
    result = supervised_step(network, SGD(network.parameters(), lr=0.1), batch.x_fer, batch.y_fer)
    loss = F.cross_entropy(start(batch.x_fer), batch.y_fer)
    assert result["loss_s"].item() == loss.item()
    assert_moved(network, start, 0.1, gradient(start, loss))


def test_descend_wants_a_gradient_for_every_parameter() -> None:
    network = linear(0)
    with pytest.raises(ValueError, match="shorter"):
        descend(
            SGD(network.parameters(), lr=0.1),
            list(network.parameters()),
            (torch.zeros(3, 4, dtype=torch.float64),),
        )


def small_networks() -> tuple[nn.Module, nn.Module]:
    base, adaptation = (build_network("small", 7, pretrained=False, seed=i) for i in (0, 1))
    return base, adaptation


@pytest.mark.parametrize("consistency_target", ["fixed", "moving"])
def test_one_graph_at_a_time_gives_the_bits_of_all_at_once(consistency_target: Any) -> None:
    """Against B's three losses backpropagated together, every pass as Algorithm 1 has it."""
    batch = images()
    base, adaptation = small_networks()
    optimiser_b, optimiser_a = (
        SGD(n.parameters(), lr=0.1, momentum=0.9) for n in (base, adaptation)
    )
    options = MetaOptions(consistency_target=consistency_target, w_s=0.7, w_c=0.3, w_f=2.0)
    result = meta_step(
        base, adaptation, optimiser_b, optimiser_a, batch, options, FeedbackHistory()
    )

    b, a = small_networks()
    y_hat = b(batch.x_fr).argmax(1)
    grad_hat = gradient(b, F.cross_entropy(b(batch.x_fr), y_hat))
    grad_u = gradient(a, F.cross_entropy(a(batch.x_fr), y_hat))
    with torch.no_grad():
        for parameter, grad in zip(a.parameters(), grad_u, strict=True):
            parameter.add_(grad, alpha=-0.1)
    grad_after = gradient(a, F.cross_entropy(a(batch.x_fer), batch.y_fer))
    products = [(x * y).sum() for x, y in zip(grad_after, grad_u, strict=True)]
    feedback = 0.1 * torch.stack(products).sum()
    loss_s = F.cross_entropy(b(batch.x_fer), batch.y_fer)
    target = b(batch.x_fr)
    if consistency_target == "fixed":
        target = target.detach()
    loss_c = F.cross_entropy(b(batch.x_fr_aug), target.softmax(1))
    grad_sc = gradient(b, 0.7 * loss_s + 0.3 * loss_c)
    assert torch.equal(result["feedback"], feedback)
    assert torch.equal(result["loss_c"], loss_c)
    for parameter, start, sc, hat in zip(
        base.parameters(), b.parameters(), grad_sc, grad_hat, strict=True
    ):
        expected = start.detach().add(sc + 2.0 * feedback * hat, alpha=-0.1)
        assert torch.equal(parameter, expected)


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp", "finite_difference", "none"])
@pytest.mark.parametrize("consistency_target", ["fixed", "moving"])
def test_micro_batches_make_the_step_of_the_whole_batch(way: Any, consistency_target: Any) -> None:
    """For a network without batch statistics; parts of 2, 1 and 2 of 5 images."""
    results = []
    for size in (None, 2):
        base, adaptation = linear(0), linear(1)
        result = meta_step(
            base,
            adaptation,
            SGD(base.parameters(), lr=ETA_B),
            SGD(adaptation.parameters(), lr=ETA_A),
            linear_batch(),
            MetaOptions(feedback=way, consistency_target=consistency_target),
            FeedbackHistory(),
            Compute(micro_batch_size=size),
        )
        result |= {f"b{i}": w for i, w in enumerate(weights(base))}
        result |= {f"a{i}": w for i, w in enumerate(weights(adaptation))}
        results.append(result)
    for name, whole in results[0].items():
        torch.testing.assert_close(results[1][name], whole, atol=1e-10, rtol=0, msg=name)
    assert way == "none" or abs(results[0]["feedback"]) > 1e-3


def test_weight_of_the_unsupervised_loss_scales_a_s_step_and_so_f() -> None:
    _, adaptation, result = run(w_u=0.5)
    batch, start = linear_batch(), linear(1)
    grad_u = gradient(start, F.cross_entropy(start(batch.x_fr), result["y_hat_fr"]))
    assert_moved(adaptation, start, ETA_A, scaled(0.5, grad_u))
    after = gradient(adaptation, F.cross_entropy(adaptation(batch.x_fer), batch.y_fer))
    product = sum((x * y).sum() for x, y in zip(after, grad_u, strict=True))
    torch.testing.assert_close(result["feedback"], ETA_A * 0.5 * product)
    torch.testing.assert_close(result["loss_u"], run()[2]["loss_u"])


def test_lengths_of_the_gradients() -> None:
    result = run(w_s=2.0, w_f=3.0)[2]
    parts = parts_of_b()
    length = {
        name: torch.cat([grad.flatten() for grad in parts[name]]).norm() for name in ("s", "hat")
    }
    torch.testing.assert_close(result["grad_norm_s"], 2 * length["s"])
    torch.testing.assert_close(result["grad_norm_f"], 3 * result["feedback"].abs() * length["hat"])


def test_ramp_is_a_line_from_the_first_step_to_full_weights() -> None:
    options = MetaOptions(w_s=2.0, w_u=4.0, w_c=8.0, w_f=16.0, ramp_steps=4)
    ramp = [(o.w_s, o.w_u, o.w_c, o.w_f) for o in (options.at(step) for step in (0, 1, 3, 9))]
    assert ramp == [(2, 1, 2, 4), (2, 2, 4, 8), (2, 4, 8, 16), (2, 4, 8, 16)]
    assert MetaOptions().at(0) == MetaOptions()
    with pytest.raises(ValueError, match="ramp_steps is -1: give 0 or more steps"):
        MetaOptions(ramp_steps=-1)


@pytest.mark.parametrize(
    ("way", "forward", "backward"),
    [
        ("exact", 5, 5),
        ("trapezoid", 6, 6),
        ("jvp", 5, 4),
        ("finite_difference", 6, 4),
        ("none", 4, 3),
    ],
)
def test_no_forward_pass_is_redundant(way: Any, forward: int, backward: int) -> None:
    """B on x_FR, A on x_FR, A on x_FER (before too, or not at all), B on x_FER and Aug(x_FR)."""
    base, adaptation = linear(0), linear(1)
    passes: list[bool] = []
    for network in (base, adaptation):
        network.register_forward_hook(lambda _, __, logits: passes.append(logits.requires_grad))
    meta_step(
        base,
        adaptation,
        SGD(base.parameters(), lr=ETA_B),
        SGD(adaptation.parameters(), lr=ETA_A),
        linear_batch(),
        MetaOptions(feedback=way),
        FeedbackHistory(),
    )
    assert (len(passes), sum(passes)) == (forward, backward)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("way", ["exact", "trapezoid"])
def test_low_precision_step_stays_near_and_keeps_its_weights_in_float32(
    precision: Any, way: Any
) -> None:
    after = []
    for compute in (PLAIN, Compute(precision=precision)):
        base, adaptation = small_networks()
        result = meta_step(
            base,
            adaptation,
            SGD(base.parameters(), lr=0.01),
            SGD(adaptation.parameters(), lr=0.01),
            images(),
            MetaOptions(feedback=way),
            FeedbackHistory(),
            compute,
        )
        assert {w.dtype for w in weights(base) + weights(adaptation)} == {torch.float32}
        after.append((result["feedback"].item(), torch.cat([w.flatten() for w in weights(base)])))
    (exact, weights_exact), (low, weights_low) = after
    assert low == pytest.approx(exact, rel=0.3)
    assert low != exact
    assert (weights_low - weights_exact).norm() < 1e-2 * weights_exact.norm()


def images_in_double_precision() -> StepBatch:
    batch = images()
    return StepBatch(
        batch.x_fer.double(), batch.y_fer, batch.x_fr.double(), batch.x_fr_aug.double()
    )


def in_double_precision(way: Any, batch_norm: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """A after a step of the small net, and what the step tells."""
    base, adaptation = (network.double() for network in small_networks())
    batch = images_in_double_precision()
    result = meta_step(
        base,
        adaptation,
        SGD(base.parameters(), lr=ETA_B),
        SGD(adaptation.parameters(), lr=ETA_A),
        batch,
        MetaOptions(feedback=way, batch_norm=batch_norm),
        FeedbackHistory(),
    )
    return adaptation, result


def test_together_both_kinds_of_images_are_one_batch_of_batch_norm() -> None:
    """Line 7 and the pseudo labels, beside passes of the concatenated batch written out."""
    adaptation, result = in_double_precision("exact", "together")
    base, start = (network.double() for network in small_networks())
    batch = images_in_double_precision()
    both, number = torch.cat([batch.x_fr, batch.x_fer]), len(batch.x_fr)
    y_hat = base(both)[:number].argmax(1)
    assert result["y_hat_fr"].tolist() == y_hat.tolist()
    loss_u = F.cross_entropy(start(both)[:number], y_hat)
    assert_moved(adaptation, start, ETA_A, gradient(start, loss_u))
    assert result["loss_u"].item() == pytest.approx(loss_u.item(), abs=1e-12)
    _, apart = in_double_precision("exact", "separate")
    assert apart["loss_u"].item() != pytest.approx(loss_u.item(), rel=1e-3)


def test_together_exact_and_forward_mode_give_one_f() -> None:
    exact, jvp = (
        in_double_precision(way, "together")[1]["feedback"].item() for way in ("exact", "jvp")
    )
    assert exact == pytest.approx(jvp, abs=1e-10)
    assert exact != 0
