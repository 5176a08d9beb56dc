# %% question
"""
A view that mirrors a face must exchange its left and right eye, or the patch named "left eye" lands on the
right one. Write the landmarks of a mirror image of width 1.
"""

# %% stub
import torch


def mirrored(points):
    flipped = points.clone()
    flipped[:, 0] = 1 - flipped[:, 0]
    return flipped


# %% solution
import torch


def mirrored(points):
    flipped = points.clone()
    flipped[:, 0] = 1 - flipped[:, 0]
    return flipped[[1, 0, 2, 4, 3]]  # the eyes and the corners of the mouth change places


# %% check
points = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
assert torch.allclose(mirrored(points)[0], torch.tensor([0.3, 0.4]))
assert torch.allclose(mirrored(mirrored(points)), points)
