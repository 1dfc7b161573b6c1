"""Before training: what a network can know of pure noise, and the range of its pixels."""

import torch
from torch.nn import functional as F

import course_utils as cu
from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def compare_guesses():
    """The squared error of each guess against many real butterflies."""
    real = cu.to_model_range(cu.draw_butterflies(200, 16)[0])
    guesses = {
        "a butterfly": real[:1],
        "the average": real.mean(dim=0, keepdim=True),
        "grey": torch.zeros_like(real[:1]),
        "noise": torch.randn_like(real[:1]),
    }
    errors = {name: F.mse_loss(guess.expand_as(real), real) for name, guess in guesses.items()}
    return min(errors, key=errors.get)


first_guess = Prediction(
    name="first_guess",
    answer=compare_guesses,
    choices=("a butterfly", "the average", "grey", "noise"),
    slips=(
        Slip(
            "a butterfly",
            N_(
                "One sharp butterfly. It is the right one only by luck: wherever its wings end at "
                "another place, the error is large, and it is squared."
            ),
        ),
        Slip(
            "grey",
            N_(
                "A plain grey. It is a cautious guess, but it knows less than the network does: "
                "that the background is pale, and that wings are mostly in the middle."
            ),
        ),
        Slip(
            "noise",
            N_("Noise. The network is asked what lies *under* the noise; noise adds an error."),
        ),
    ),
    hints=(
        N_("Nothing can be seen, so the guess is the same for every picture."),
        N_("Which single picture is not too far from *any* butterfly?"),
        N_("For a squared error, the best single number for a heap of numbers is their mean."),
    ),
    why=N_(
        "Where nothing can be seen, one answer has to serve all butterflies. "
        "The mean of all is the one with the smallest squared error."
    ),
    notice=N_(
        "That is why the first pictures of the lower row are a blur: not a weak network, but the "
        "best answer to a question that nobody can answer yet."
    ),
)


def my_model_range(pixels):
    """Bytes (B, C, H, W) from 0 to 255 → floats from -1 to 1."""
    return pixels.float() / 127.5 - 1


def _bytes(draw):
    example = torch.tensor([0, 51, 204, 255], dtype=torch.uint8, device=draw.device)
    yield (example.reshape(1, 1, 2, 2),)
    for shape in ((3, 3, 4, 4), (2, 1, 5, 3)):
        yield (draw.integers(0, 256, *shape).to(torch.uint8),)


model_range = Exercise(
    name="model_range",
    answer=my_model_range,
    cases=_bytes,
    slips=(
        Slip(
            lambda pixels: pixels / 255,
            N_("Half of the way: yours runs from 0 to 1. Its middle should be 0."),
        ),
        Slip(
            lambda pixels: pixels / 127.5,
            N_("The shift is missing: yours runs from 0 to 2. Its middle should be 0."),
        ),
        Slip(
            lambda pixels: pixels * 2 / 255 - 1,
            N_(
                "The bytes overflowed: a byte holds at most 255, so 204 * 2 becomes 152. "
                "Divide first, or call `.float()`."
            ),
        ),
        Slip(
            lambda pixels: (pixels - 128) / 128,
            N_("The bytes wrapped around: 51 - 128 is below 0, which no byte can hold."),
        ),
        Slip(
            lambda pixels: 1 - pixels / 127.5,
            N_("Light and dark are swapped: 0 should become -1, and 255 should become 1."),
        ),
    ),
    hints=(
        N_("Two things change: the length of the range, 255 → 2, and its middle."),
        N_("Divide first. By what, so that 255 becomes 2?"),
        N_("`pixels / 127.5` runs from 0 to 2. Now move its middle to 0."),
    ),
    why=N_(
        "Dividing a tensor of bytes makes floats, so nothing can overflow. "
        "255 / 127.5 is 2, and subtracting 1 puts the middle at 0."
    ),
    notice=N_(
        "0 is now a middling grey, and noise around 0 makes a pixel lighter as often as darker."
    ),
)
