"""Pictures of Aug(.): dots where the landmarks are, and each row what its name says."""

import torch

from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.figures import style as figures
from face2exp_lib.figures.aug_pictures import DOT_COLOUR, FRAME, augmentation_rows

ROWS = [
    "original", "conventional", "extensive", "patches: keep", "patches: cover", "Aug, keep",
    "Aug, cover",
]  # fmt: skip
GREY = torch.tensor([124, 116, 104])[:, None, None]  # the mean colour


def rows() -> dict[str, torch.Tensor]:
    """Dark faces, 112 of 128 px."""
    images = torch.full((3, 3, 128, 128), 30, dtype=torch.uint8)
    landmarks = torch.tensor(CANONICAL_POINTS).expand(3, 5, 2) * 128
    return augmentation_rows(images, landmarks, view_size=112)


def test_rows_of_framed_pictures() -> None:
    pictures = rows()
    assert list(pictures) == ROWS
    for row in pictures.values():
        assert row.shape == (3, 3, 112 + 2 * FRAME, 112 + 2 * FRAME)
        assert row.dtype == torch.uint8
        assert (row[..., :FRAME] == 255).all()
    figure = figures.face_rows(pictures)
    assert list(figure.layout.yaxis.ticktext) == ROWS
    again = rows()
    assert all(torch.equal(row, again[name]) for name, row in pictures.items())


def test_dots_are_where_the_landmarks_are() -> None:
    original = rows()["original"][:, :, FRAME:-FRAME, FRAME:-FRAME]
    colour = torch.tensor(DOT_COLOUR)[:, None, None]
    for x, y in CANONICAL_POINTS * 128 - 8:
        assert (original[:, :, int(y), int(x)] == colour[:, :, 0].T).all()
    marked = (original == colour).all(1)
    assert 5 * 3 < marked[0].sum() < 5 * 16


def test_keep_and_cover_show_opposite_parts() -> None:
    pictures = {name: row[:, :, FRAME:-FRAME, FRAME:-FRAME].int() for name, row in rows().items()}
    covered = {
        name: ((row - GREY).abs() <= 1).all(1)
        | (row == torch.tensor(DOT_COLOUR)[:, None, None]).all(1)
        for name, row in pictures.items()
    }
    assert (covered["patches: keep"] | covered["patches: cover"]).all()
    assert covered["patches: keep"].float().mean() > 0.5 > covered["patches: cover"].float().mean()
    assert covered["patches: cover"][:, :25].all()  # the forehead: 50 of 224 px
    assert covered["original"].float().mean() < 0.01
