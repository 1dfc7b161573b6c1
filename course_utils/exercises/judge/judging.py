"""The judge: the learner's answer beside the solution and the typical slips, on one input each."""

import inspect
import linecache
import traceback
from typing import Any, NamedTuple

from course_utils.exercises.judge.comparing import describe, difference
from course_utils.exercises.judge.limits import OutOfTime
from course_utils.exercises.judge.trials import Trial, try_out
from course_utils.language import _

NOT_TRIED, RIGHT, NOT_YET = "not tried", "right", "not right yet"


class Verdict(NamedTuple):
    """A state, why, and for one input what was expected and what came, as (name, text)."""

    state: str
    message: str = ""
    details: tuple[tuple[str, str], ...] = ()


def judge(exercise, answer: Any, seed: int) -> Verdict:
    """RIGHT if the answer does as the solution does on all cases, else NOT_YET and the reason."""
    function, earlier = exercise.wrap(answer), []
    if not callable(function):
        return Verdict(NOT_YET, _not_a_function(exercise, answer))
    for arguments in exercise.all_cases(seed):
        expected = exercise.expect(arguments)
        got = try_out(function, arguments, exercise.seconds)
        if not _problem(exercise, expected, got) or _is_accepted(exercise, arguments, got):
            earlier.append((expected, got))
            continue
        message = _slip(exercise, arguments, expected, got) or _reason(
            exercise, expected, got, earlier
        )
        return Verdict(NOT_YET, message, tuple(_details(exercise, arguments, expected, got)))
    return Verdict(RIGHT, _(exercise.notice))


def _not_a_function(exercise, answer):
    text = _(
        "`check` wants your function itself, without brackets: `{call}.check({name})`. "
        "A {kind} came: {value}."
    )
    facts = {"kind": type(answer).__name__, "value": describe(answer)}
    return text.format(call=exercise.call, name=exercise.learners_name, **facts)


def _problem(exercise, expected: Trial, got: Trial) -> str:
    """What is wrong, in words; "" where nothing is."""
    if got.error is not None:
        return _error(got.error, exercise.seconds)
    problem = exercise.difference(expected.value, got.value)
    if not problem and got.changed:
        name = [*inspect.signature(exercise.answer).parameters][got.changed[0]]
        text = _(
            "The result is right, but `{name}` is no longer what it was: your function changed "
            "its input. Make a new tensor instead of using `+=`, `*=` or `add_`."
        )
        return text.format(name=name)
    if not problem and got.drew and not exercise.may_draw:
        return _(
            "The result is right, but your function touched the global random state. Draw from "
            "the `generator` that it is given, or do not draw at all."
        )
    return problem


def _error(error, seconds):
    if isinstance(error, OutOfTime):
        text = _(
            "Your function was still running after {seconds:g} seconds. Does a loop never end?"
        )
        return text.format(seconds=seconds)
    text = _("Your function stopped with {kind}: {message}")
    return text.format(kind=type(error).__name__, message=str(error).split("\n")[0]) + _place(error)


def _place(error):
    """The line of the learner's code, where it can be known."""
    frames = [*traceback.walk_tb(error.__traceback__)][1:]  # without `try_out`
    file = frames[0][0].f_code.co_filename if frames else None
    numbers = [number for frame, number in frames if frame.f_code.co_filename == file]
    code = linecache.getline(file, numbers[-1]).strip() if numbers else ""
    return "\n" + _("It happened here: `{code}`").format(code=code) if code else ""


def _reason(exercise, expected, got, earlier):
    problem = _problem(exercise, expected, got)
    if got.error is None and any(not difference(e.value, got.value) for _e, e in earlier):
        problem += " " + _("It is the same for another input, too: does it look at its arguments?")
    return problem


def _is_accepted(exercise, arguments, got):
    trials = (try_out(other, arguments) for other in exercise.accepts)
    return any(not _problem(exercise, trial, got) for trial in trials)


def _slip(exercise, arguments, expected, got):
    """The message of the slip that gives just this outcome, value or error, or None."""
    if got.error is None and not exercise.difference(expected.value, got.value):
        return None
    for slip in exercise.slips:
        wrong = try_out(exercise.wrap(slip.wrong), arguments)
        if _alike(wrong, got, exercise.tolerance):
            return _(slip.message)
    return None


def _alike(one, other, tolerance):
    if one.error is not None or other.error is not None:
        return repr(one.error) == repr(other.error)
    return one.value is not None and not difference(one.value, other.value, tolerance)


def _details(exercise, arguments, expected, got):
    names = inspect.signature(exercise.answer).parameters
    for name, value in zip(names, arguments, strict=True):
        yield name, describe(value)
    yield _("expected"), exercise.describe_expected(expected.value)
    yield _("yours"), describe(got.value) if got.error is None else type(got.error).__name__
