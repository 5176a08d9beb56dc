"""Maps of the plane, of a network whose borders are known."""

import torch
from torch import Tensor, nn

from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.figures.plane import CELLS, SHADES, maps, region_map
from face2exp_lib.methods.plane import draw_points


class Level(FaceNetwork):
    """Sad under -0.5, happy above 0.5, neutral between, and very sure of it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Module = nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        up = x[:, 1, 0, 0]
        return 100 * torch.stack([-0.5 - up, torch.zeros_like(up), up - 0.5], 1)


def test_a_map_is_level_where_light_is_nothing() -> None:
    found = region_map(Level())
    assert found.shape == (CELLS[1], CELLS[0])
    assert (found == found[:, :1]).all()
    assert found[0, 0] == SHADES - 1  # sad, certain
    assert found[20, 0] == 2 * SHADES - 1
    assert found[-1, 0] == 3 * SHADES - 1


def test_a_guess_is_pale() -> None:
    network = Level()
    network.fc = nn.Linear(3, 3)
    nn.init.zeros_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)
    assert (region_map(network) == 0).all()


def test_maps_move_and_the_points_stay() -> None:
    points = draw_points(wrong=0.2)
    figure = maps({"a": Level(), "b": Level()}, points)
    # Borders lie two deviations off: 2.3 % of sad and of happy faces are beyond, 4.6 % of neutral.
    assert "97 % right" in figure.layout.title.text
    assert [trace.name for trace in figure.data[1:]] == [
        "no label",
        "labelled sad",
        "labelled neutral",
        "labelled happy",
        "wrongly so",
    ]
    assert len(figure.data[-1].x) == (points.y_fer != points.truth_fer).sum() == 6
    assert all(len(frame.data) == 1 and frame.traces == (0,) for frame in figure.frames)
