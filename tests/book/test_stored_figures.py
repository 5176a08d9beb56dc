"""What the live figures of a finished run begin with."""

import pytest
import torch
import torch.nn.functional as F

from book.tools import stored_figures
from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import centre_view
from face2exp_lib.methods.feedback import feedback_coefficient
from face2exp_lib.networks import build_network


def test_products_of_single_names_add_up_to_f() -> None:
    network = build_network("small", 7, pretrained=False, seed=0).eval()
    drawn = torch.Generator().manual_seed(0)
    images, x_fer = (
        torch.randint(256, (number, 3, 64, 64), generator=drawn, dtype=torch.uint8)
        for number in (3, 5)
    )
    y_fer, names = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([6, 0, 3])
    products = stored_figures.name_products(network, images, x_fer, y_fer, 48, 7)
    by_products = (
        0.1 * sum(row[name] for row, name in zip(products, names.tolist(), strict=True)) / 3
    )

    def gradient(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        loss = F.cross_entropy(network(apply_view(x, centre_view(len(x)), 48)), y)
        return torch.autograd.grad(loss, list(network.parameters()))

    f = feedback_coefficient(gradient(x_fer, y_fer), gradient(images, names), 0.1)
    assert by_products == pytest.approx(f.item(), rel=1e-4)


def test_the_first_page_tells_the_stored_result() -> None:
    page = stored_figures.first_page()
    assert "of 100 new faces" in page
    assert page.count("<script>") == 1
