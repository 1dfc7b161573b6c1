"""A number for quality: the Fréchet distance between two sets of digits, on features that ship."""

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from course_utils.images import to_model_range, to_uint8
from course_utils.runtime import PRETRAINED

DIGIT_FEATURES = PRETRAINED / "digit_features.safetensors"


class DigitFeatures(nn.Module):
    """A small classifier of 28 x 28 digits; its last hidden layer, 64 numbers, is the features.

    Takes uint8 or float [-1, 1], (B, 1, 28, 28). Trained by tests/bench/train_digit_features.py.
    """

    num_features = 64

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, 10)

    @classmethod
    def pretrained(cls) -> "DigitFeatures":
        """The network with the weights that ship with the package, ready to use."""
        from safetensors.torch import load_file

        network = cls()
        network.load_state_dict(load_file(DIGIT_FEATURES))
        return network.eval().requires_grad_(False)

    def forward(self, x: Float[Tensor, "B 1 28 28"] | UInt8[Tensor, "B 1 28 28"]) -> Tensor:
        return self.features(to_model_range(to_uint8(x)))

    def classify(self, x: Float[Tensor, "B 1 28 28"] | UInt8[Tensor, "B 1 28 28"]) -> Tensor:
        """The ten scores of each picture, (B, 10)."""
        return self.head(self.forward(x))


def digit_distance(
    samples: Float[Tensor, "N 1 28 28"] | UInt8[Tensor, "N 1 28 28"],
    real: Float[Tensor, "M 1 28 28"] | UInt8[Tensor, "M 1 28 28"],
) -> float:
    """Fréchet distance between two sets of digits; 0 for equal ones (Heusel et al. 2017, eq. 6).

    uint8 or float [-1, 1]. Small sets score too high, so compare only at the same N and M.
    Raises ValueError for fewer than 2 pictures in either set.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    for name, pictures in (("samples", samples), ("real", real)):
        if len(pictures) < 2:
            raise ValueError(f"{name} must hold at least 2 pictures, got {len(pictures)}")
    distance = FrechetInceptionDistance(DigitFeatures.pretrained())
    for pictures, is_real in ((samples, False), (real, True)):
        for batch in pictures.cpu().split(500):
            distance.update(batch, real=is_real)
    return distance.compute().item()
