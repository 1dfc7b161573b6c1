"""Networks: the toy `BasicUNet`, and `UNet`, small and fast; how they are called and guided."""

from course_utils.models.blocks import Attention, CrossAttention, ResBlock, timestep_embedding
from course_utils.models.calling import Condition, call_model, evaluation_mode
from course_utils.models.control import Controlled
from course_utils.models.guidance import (
    Guidance,
    Scale,
    drop_condition,
    num_classes_of,
    unconditioned,
)
from course_utils.models.keeping import Kept
from course_utils.models.steering import Steered
from course_utils.models.toy import BasicUNet
from course_utils.models.unet import Level, UNet, count_parameters
