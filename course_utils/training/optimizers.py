"""The optimizers of `train`: AdamW, and Muon, which learns more from each step."""

import re

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


def orthogonalise(matrices: Float[Tensor, "k m n"]) -> Float[Tensor, "k m n"]:
    """Nearly U Vᵀ of each U S Vᵀ: singular values come to lie between about 0.7 and 1.2.

    Five steps of a polynomial (Jordan 2024), here of the small product X Xᵀ, and in float32 even
    inside autocast: fewer digits would not hold.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonalise(matrices.mT).mT
    with torch.autocast(matrices.device.type, enabled=False):
        x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        product, polynomial = x @ x.mT, torch.eye(x.shape[-2], device=x.device)
        for _ in range(5):
            step = 2.0315 * product @ product - 4.775 * product
            step.diagonal(dim1=-2, dim2=-1).add_(3.4445)
            polynomial, product = step @ polynomial, step @ product @ step
        return polynomial @ x


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
        alike: dict[torch.Size, list[nn.Parameter]] = {}
        for weights in self.param_groups[1]["params"]:
            if weights.grad is not None:
                alike.setdefault(weights.flatten(1).shape, []).append(weights)
        for shape, members in alike.items():
            averages = torch.stack([self._average(weights) for weights in members])
            length = 0.2 * max(shape) ** 0.5 * self.param_groups[1]["lr"]
            for weights, update in zip(members, orthogonalise(averages), strict=True):
                weights.mul_(1 - self.param_groups[1]["lr"] * self.weight_decay)
                weights.sub_(length * update.reshape(weights.shape))
                weights.grad = None  # so that AdamW passes it by
        super().step()

    def _average(self, weights: nn.Parameter) -> Float[Tensor, "m n"]:
        """The gradients' running average, looking one step ahead (Nesterov's)."""
        gradient, state = weights.grad.float(), self.state[weights]
        if not state:
            state["step"] = torch.zeros(())  # AdamW expects one of each weight
            state["average"] = torch.zeros_like(gradient)
        state["average"].lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(state["average"], self.momentum).flatten(1)
