"""Adapters: LoRA's layer, its size, and why one of its two halves begins at zero."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_lora(x, weight, bias, A, B, alpha):
    """x (N, in), weight (out, in), bias (out,), A (r, in), B (out, r) → (N, out): alpha / r."""
    rank = A.shape[0]
    return x @ weight.T + bias + alpha / rank * (x @ A.T @ B.T)


def _layers(draw):
    x, weight = draw.tensor([1, 2]), draw.tensor([1, 0], [0, 1])
    A, B = draw.tensor([1, 0], [1, -2]), draw.tensor([2, 1], [0, 1])
    yield x, weight, draw.tensor(0.5, 0), A, B, 3.0
    for n, d, out, rank in ((4, 6, 5, 3), (3, 4, 7, 2)):
        x, weight, bias = draw.normal(n, d), draw.normal(out, d), draw.normal(out)
        yield x, weight, bias, draw.normal(rank, d), draw.normal(out, rank), 5.0


def _scaled(scale):
    """A slip: another factor before what is new."""
    return lambda x, weight, bias, A, B, alpha: (
        x @ weight.T + bias + scale(alpha, len(A)) * (x @ A.T @ B.T)
    )


lora = Exercise(
    name="lora",
    answer=my_lora,
    cases=_layers,
    slips=(
        Slip(
            _scaled(lambda alpha, rank: 1),
            N_("The factor alpha / r is missing."),
        ),
        Slip(
            _scaled(lambda alpha, rank: alpha),
            N_(
                "alpha is not divided by the rank, so that twice the rank would be twice as strong."
            ),
        ),
        Slip(
            _scaled(lambda alpha, rank: rank / alpha),
            N_("Upside down: alpha over the rank."),
        ),
        Slip(
            lambda x, weight, bias, A, B, alpha: (
                x @ weight.T + bias + alpha / len(A) * (x @ B.T @ A.T)
            ),
            N_("A and B are swapped: first A, from `in` numbers down to r, then B, up to `out`."),
        ),
        Slip(
            lambda x, weight, bias, A, B, alpha: x @ weight.T + bias + alpha / len(A) * x @ A @ B,
            N_("Not transposed: weights are (out, in) in PyTorch, so a layer is `x @ weight.T`."),
        ),
        Slip(
            lambda x, weight, bias, A, B, alpha: alpha / len(A) * (x @ A.T @ B.T),
            N_("Only what is new: the old layer stays and goes on working, `x @ weight.T + bias`."),
        ),
        Slip(
            lambda x, weight, bias, A, B, alpha: x @ weight.T + alpha / len(A) * (x @ A.T @ B.T),
            N_("The bias of the old layer got lost."),
        ),
    ),
    hints=(
        N_("The old layer first: `x @ weight.T + bias`."),
        N_("Beside it the narrow way, down and up again: `x @ A.T @ B.T`."),
        N_("Times `alpha / A.shape[0]`, and added to the old layer."),
    ),
    why=N_(
        "B A is a matrix as large as the weight, of rank r at most, and it is never written out. "
        "Added to the weight it can be merged, so that drawing costs nothing more."
    ),
    notice=N_(
        "Set alpha to 0 and the old network is back, bit for bit; anything between is a mixture. "
        "`peft` does the same to the layers that you name."
    ),
)


def my_count(in_channels, out_channels, kernel_size, rank):
    """How many numbers LoRA trains in a convolution: A has its kernel, B is 1 x 1."""
    return rank * in_channels * kernel_size**2 + out_channels * rank


def _sizes(draw):
    yield 64, 128, 3, 4
    for _ in range(4):
        channels = draw.integers(8, 256, 2).tolist()
        yield *channels, 3, *draw.integers(1, 9, 1).tolist()
    yield 100, 50, 1, 2


count = Exercise(
    name="count",
    answer=my_count,
    cases=_sizes,
    slips=(
        Slip(
            lambda in_channels, out_channels, kernel_size, rank: (
                rank * in_channels * out_channels * kernel_size**2
            ),
            N_(
                "That is the whole kernel, r times. Nothing in LoRA is `in` times `out`: the way "
                "leads through r channels."
            ),
        ),
        Slip(
            lambda in_channels, out_channels, kernel_size, rank: (
                (in_channels * out_channels + rank * in_channels) * kernel_size**2
                + rank * out_channels
            ),
            N_("The old kernel was counted, too: it is frozen."),
        ),
        Slip(
            lambda in_channels, out_channels, kernel_size, rank: (
                rank * (in_channels + out_channels)
            ),
            N_("That is right for a linear layer. A's kernel has kernel_size² places."),
        ),
        Slip(
            lambda in_channels, out_channels, kernel_size, rank: (
                rank * (in_channels + out_channels) * kernel_size**2
            ),
            N_("Both with a kernel: B looks at one place only, 1 x 1."),
        ),
        Slip(
            lambda in_channels, out_channels, kernel_size, rank: (
                rank * (in_channels * kernel_size + out_channels)
            ),
            N_("A kernel is as high as it is wide: kernel_size *squared*."),
        ),
        Slip(
            lambda in_channels, out_channels, kernel_size, rank: (
                rank * (in_channels + out_channels * kernel_size**2)
            ),
            N_("The kernel went to the wrong one: A has it, B is 1 x 1."),
        ),
        Slip(
            lambda in_channels, out_channels, kernel_size, rank: (
                in_channels * out_channels * kernel_size**2
            ),
            N_("That is how many the frozen kernel has. LoRA trains what stands beside it."),
        ),
    ),
    hints=(
        N_("A is a convolution from `in_channels` to r channels, B one from r to `out_channels`."),
        N_("A convolution has in * out * kernel_size² numbers. For B the kernel size is 1."),
        N_("`rank * in_channels * kernel_size**2 + rank * out_channels`"),
    ),
    why=N_(
        "A narrow way of r channels is cheap on both of its sides. The old kernel has in times out "
        "times the kernel's places, so that the saving grows with the layer."
    ),
    notice=N_(
        "64 to 128 channels, 3 x 3, rank 4: 2,816 beside 73,728, about 4%. In large models, where "
        "a layer has thousands of channels, it is far below 1%."
    ),
)


def my_gradients(x, A, B, grad_out):
    """x (N, in), A (r, in), B (out, r), out = x Aᵀ Bᵀ, the gradient of out → those of A and B."""
    grad_A = (grad_out @ B).T @ x
    grad_B = grad_out.T @ (x @ A.T)
    return grad_A, grad_B


def _starts(draw):
    x, A, grad_out = draw.tensor([1, 2]), draw.tensor([1, 0.5]), draw.tensor([1, -1])
    yield x, A, draw.tensor([0], [0]), grad_out
    for size, scales in (((3, 4, 2, 5), (1, 0)), ((4, 3, 2, 3), (0, 1)), ((5, 4, 3, 2), (1, 1))):
        n, d, rank, out = size
        A, B = scales[0] * draw.normal(rank, d), scales[1] * draw.normal(out, rank)
        yield draw.normal(n, d), A, B, draw.normal(n, out)


def _dead(x, A, B, grad_out):
    grad_A, grad_B = my_gradients(x, A, B, grad_out)
    return torch.where(A == 0, 0, grad_A), torch.where(B == 0, 0, grad_B)


def _as_if_one(x, A, B, grad_out):
    return my_gradients(x, A, torch.ones_like(B), grad_out)


zero_start = Exercise(
    name="zero_start",
    answer=my_gradients,
    cases=_starts,
    slips=(
        Slip(
            _dead,
            N_(
                "A layer of zeros does get a gradient: what goes into it times what comes back to "
                "it, and neither has to be 0. What gets none is the layer *before* it."
            ),
        ),
        Slip(
            lambda x, A, B, grad_out: my_gradients(x, A, B, grad_out)[::-1],
            N_("The other order: first A's gradient, then B's."),
        ),
        Slip(
            _as_if_one,
            N_("On its way back to A the gradient goes through B, and is multiplied by it."),
        ),
        Slip(
            lambda x, A, B, grad_out: tuple(-g for g in my_gradients(x, A, B, grad_out)),
            N_("That is the direction of the step. A gradient points uphill."),
        ),
        Slip(
            lambda x, A, B, grad_out: tuple(g / len(x) for g in my_gradients(x, A, B, grad_out)),
            N_("The mean over the batch: each row adds to the gradient, so it is a sum."),
        ),
    ),
    hints=(
        N_("For y = h Wᵀ the gradient of W is grad_yᵀ h: what comes back times what went in."),
        N_("What goes into B is `x @ A.T`. What comes back to A is `grad_out @ B`."),
        N_("`(grad_out @ B).T @ x` and `grad_out.T @ (x @ A.T)`; autograd may do it, too."),
    ),
    why=N_(
        "With B = 0 and A random the network starts unchanged, B moves at once, and A as soon as B "
        "is not 0 any more. If both were 0, both gradients would be 0, and nothing would ever move."
    ),
    notice=N_(
        "ControlNet's *zero convolutions* start in the same way: silent at first, and the first to "
        "learn, while the branch before them has to wait for one step."
    ),
)
