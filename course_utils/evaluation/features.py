"""What a small classifier notices in a picture: the features on which distances are measured."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks import check_choice
from course_utils.images import to_model_range, to_uint8
from course_utils.runtime import PRETRAINED

Pictures = Float[Tensor, "_ _ _ _"] | UInt8[Tensor, "_ _ _ _"]
SHIPPED = {"digits": (1, 10, 28), "butterflies": (3, 12, 32)}  # channels, classes, pixels
SECOND = "{}-second"  # another network for the same pictures, which sees them with other eyes


class FeatureNetwork(nn.Module):
    """A small classifier; its last hidden layer, 64 numbers, is what it notices in a picture.

    Takes uint8 or float [-1, 1], (N, C, H, W); pictures of other sizes than its own are resized.
    """

    num_features = 64

    def __init__(self, num_channels: int, num_classes: int, size: int):
        super().__init__()
        self.size = size
        self.features = nn.Sequential(
            nn.Conv2d(num_channels, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (size // 4) ** 2, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, num_classes)

    @classmethod
    def shipped(cls, name: str) -> "FeatureNetwork":
        """The one for `"digits"` or `"butterflies"`, or for each the second, `"digits-second"`,
        trained by tests/bench/train_features.py. Raises ValueError for another name.
        """
        from safetensors.torch import load_file

        check_choice("features", name, NETWORKS)
        with torch.device("meta"):  # no random weights are drawn to be overwritten
            network = NETWORKS[name]()
        network.load_state_dict(load_file(weights_file(name)), assign=True)
        return network.eval().requires_grad_(False)

    def forward(self, x: Pictures) -> Float[Tensor, "_ 64"]:
        x = to_model_range(to_uint8(x))  # judged as the bytes that would be saved
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return self.features(x)

    def classify(self, x: Pictures) -> Float[Tensor, "_ classes"]:
        """The probability of each class."""
        return self.head(self.forward(x)).softmax(dim=1)


class SecondNetwork(FeatureNetwork):
    """The same task learned by other layers: small kernels with strides, averages at the end.

    Whoever comes near to real pictures only by what the first notices is found out by this one.
    """

    def __init__(self, num_channels: int, num_classes: int, size: int):
        super().__init__(num_channels, num_classes, size)
        widths = (num_channels, 24, 48, self.num_features)
        layers = []
        for before, width in pairwise(widths):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.GELU()]
            layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.GELU()]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


NETWORKS = {name: partial(FeatureNetwork, *sizes) for name, sizes in SHIPPED.items()} | {
    SECOND.format(name): partial(SecondNetwork, *sizes) for name, sizes in SHIPPED.items()
}


class Inception(nn.Module):
    """The network of the standard FID and KID, 2,048 features; its weights are downloaded once.

    Raises ModuleNotFoundError without the package torch-fidelity.
    """

    num_features = 2048

    def __init__(self):
        from torchmetrics.image.fid import NoTrainInceptionV3

        super().__init__()
        self.network = NoTrainInceptionV3("inception-v3-compat", [str(self.num_features)])

    def forward(self, x: Pictures) -> Float[Tensor, "_ 2048"]:
        return self.network(to_uint8(x).expand(-1, 3, -1, -1)).flatten(1)


def weights_file(name: str) -> Path:
    """Where the weights of the shipped network `name` lie."""
    return PRETRAINED / f"{name.replace('-', '_')}_features.safetensors"
