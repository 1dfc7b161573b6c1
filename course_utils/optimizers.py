"""The optimizers of `train`: AdamW, and Muon, which learns more from each step."""

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


class Muon(torch.optim.Optimizer):
    """torch's Muon for the convolutions between the first and the last, AdamW for the rest.

    A convolution is read as the matrix (out, in * k * k), and all directions of its update are
    made equally long (Jordan 2024); scaled so that one lr suits both (Liu et al. 2025, eq. 4).
    Raises RuntimeError before torch 2.9, ValueError for a model without such convolutions.
    """

    def __init__(self, model: nn.Module, lr: float):
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError(
                f"optimizer='muon' needs torch 2.9 or newer, this is {torch.__version__}: "
                "use optimizer='adamw'"
            )
        trained = [weights for weights in model.parameters() if weights.requires_grad]
        self.convolutions = [weights for weights in trained if weights.ndim == 4][1:-1]
        if not self.convolutions:
            raise ValueError(
                "optimizer='muon' needs a model of 3 convolutions or more: use 'adamw'"
            )
        inner = {id(weights) for weights in self.convolutions}
        rest = [weights for weights in trained if id(weights) not in inner]
        # Parameters of two dimensions that share their numbers with the convolutions.
        self.matrices = [nn.Parameter(_matrix(w, w)) for w in self.convolutions]
        options = {"weight_decay": 0.01, "adjust_lr_fn": "match_rms_adamw"}
        self.parts = (
            torch.optim.Muon(self.matrices, lr, **options),
            torch.optim.AdamW(rest, lr),
        )
        super().__init__(trained, {"lr": lr})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step of both. Raises ValueError for a closure."""
        if closure is not None:
            raise ValueError("Muon takes no closure: call loss.backward() before step()")
        for matrix, weights in zip(self.matrices, self.convolutions, strict=True):
            matrix.grad = None if weights.grad is None else _matrix(weights.grad, weights)
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all weights."""
        for weights in self.convolutions:
            weights.grad = None
        self.parts[1].zero_grad(set_to_none)

    def state_dict(self) -> dict:
        """What both have to remember, to go on later."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from what `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def _matrix(tensor: Tensor, weights: Tensor) -> Float[Tensor, "out rest"]:
    """The tensor as a matrix, its columns in the order in which the weights lie in memory."""
    if not weights.is_contiguous():  # channels last
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.detach().flatten(1)
