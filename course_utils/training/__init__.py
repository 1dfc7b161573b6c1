"""Training: the loss, the loop, the average of the weights, the optimizers."""

from course_utils.training.ema import EMA
from course_utils.training.loop import (
    TrainStep,
    check_finite,
    cycle,
    learning_rate,
    train,
    update,
)
from course_utils.training.loss import (
    diffusion_loss,
    draw_timesteps,
    logit_normal,
    loss_per_level,
    loss_weights,
)
from course_utils.training.optimizers import make_optimizer
