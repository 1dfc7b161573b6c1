"""Following a drawing: a small branch beside a frozen network, as in ControlNet."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks import check_same_shape
from course_utils.models.blocks import ResBlock, timestep_embedding, zeroed
from course_utils.models.calling import call_model
from course_utils.models.guidance import num_classes_of
from course_utils.runtime import PRETRAINED
from course_utils.schedule import Images, Timesteps

CHANNELS = (16, 32, 64, 96)  # of the branch that ships, 0.3 million weights
SHIPPED = "butterflies-32-silhouettes"  # for the base `butterflies-32-classes`
Silhouettes = Shaped[Tensor, "B 1 H W"]


class Controlled(nn.Module):
    """A frozen network that follows a silhouette: `model(x_t, timesteps, controlnet_cond=…, …)`.

    `base` is diffusers' `UNet2DModel`. A branch sees x_t, the time and the silhouette, and adds to
    what the base hands from its way down to its way up, and to its middle, through 1x1 convolutions
    that begin as zeros (Zhang et al. 2023, §3.1): at first, and wherever a silhouette is empty,
    this is the base, bit for bit. The silhouette (B, 1, H, W) is bool, uint8 with 255 inside, or
    float from 0 to 1. Without `class_labels`, a base that knows classes is told none. `channels`
    are the branch's widths at each of the base's sizes. The base's weights learn no more.
    Raises TypeError for other networks, ValueError for another number of channels.
    """

    def __init__(self, base: nn.Module, channels: tuple[int, ...] | None = None):
        super().__init__()
        ends, channels = _handed_over(base), channels or CHANNELS
        if len(channels) != len(base.config.block_out_channels):
            wanted = f"{len(base.config.block_out_channels)} widths, one for each size of the base"
            raise ValueError(f"channels must hold {wanted}; got {channels}")
        self.branch = Branch(base.config.in_channels, channels, ends)
        self.base = base.requires_grad_(False)

    @classmethod
    def shipped(cls, base: nn.Module, name: str = SHIPPED) -> "Controlled":
        """With the branch made for `butterflies-32-classes`, by tests/bench/train_pretrained.py."""
        from safetensors.torch import load_file

        controlled = cls(base)
        controlled.branch.load_state_dict(load_file(_file(name)))
        return controlled.eval()

    def save(self, name: str = SHIPPED) -> None:
        """Write the branch alone, as float16, to where `shipped` finds it."""
        from safetensors.torch import save_file

        weights = self.branch.state_dict().items()
        save_file({k: w.cpu().half().contiguous() for k, w in weights}, _file(name))

    def forward(
        self,
        x_t: Images,
        timesteps: Timesteps,
        class_labels: Tensor | None = None,
        controlnet_cond: Silhouettes | None = None,
    ) -> Images:
        told = {}
        if num_classes := num_classes_of(self.base):
            none = torch.full_like(timesteps, num_classes)
            told = {"class_labels": none if class_labels is None else class_labels}
        if controlnet_cond is None:
            return call_model(self.base, x_t, timesteps, told)
        with self._added(self.branch(x_t, timesteps, controlnet_cond)):
            return call_model(self.base, x_t, timesteps, told)

    @contextmanager
    def _added(self, controls: list[Tensor]) -> Iterator[None]:
        """Inside, the base's way up and middle find these added to what they are handed."""
        *handed, middle = controls
        hooks = [self.base.mid_block.register_forward_hook(lambda *call: call[-1] + middle)]
        for block in self.base.up_blocks:
            count = len(block.resnets)
            handed, own = handed[:-count], handed[-count:]
            hooks.append(block.register_forward_pre_hook(partial(_add, own)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class Branch(nn.Module):
    """Half a UNet, downwards: for each (level, width) of `ends` maps to be added, zeros at first.

    A row whose silhouette is empty gets zeros for ever.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...], ends: list[tuple[int, int]]):
        super().__init__()
        self.width = 4 * channels[0]
        self.time = nn.Sequential(nn.Linear(self.width, self.width), nn.SiLU())
        self.conv_in = nn.Conv2d(in_channels + 1, channels[0], 3, padding=1)
        pairs = zip((channels[0], *channels), channels, strict=False)
        self.blocks = nn.ModuleList(ResBlock(*pair, self.width) for pair in pairs)
        self.places = [level for level, _ in ends]
        self.ends = nn.ModuleList(zeroed(nn.Conv2d(channels[i], out, 1)) for i, out in ends)

    def forward(self, x_t: Images, timesteps: Timesteps, silhouettes: Silhouettes) -> list[Tensor]:
        shapes = silhouettes.to(x_t.dtype) / (255 if silhouettes.dtype == torch.uint8 else 1)
        check_same_shape("controlnet_cond", shapes, "one channel of x_t", x_t[:, :1])
        time = self.time(timestep_embedding(timesteps, self.width).to(x_t.dtype))
        h = self.conv_in(torch.cat([x_t, 2 * shapes - 1], 1))
        levels = []
        for block in self.blocks:
            h = block(F.avg_pool2d(h, 2) if levels else h, time)
            levels.append(h)
        drawn = (shapes.amax((1, 2, 3), keepdim=True) > 0).to(x_t.dtype)
        return [end(levels[i]) * drawn for end, i in zip(self.ends, self.places, strict=True)]


def _file(name: str) -> Path:
    return PRETRAINED / f"{name}.safetensors"


def _add(own: list[Tensor], block: nn.Module, handed: tuple) -> tuple:
    """What an up block is handed, with ours added."""
    h, maps, *rest = handed
    return h, tuple(a + b for a, b in zip(maps, own, strict=True)), *rest


def _handed_over(base: nn.Module) -> list[tuple[int, int]]:
    """(level, width) of all maps that the base's way down hands to its way up, and of its middle.

    Raises TypeError for other networks.
    """
    widths = getattr(getattr(base, "config", None), "block_out_channels", None)
    if not widths or not hasattr(base, "time_proj") or hasattr(base, "encoder_hid_proj"):
        raise TypeError(f"base must be diffusers' UNet2DModel, got {type(base).__name__}")
    ends = [(0, widths[0])]
    for level, (block, width) in enumerate(zip(base.down_blocks, widths, strict=True)):
        ends += [(level, width)] * len(block.resnets)
        if block.downsamplers:
            ends.append((level + 1, width))
    return [*ends, (len(widths) - 1, widths[-1])]
