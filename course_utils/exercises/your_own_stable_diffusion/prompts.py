"""Prompts: what stands for none, and a guided step of the loop."""

from types import SimpleNamespace

import torch
from torch import Tensor

from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


class Listener(SimpleNamespace):
    """A stand-in for tokenizer and text encoder, which keeps the texts that it is given."""

    config, dtype, model_max_length = SimpleNamespace(), torch.float32, 3

    def __call__(self, text: str | list[str] | Tensor, **options) -> SimpleNamespace | tuple:
        if isinstance(text, Tensor):
            return (torch.zeros(*text.shape, 2),)  # their encoding
        self.texts.append(text)
        return SimpleNamespace(input_ids=torch.zeros(1, 3, dtype=torch.long), attention_mask=None)


def listen_to_the_pipeline():
    """What diffusers encodes beside the prompt, if it is to guide and got no negative prompt."""
    from diffusers import StableDiffusionPipeline

    ear = Listener(texts=[])
    parts = SimpleNamespace(tokenizer=ear, text_encoder=ear, unet=None)
    StableDiffusionPipeline.encode_prompt(parts, "a red heart", "cpu", 1, True)
    return "the empty text" if ear.texts[-1] == [""] else "something else"


nothing = Prediction(
    name="nothing",
    answer=listen_to_the_pipeline,
    choices=("zeros", "the empty text", "the mean of all prompts", "noise"),
    slips=(
        Slip(
            "zeros",
            N_(
                "Zeros are no text: this UNet has never been told any. SDXL does take zeros, and "
                "this one takes what it was told in training when the caption was dropped."
            ),
        ),
        Slip(
            "the mean of all prompts",
            N_("A mean of encodings is the encoding of no text, and the UNet has never seen it."),
        ),
        Slip(
            "noise",
            N_("The latents begin as noise. What the UNet is *told* is the same at each step."),
        ),
    ),
    hints=(
        N_("What was a caption replaced by, in training, when it was dropped?"),
        N_("All that the UNet is told comes out of the text encoder."),
        N_('`pipe.encode_prompt` looks at the negative prompt; if there is none, at `""`.'),
    ),
    why=N_(
        "In training a share of the captions was replaced by the empty text, so its encoding came "
        "to mean *any picture*. It is not zero: a text of no words has a start, an end and padding."
    ),
    notice=N_(
        "So a negative prompt is nothing new: another text in the place of the empty one. In your "
        'own loop, encode `""` and the prompt together.'
    ),
)


class WordNetwork:
    """A stand-in for a UNet: a number for the words, one for the noise level, and a wave."""

    def __init__(self, weights: Tensor):
        self.weights = weights

    def __call__(self, x_t: Tensor, t: Tensor | int, words: Tensor) -> Tensor:
        told = (words @ self.weights).sum(dim=1).tanh().reshape(-1, 1, 1, 1)
        level = torch.as_tensor(t, device=x_t.device).reshape(-1, 1, 1, 1) / 1000
        return told * x_t.cos() + told**2 + level * x_t


def clipped_step(noise_pred: Tensor, t: Tensor | int, x_t: Tensor) -> Tensor:
    """A stand-in for a scheduler's step: a tenth down the line, the clean picture clipped."""
    sigma = t / 1000
    x0_pred = ((x_t - sigma * noise_pred) / (1 - sigma)).clamp(-1, 1)
    return (1.1 - sigma) * x0_pred + (sigma - 0.1) * noise_pred


def my_one_step(unet, step, x_t, t, without, words, scale):
    """unet(x_t, t, words) → noise; step(noise, t, x_t) → x; without, words (B, L, D) → guided x."""
    untold, told = unet(x_t, t, without), unet(x_t, t, words)
    return step(untold + scale * (told - untold), t, x_t)


def _loops(draw):
    x_t, t = draw.tensor(1, -2).reshape(1, 1, 1, 2), torch.tensor(500, device=draw.device)
    without, words = draw.tensor([[0.5, 0]]), draw.tensor([[1, -2]])
    yield WordNetwork(draw.tensor(1, 1)), clipped_step, x_t, t, without, words, 3.0
    for shape, scale in (((2, 4, 3, 3), 7.5), ((3, 2, 4, 4), 2.0)):
        x_t, t = draw.normal(*shape), draw.integers(300, 700, 1)[0]
        without, words = draw.normal(1, 5, 3).repeat(len(x_t), 1, 1), draw.normal(len(x_t), 5, 3)
        yield WordNetwork(draw.normal(3)), clipped_step, x_t, t, without, words, scale


def _stepped(guided):
    """A slip: another answer, of the two, goes into the step."""

    def wrong(unet, step, x_t, t, without, words, scale):
        return step(guided(unet(x_t, t, without), unet(x_t, t, words), scale), t, x_t)

    return wrong


def _guided_afterwards(unet, step, x_t, t, without, words, scale):
    untold, told = (step(unet(x_t, t, w), t, x_t) for w in (without, words))
    return untold + scale * (told - untold)


def _guided_words(unet, step, x_t, t, without, words, scale):
    return step(unet(x_t, t, without + scale * (words - without)), t, x_t)


def _not_stepped(unet, step, x_t, t, without, words, scale):
    untold, told = unet(x_t, t, without), unet(x_t, t, words)
    return untold + scale * (told - untold)


one_step = Exercise(
    name="one_step",
    answer=my_one_step,
    cases=_loops,
    slips=(
        Slip(
            _stepped(lambda untold, told, scale: told + scale * (untold - told)),
            N_(
                "The halves are swapped: it walks away from the prompt. In one call for both, "
                "`chunk(2)` gives them back in the order in which they went in."
            ),
        ),
        Slip(
            _guided_afterwards,
            N_(
                "Guided after the step. A step may clip, or remember its last answer, so two of "
                "them are not two halves of one: guide the noise, then step once."
            ),
        ),
        Slip(
            _stepped(lambda untold, told, scale: told + scale * (told - untold)),
            N_("It starts at the told answer, one scale too far: begin at the untold one."),
        ),
        Slip(
            _stepped(lambda untold, told, scale: scale * untold + (told - untold)),
            N_("The scale is on the wrong side: it belongs to the difference, told - untold."),
        ),
        Slip(
            _stepped(lambda untold, told, scale: told),
            N_("Only the told answer: so nothing is guided, and `scale` has no say."),
        ),
        Slip(
            _stepped(lambda untold, told, scale: untold),
            N_("Only the untold answer: the prompt has no say."),
        ),
        Slip(
            _stepped(lambda untold, told, scale: scale * (told - untold)),
            N_("Only the push: it starts somewhere, at the untold answer."),
        ),
        Slip(
            _guided_words,
            N_("The *words* were guided: what is guided are the network's two answers to them."),
        ),
        Slip(
            _not_stepped,
            N_("That is the guided noise. Now `step(…, t, x_t)` walks to the next level."),
        ),
    ),
    hints=(
        N_("Ask the network twice at the same x_t and t: with `without`, and with `words`."),
        N_("`untold + scale * (told - untold)` is the guided noise."),
        N_("`step(guided, t, x_t)`: one step, at the end."),
    ),
    why=N_(
        "Guidance makes one answer out of two, and the scheduler sees only that. So any scheduler "
        "works, and none has to know what a prompt is."
    ),
    notice=N_(
        "In a loop over the timesteps, and decoded at the end, this is the whole pipeline. It asks "
        "both in one call, `torch.cat([x_t, x_t])`, which is the same."
    ),
)
