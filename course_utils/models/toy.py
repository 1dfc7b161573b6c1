"""The toy of notebook 02: as few lines as a UNet can have."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks import check_multiple_of


class BasicUNet(nn.Module):
    """The toy of notebook 02: three convolutions down, three up, joined by skip connections.

    (B, in_channels, H, W) → (B, out_channels, H, W), H and W multiples of 4. The last layer is
    linear, so that any value can come out. It takes timesteps, for `sample`, and ignores them.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1):
        super().__init__()
        widths = [in_channels, 32, 64, 64]
        self.down = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], kernel_size=5, padding=2) for i in range(3)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(width_in, width_out, kernel_size=5, padding=2)
            for width_in, width_out in [(64, 64), (64, 32), (32, out_channels)]
        )

    def forward(
        self, x: Float[Tensor, "B C H W"], timesteps: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B D H W"]:
        check_multiple_of(4, x)
        first = F.silu(self.down[0](x))  # (B, 32, H, W)
        second = F.silu(self.down[1](F.max_pool2d(first, 2)))  # (B, 64, H/2, W/2)
        x = F.silu(self.down[2](F.max_pool2d(second, 2)))  # (B, 64, H/4, W/4)
        x = F.silu(self.up[0](x))
        x = F.silu(self.up[1](F.interpolate(x, scale_factor=2) + second))
        return self.up[2](F.interpolate(x, scale_factor=2) + first)
