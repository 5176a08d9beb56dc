"""Averages of weights over the steps of a run: they are validated, kept and deployed, and nothing
is learnt from them."""

from collections.abc import Iterable, Mapping

from torch import nn

from face2exp_lib.networks import average_in


def decay_at(step: int, most: float) -> float:
    """The share of an average that a step leaves in it.

    It begins small, lest the first weights weigh for long: min(decay, (1 + t) / (10 + t)), the rule
    of TensorFlow's `tf.train.ExponentialMovingAverage` with `num_updates`.

    Args:
        step: in the phase, from 0. The first takes the place of whatever was there: 0.
        most: `training.ema`, 0 .. 1.
    """
    return min(most, (1 + step) / (10 + step)) if step else 0.0


def move_averages(
    averages: Mapping[str, nn.Module],
    networks: Mapping[str, nn.Module],
    trained: Iterable[str],
    step: int,
    most: float,
) -> None:
    """Let averages take in what a step has made of the networks, in place.

    A phase begins with averages of its own: after its first step they all are the networks as they
    stand then, those that it does not train, too, since what came before may have been another
    network (Noisy Student's rounds). Learning rates end at 0, so little is lost by it.

    Batch norm's running statistics are averaged with the weights, as timm and torchvision's
    reference training do; the released code of FixMatch and USB takes the latest ones. Counters are
    copied.

    Args:
        averages: by the names of their networks; none, and nothing is done.
        networks: as the step left them.
        trained: names of those that the phase trains.
        step: in the phase, from 0.
        most: `training.ema`.
    """
    decay = decay_at(step, most)
    for name in averages if step == 0 else averages.keys() & set(trained):
        average_in(averages[name], networks[name], decay)
