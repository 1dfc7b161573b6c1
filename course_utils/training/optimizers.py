"""The optimizers of `train`: AdamW, and Muon, which learns more from each step."""

import re
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.checks import check_choice

OPTIMIZERS = ("adamw", "muon")


def make_optimizer(model: nn.Module, lr: float, optimizer: str = "adamw") -> torch.optim.Optimizer:
    """`"adamw"` for all weights (Loshchilov & Hutter 2019), or `"muon"`, see `Muon`.

    Raises ValueError for another name.
    """
    check_choice("optimizer", optimizer, OPTIMIZERS)
    if optimizer == "muon":
        return Muon(model, lr)
    return torch.optim.AdamW(model.parameters(), lr)


def orthogonalise(matrices: Sequence[Float[Tensor, "_ _"]]) -> list[Float[Tensor, "_ _"]]:
    """Nearly U Vᵀ of each U S Vᵀ: singular values come to lie between about 0.7 and 1.2.

    Five steps of a polynomial (Jordan 2024), here of the small product X Xᵀ, so that all matrices
    whose shorter side is equally long go through it together; and in float32 even inside autocast:
    fewer digits would not hold.
    """
    with torch.autocast(matrices[0].device.type, enabled=False):
        wide = [x if x.shape[0] <= x.shape[1] else x.T for x in matrices]
        wide = list(torch._foreach_div(wide, [n + 1e-7 for n in torch._foreach_norm(wide)]))
        alike: dict[int, list[int]] = {}
        for place, x in enumerate(wide):
            alike.setdefault(len(x), []).append(place)
        for places in alike.values():
            products = torch.stack([wide[place] @ wide[place].T for place in places])
            for place, polynomial in zip(places, _polynomial(products), strict=True):
                wide[place] = polynomial @ wide[place]
    return [x if x.shape == m.shape else x.T for x, m in zip(wide, matrices, strict=True)]


def _polynomial(product: Float[Tensor, "k m m"]) -> Float[Tensor, "k m m"]:
    """That which, times X, is X after five steps; `product` is X Xᵀ."""
    polynomial = torch.eye(product.shape[-1], device=product.device)
    for _ in range(5):
        step = 2.0315 * product @ product - 4.775 * product
        step.diagonal(dim1=-2, dim2=-1).add_(3.4445)
        polynomial, product = step @ polynomial, step @ product @ step
    return polynomial


def inner_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights of convolutions, linear layers and attention that map features to features.

    In the order in which the layers were made, without the first and last layer and the first and
    last convolution. Layers named after the time or an embedding are left out, too: they read one
    vector for each picture.
    """
    convolution = nn.modules.conv._ConvNd
    kinds = (nn.Linear, convolution, nn.MultiheadAttention)
    layers = [layer for layer in model.named_modules() if isinstance(layer[1], kinds)]
    convolutions = [layer for layer in layers if isinstance(layer[1], convolution)]
    outer = [layer for some in (layers, convolutions) for layer in (*some[:1], *some[-1:])]
    inner = [m for n, m in layers if (n, m) not in outer and not re.search("time|emb", n)]
    weights = [getattr(m, "weight", getattr(m, "in_proj_weight", None)) for m in inner]
    return [w for w in dict.fromkeys(weights) if w is not None and w.requires_grad]


class Muon(torch.optim.AdamW):
    """Muon for the `inner_matrices`, AdamW for the rest.

    A convolution is read as the matrix (out, in * k * k); the gradients are averaged over time and
    all directions of the average made about equally long (Jordan 2024), scaled so that one lr
    suits both parts (Liu et al. 2025, eq. 4). Raises ValueError for a model without such weights.
    """

    momentum = 0.95
    weight_decay = 0.01

    def __init__(self, model: nn.Module, lr: float):
        inner = inner_matrices(model)
        if not inner:
            raise ValueError(
                "optimizer='muon' needs a model of 3 convolutions or more, or of 3 linear layers: "
                "use 'adamw'"
            )
        chosen = {id(weights) for weights in inner}
        trained = [weights for weights in model.parameters() if weights.requires_grad]
        rest = [weights for weights in trained if id(weights) not in chosen]
        super().__init__([{"params": rest}, {"params": inner}], lr)

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step of both. Raises ValueError for a closure."""
        if closure is not None:
            raise ValueError("Muon takes no closure: call loss.backward() before step()")
        group = self.param_groups[1]
        moved = [weights for weights in group["params"] if weights.grad is not None]
        if moved:
            updates = orthogonalise(self._averages(moved))
            lengths = [-0.2 * max(u.shape) ** 0.5 * group["lr"] for u in updates]
            torch._foreach_mul_(updates, lengths)
            torch._foreach_mul_(moved, 1 - group["lr"] * self.weight_decay)
            updates = [u.reshape(weights.shape) for u, weights in zip(updates, moved, strict=True)]
            torch._foreach_add_(moved, updates)
        for weights in moved:
            weights.grad = None  # so that AdamW passes it by
        super().step()

    def _averages(self, moved: list[nn.Parameter]) -> list[Float[Tensor, "_ _"]]:
        """The gradients' running averages, looking one step ahead (Nesterov's), as matrices."""
        gradients = [weights.grad.float() for weights in moved]
        for weights, gradient in zip(moved, gradients, strict=True):
            if not self.state[weights]:
                step, average = torch.zeros(()), torch.zeros_like(gradient)
                self.state[weights] = {"step": step, "average": average}  # AdamW expects a step
        averages = [self.state[weights]["average"] for weights in moved]
        torch._foreach_lerp_(averages, gradients, 1 - self.momentum)
        return [g.flatten(1) for g in torch._foreach_lerp(gradients, averages, self.momentum)]
