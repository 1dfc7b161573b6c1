"""The network: how small a picture gets inside, and the loss of another question."""

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def look_inside():
    """The height of what reaches the middle of a UNet with five levels."""
    from diffusers import UNet2DModel

    blocks = {"down_block_types": ["DownBlock2D"] * 5, "up_block_types": ["UpBlock2D"] * 5}
    sizes = {"block_out_channels": [8] * 5, "norm_num_groups": 4, "layers_per_block": 1}
    model = UNet2DModel(64, **sizes, **blocks)
    heights = []
    model.mid_block.register_forward_hook(lambda block, x, out: heights.append(out.shape[2]))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64), 0)
    return heights[0]


deepest = Prediction(
    name="deepest",
    answer=look_inside,
    slips=(
        Slip(
            2,
            N_("Halved once too often: between five levels there are only four steps down."),
        ),
        Slip(8, N_("Halved once too rarely: five levels have four steps down between them.")),
        Slip(64, N_("So tall is what goes in and what comes out; in between it shrinks.")),
        Slip(
            12.8,
            N_("Divided by the number of levels: but each step down *halves* what it gets."),
        ),
    ),
    hints=(
        N_("Look at the figure: four levels on the way down, and how many steps between them?"),
        N_("With four levels 32 became 4: that is three steps down, not four."),
        N_("Five levels, four steps down: halve 64 four times."),
    ),
    why=N_(
        "Each level but the last ends with a step down, and each step halves the height. "
        "So five levels turn 64 into 64 / 2 / 2 / 2 / 2."
    ),
    notice=N_(
        "Again 4 pixels, where every place can look at every other: for pictures twice as large, "
        "one level more."
    ),
)


def my_noise_loss(model, scheduler, x0, noise, timesteps):
    """The mean squared error of a model that predicts the noise, one number."""
    x_t = scheduler.add_noise(x0, noise, timesteps)
    noise_pred = model(x_t, timesteps).sample
    return F.mse_loss(noise_pred, noise)


class TinyNetwork(nn.Module):
    """Something that can learn, looks at the time, and answers as diffusers' models do."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x_t, timesteps):
        from diffusers.models.unets.unet_2d import UNet2DOutput

        time = torch.as_tensor(timesteps, device=x_t.device).reshape(-1, 1, 1, 1) / 1000
        return UNet2DOutput(sample=self.weight * torch.sin(x_t + time))


def _batches(draw):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    x0, noise = draw.tensor(1, -1).reshape(2, 1, 1, 1), draw.tensor(0.5, 2).reshape(2, 1, 1, 1)
    timesteps = torch.tensor([100, 700], device=draw.device)
    yield TinyNetwork(draw.tensor(0.5)), scheduler, x0, noise, timesteps
    for shape in ((3, 3, 4, 4), (2, 1, 6, 5)):
        timesteps = draw.integers(1, 1000, shape[0])
        network = TinyNetwork(draw.uniform(1))
        yield network, scheduler, draw.normal(*shape), draw.normal(*shape), timesteps


def _against(target):
    """A slip: the right answer held against another target."""

    def wrong(model, scheduler, x0, noise, timesteps):
        x_t = scheduler.add_noise(x0, noise, timesteps)
        return F.mse_loss(model(x_t, timesteps).sample, target(scheduler, x0, noise, timesteps))

    return wrong


def _forgot_sample(model, scheduler, x0, noise, timesteps):
    return F.mse_loss(model(scheduler.add_noise(x0, noise, timesteps), timesteps), noise)


def _summed(model, scheduler, x0, noise, timesteps):
    x_t = scheduler.add_noise(x0, noise, timesteps)
    return F.mse_loss(model(x_t, timesteps).sample, noise, reduction="sum")


noise_loss = Exercise(
    name="noise_loss",
    answer=my_noise_loss,
    cases=_batches,
    slips=(
        Slip(
            _against(lambda scheduler, *batch: scheduler.get_velocity(*batch)),
            N_("That is still the velocity's loss. Now the right answer is the noise itself."),
        ),
        Slip(
            _against(lambda scheduler, x0, noise, timesteps: x0),
            N_("Held against the clean picture: but the question was the noise."),
        ),
        Slip(
            lambda model, scheduler, x0, noise, timesteps: F.mse_loss(
                model(x0, timesteps).sample, noise
            ),
            N_("The network saw the clean picture: there is no noise in it to be found."),
        ),
        Slip(
            _forgot_sample,
            N_("`.sample` is missing: diffusers' models wrap their answer; it holds the tensor."),
        ),
        Slip(
            _summed,
            N_("A sum instead of a mean: then the loss would depend on the size of the pictures."),
        ),
    ),
    hints=(
        N_("Three lines of the loop above: 2. add noise, 3. ask the network, 4. measure."),
        N_("Only the target changes: the velocity is not needed any more."),
        N_("`F.mse_loss(noise_pred, noise)`, where noise_pred is `model(x_t, timesteps).sample`."),
    ),
    why=N_(
        "The network still sees x_t and the timestep; only what its answer is held against has "
        "changed. Nothing else in the loop knows which question was asked."
    ),
    notice=N_(
        "One line is the whole difference between two papers. When you draw, the scheduler has "
        "to know it, too: `prediction_type` says which question the network answers."
    ),
)
