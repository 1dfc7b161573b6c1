"""An exercise is data: a solution, typical slips, hints; `check` and its kin do the rest."""

import dis
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, NamedTuple

from course_utils.exercises.judge.cards import hint_card, show, solution_card, verdict_card
from course_utils.exercises.judge.comparing import describe, difference
from course_utils.exercises.judge.judging import NOT_TRIED, Verdict, judge
from course_utils.exercises.judge.trials import Draw, Trial, draws, try_out
from course_utils.language import _

# All that Python runs where a body is a docstring and a gap, in one version or another.
IDLE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


class Slip(NamedTuple):
    """A typical wrong answer, as a function or a value, and what to say to it."""

    wrong: Any
    message: str


@dataclass(eq=False, kw_only=True)
class Exercise:
    """A function to write. It is judged by what it does, beside `answer`, on fresh arguments.

    `cases(draw)` yields tuples of arguments, a small readable one first; `answer`, whose name and
    docstring the starter shares, is run and shown; `accepts` are other right answers.
    """

    name: str  # in the module: corrupt
    answer: Callable
    cases: Callable[[Draw], Iterable[tuple]]
    slips: tuple[Slip, ...]
    hints: tuple[str, ...]
    why: str  # two sentences beside the solution
    notice: str  # what to see when it is right
    accepts: tuple[Callable, ...] = ()
    tolerance: float = 0.0
    seconds: float = 5.0  # that the learner's function may take for one input
    may_draw: bool = False  # from the global random state
    verdict: Verdict = field(default_factory=lambda: Verdict(NOT_TRIED))
    hints_shown: int = 0

    @property
    def call(self) -> str:
        """How the notebook calls it: ex.corrupt."""
        return f"ex.{self.name}"

    @property
    def learners_name(self) -> str:
        """The name that the learner's answer has in the notebook: my_corrupt."""
        return self.answer.__name__

    @property
    def starter(self) -> str:
        """What stands in the notebook: the solution's first lines, and a gap."""
        head = re.match(r'def .*?\n    """.*?"""\n', self.solution_code, re.DOTALL)[0]
        return f"{head}    ...  # your code"

    @property
    def solution_code(self) -> str:
        """The solution's own source."""
        return inspect.getsource(self.answer).rstrip()

    def is_untouched(self, answer: Any) -> bool:
        """Is this the starter as it stood: the same arguments, and nothing done with them?"""
        code = getattr(answer, "__code__", None)
        if code is None:
            return answer is ...
        does_nothing = {step.opname for step in dis.get_instructions(code)} <= IDLE
        no_constants = {*code.co_consts} <= {None, answer.__doc__}
        return does_nothing and no_constants and _arguments(answer) == _arguments(self.answer)

    def all_cases(self, seed: int) -> Iterator[tuple]:
        """The arguments to try it on, in each dtype and on each device."""
        for draw in draws(seed):
            yield from self.cases(draw)

    def expect(self, arguments: tuple) -> Trial:
        """What the solution makes of the arguments."""
        return try_out(self.answer, arguments)

    def wrap(self, answer: Any) -> Any:
        """What is tried out: here the answer itself."""
        return answer

    def difference(self, expected: Any, got: Any) -> str:
        """What is wrong with the result, in words; "" where it is as expected."""
        return difference(expected, got, self.tolerance)

    def describe_expected(self, value: Any) -> str:
        """What the learner is told of the expected result."""
        return describe(value)

    def check(self, answer: Any = ...) -> None:
        """Try the learner's answer and say what came of it; never raises what it raises."""
        if self.is_untouched(answer):
            self.verdict = Verdict(NOT_TRIED)
        else:
            self.verdict = judge(self, answer, SystemRandom().randrange(2**31))
        show(verdict_card(self))

    def hint(self) -> None:
        """Show one hint more than last time."""
        self.hints_shown = min(self.hints_shown + 1, len(self.hints))
        show(hint_card(self))

    def solution(self) -> None:
        """Show a solution, and why it is one."""
        show(solution_card(self))


@dataclass(eq=False, kw_only=True)
class Prediction(Exercise):
    """A value to predict. `answer` takes no arguments: it is the experiment that finds it."""

    cases: Callable[[Draw], Iterable[tuple]] = tuple
    choices: tuple[str, ...] = ()  # where it is not a number
    found: Trial | None = None

    @property
    def learners_name(self) -> str:
        """The name that the learner's answer has in the notebook: my_crossing."""
        return f"my_{self.name}"

    @property
    def starter(self) -> str:
        """What stands in the notebook: a gap, and what may go there."""
        return f"{self.learners_name} = ...  # {self._options()}"

    @property
    def solution_code(self) -> str:
        """The experiment, and that its result is the answer."""
        return f"{super().solution_code}\n\n\n{self.learners_name} = {self.answer.__name__}()"

    def is_untouched(self, answer: Any) -> bool:
        """Is it the gap itself?"""
        return answer is ...

    def all_cases(self, seed: int) -> Iterator[tuple]:
        """No arguments, once."""
        yield ()

    def expect(self, arguments: tuple) -> Trial:
        """What the experiment gave, made once."""
        if self.found is None:
            self.found = super().expect(arguments)
        return self.found

    def wrap(self, answer: Any) -> Callable:
        """A function that gives the learner's value."""
        return lambda: answer

    def describe_expected(self, value: Any) -> str:
        """Of what kind it is; the value is for the learner to find."""
        text = _("{options}; {call}.solution() shows which")
        return text.format(options=self._options(), call=self.call)

    def _options(self):
        *most, last = [f'"{choice}"' for choice in self.choices] or [_("a number")]
        return _("{first} or {last}").format(first=", ".join(most), last=last) if most else last


def _arguments(function):
    return [*inspect.signature(function).parameters]
