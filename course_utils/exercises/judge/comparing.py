"""Is an answer the expected one, and if not, what is wrong with it? And how to write it down."""

import math
from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_utils.language import _

CLOSE = {torch.float32: (1e-4, 1e-5), torch.float64: (1e-5, 1e-6)}  # relative, absolute
FEW = 8  # numbers that are written out


def difference(expected: Any, got: Any, tolerance: float = 0.0) -> str:
    """What is wrong with `got`, in words; "" where it is as expected."""
    if got is None:
        return _("Nothing came back. Is there a `return` in front of your result?")
    if got is ...:
        return _("The `...` came back: your result belongs in its place.")
    compare = next((c for kind, c in _COMPARE.items() if isinstance(expected, kind)), _numbers)
    try:
        return compare(expected, got, tolerance)
    except Exception as error:
        return _("Your result cannot be read: {error}").format(error=error)


def describe(value: Any) -> str:
    """A value in a few words: small tensors are written out, of large ones the beginning."""
    try:
        return _describe(value)
    except Exception:  # a learner's own class may do anything
        return type(value).__name__


def _describe(value):
    if isinstance(value, Tensor):
        return _describe_tensor(value)
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, tuple) and any(isinstance(part, Tensor) for part in value):
        return "(" + ", ".join(map(describe, value)) + ")"
    if not isinstance(value, str | Number | list | tuple | range | dict | None):
        return type(value).__name__
    text = repr(value)
    return text if len(text) <= 90 else text[:89] + "…"


def _describe_tensor(x):
    kind = str(x.dtype).removeprefix("torch.")
    numbers = x.detach().cpu()
    if x.numel() <= FEW:
        return _write(numbers.tolist()) + ("" if kind == "float32" else f" ({kind})")
    start = _write(numbers.flatten()[:3].tolist())[1:-1]
    text = _("{kind}, shape {shape}, beginning {start}, …")
    return text.format(kind=kind, shape=tuple(x.shape), start=start)


def _write(numbers):
    if isinstance(numbers, list):
        return "[" + ", ".join(map(_write, numbers)) + "]"
    return f"{numbers:.4g}" if isinstance(numbers, float) else str(numbers)


def _tensors(expected, got, tolerance):
    if isinstance(got, Number) and not expected.ndim and not expected.requires_grad:
        return _numbers(expected.item(), got, tolerance)
    if not isinstance(got, Tensor):
        return _wrong_kind(_("a tensor"), got)
    checks: dict[str, Callable] = {
        _("shape"): lambda x: tuple(x.shape),
        _("dtype"): lambda x: x.dtype,
        _("device"): lambda x: x.device,
    }
    for what, of in checks.items():
        if of(expected) != of(got):
            text = _("The {what} {expected} was expected; {got} came.")
            return text.format(what=what, expected=of(expected), got=of(got))
    if expected.requires_grad and not got.requires_grad:
        return _("Your result has lost its gradient, so nothing could be learned from it.")
    if not got.isfinite().all() and expected.isfinite().all():
        return _("There is a nan or an infinity in your result: a division by 0, or a bad root?")
    relative, absolute = CLOSE.get(expected.dtype, (0, 0))
    close = torch.allclose(got.detach(), expected.detach(), relative, absolute, equal_nan=True)
    return "" if close else _("The numbers are not the expected ones.")


def _lists(expected, got, tolerance):
    got = got.tolist() if isinstance(got, Tensor | np.ndarray) else got
    if not isinstance(got, list | tuple | range):
        return _wrong_kind(_("a list"), got)
    if len(got) != len(expected):
        text = _("{expected} entries were expected; {got} came.")
        return text.format(expected=len(expected), got=len(got))
    same = all(isinstance(g, Number) and g == e for e, g in zip(expected, got, strict=True))
    return "" if same else _("The entries are not the expected ones.")


def _tuples(expected, got, tolerance):
    if not isinstance(got, list | tuple):
        return _wrong_kind(_("a tuple"), got)
    if len(got) != len(expected):
        text = _("{expected} results were expected; {got} came.")
        return text.format(expected=len(expected), got=len(got))
    if all(isinstance(part, str) for part in expected):
        return "" if tuple(got) == expected else _("The entries are not the expected ones.")
    pairs = enumerate(zip(expected, got, strict=True), start=1)
    problems = ((i, difference(e, g, tolerance)) for i, (e, g) in pairs)
    text = _("Result {number}: {problem}")
    return next((text.format(number=i, problem=problem) for i, problem in problems if problem), "")


def _texts(expected, got, tolerance):
    if not isinstance(got, str):
        return _wrong_kind(_("a text in quotation marks"), got)
    same = got.strip().lower() == expected
    return "" if same else _("That is not what the experiment shows.")


def _numbers(expected, got, tolerance):
    if isinstance(got, Tensor | np.ndarray) and math.prod(got.shape) == 1:
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, Number) or isinstance(got, complex):
        return _wrong_kind(_("a number"), got)
    if got != got:
        return _("Not a number (nan) came: was something divided by 0?")
    close = abs(got - expected) <= tolerance + 1e-5 * abs(expected)
    return "" if close else _("That is not the number that the experiment gives.")


def _wrong_kind(expected, got):
    text = _("{expected} was expected; a {kind} came.")
    return text.format(expected=expected[0].upper() + expected[1:], kind=type(got).__name__)


_COMPARE = {Tensor: _tensors, tuple: _tuples, list: _lists, str: _texts}
