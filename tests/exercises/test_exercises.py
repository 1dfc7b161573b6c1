"""Exercises: solutions are right, starters are not tried, slips are named, nothing is disturbed."""

import importlib
import inspect
import pkgutil
import random
import re
import signal
import sys
import threading
import time
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from course import read_course
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from course_utils import exercises
from course_utils.exercises import from_scratch, guidance_and_fine_tuning, introduction
from course_utils.exercises.judge import judging
from course_utils.exercises.judge.cards import Line, hint_card, solution_card, verdict_card
from course_utils.exercises.judge.comparing import describe, difference
from course_utils.exercises.judge.creation import Creation
from course_utils.exercises.judge.exercise import Prediction
from course_utils.exercises.judge.judging import NOT_TRIED, NOT_YET, RIGHT, judge
from course_utils.exercises.judge.limits import OutOfTime, kept_random_states, time_limit
from course_utils.exercises.judge.progress import describe_progress, plot_progress
from course_utils.exercises.judge.trials import draws
from course_utils.plotting.style import find_hangul

PACKAGES = {
    name: importlib.import_module(f"course_utils.exercises.{name}")
    for _finder, name, is_package in pkgutil.iter_modules(exercises.__path__)
    if is_package and name != "judge"
}
NOTEBOOKS = {n.name: PACKAGES[n.exercises] for n in read_course() if n.exercises}
FOLDER = Path(__file__).parents[2] / "notebooks"
EVERY = [e for module in PACKAGES.values() for e in module.EXERCISES]
FUNCTIONS = [e for e in EVERY if not isinstance(e, Prediction)]
# Those of which two right answers are equal, and which must leave chance alone.
EXACT = [e for e in FUNCTIONS if not isinstance(e, Creation)]
PREDICTIONS = [e for e in EVERY if isinstance(e, Prediction)]
SLIPS = [pytest.param(e, s, id=f"{e.name}-{i}") for e in EVERY for i, s in enumerate(e.slips)]


def each(exercises):
    return pytest.mark.parametrize("exercise", exercises, ids=lambda e: e.name)


@pytest.fixture(autouse=True)
def _forgotten_afterwards():
    yield
    for exercise in EVERY:
        exercise.verdict, exercise.hints_shown = judging.Verdict(NOT_TRIED), 0
    plt.close("all")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(from_scratch.ddim, "seconds", 0.2)


def state_of(exercise, answer, capsys):
    """The state after the check, and what it said, for a terminal."""
    assert exercise.check(answer) is None
    return exercise.verdict.state, capsys.readouterr().out


def value_of(exercise):
    """The right answer, a function or a value."""
    return exercise.answer() if isinstance(exercise, Prediction) else exercise.answer


def takes_a_tensor(exercise):
    """Has it an argument that can be changed in place?"""
    return any(isinstance(a, torch.Tensor) for a in next(exercise.all_cases(0)))


# --- solutions, starters, slips


@each(EVERY)
def test_every_solution_is_right_and_says_what_to_notice(exercise, capsys):
    state, said = state_of(exercise, value_of(exercise), capsys)
    assert state == RIGHT
    assert exercise.notice in said
    assert said.count("Right") == 1


@each(EVERY)
def test_the_solution_that_is_shown_runs_and_is_right(exercise, capsys):
    namespace = dict(inspect.getmodule(exercise.answer).__dict__)
    del namespace[exercise.answer.__name__]
    exec(exercise.solution_code, namespace)
    assert state_of(exercise, namespace[exercise.learners_name], capsys)[0] == RIGHT
    most = 11 if exercise in EXACT else 16 if exercise in PREDICTIONS else 30
    assert len(exercise.solution_code.splitlines()) <= most


@each(EXACT)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_solutions_are_right_on_any_fresh_input(exercise, seed):
    assert judge(exercise, exercise.answer, seed).state == RIGHT


def test_inputs_come_in_both_precisions():
    assert {draw.dtype for draw in draws(0)} == {torch.float32, torch.float64}


@each(EVERY)
def test_every_starter_is_not_tried(exercise, capsys):
    namespace = {}
    exec(exercise.starter, namespace)
    state, said = state_of(exercise, namespace[exercise.learners_name], capsys)
    assert state == NOT_TRIED
    assert re.fullmatch(rf"○ Not tried yet: {exercise.name}\. ex\.\w+\.hint\(\) helps\.\n", said)
    exercise.check()
    assert exercise.verdict.state == NOT_TRIED


@each(FUNCTIONS)
def test_a_forgotten_return_was_a_try(exercise, capsys):
    body = exercise.solution_code.replace("    return ", "    result = ")
    namespace = dict(inspect.getmodule(exercise.answer).__dict__)
    exec(body, namespace)
    state, said = state_of(exercise, namespace[exercise.learners_name], capsys)
    assert state == NOT_YET
    assert "`return`" in said


@pytest.mark.parametrize("body", ["return x", "x * amount", "return 5", "return ...", "my_x = x"])
def test_the_shortest_try_was_a_try(body, capsys):
    namespace = {}
    exec(f'def my_corrupt(x, amount, generator):\n    """Mix."""\n    {body}', namespace)
    assert state_of(from_scratch.corrupt, namespace["my_corrupt"], capsys)[0] == NOT_YET


@pytest.mark.parametrize(("exercise", "slip"), SLIPS)
def test_every_slip_is_known_by_its_name(exercise, slip, capsys):
    for _ in range(3):
        state, said = state_of(exercise, slip.wrong, capsys)
        assert state == NOT_YET
        assert exercise.verdict.message == slip.message
        assert "expected" in said
        assert "yours" in said


@each(EVERY)
def test_there_are_enough_slips_and_hints_and_two_sentences_of_why(exercise):
    assert len({slip.message for slip in exercise.slips}) == len(exercise.slips) >= 3
    assert len(set(exercise.hints)) == len(exercise.hints) >= 3
    assert len(re.findall(r"[.?](?= |$)", exercise.why)) == 2, exercise.why


def test_there_are_enough_exercises_and_their_names_are_those_of_the_module():
    for module in PACKAGES.values():
        assert len(module.EXERCISES) >= 8
        assert all(getattr(module, e.name) is e for e in module.EXERCISES)


# --- other wrong answers


def broken(*arguments):
    raise RuntimeError("something gave way")


def endless(*arguments):
    while True:
        pass


def stubborn(*arguments):
    while True:
        try:
            time.sleep(10)
        except Exception:
            continue


def deep(*arguments):
    return deep(*arguments)


def leaving(*arguments):
    sys.exit("enough")


class Strange:
    """Compares with nothing and cannot be written down."""

    def __eq__(self, other):
        raise RuntimeError

    def __repr__(self):
        raise RuntimeError

    __hash__ = None


WRONG = {
    "None": lambda *arguments: None,
    "a text": lambda *arguments: "noise",
    "a list": lambda *arguments: [0.5, 0.5],
    "an empty list": lambda *arguments: [],
    "0": lambda *arguments: 0,
    "-0.37": lambda *arguments: -0.37,
    "true": lambda *arguments: True,
    "a dict": lambda *arguments: {"x": 1},
    "...": lambda *arguments: ...,
    "the first argument": lambda *arguments: arguments[0],
    "all arguments": lambda *arguments: arguments,
    "nan": lambda *arguments: float("nan"),
    "a tensor of nan": lambda *arguments: torch.full((2, 1, 1, 2), torch.nan),
    "another shape": lambda *arguments: torch.zeros(7, 7, 7),
    "an array": lambda *arguments: np.zeros((2, 1, 1, 2)),
    "complex": lambda *arguments: 1j,
    "something strange": lambda *arguments: Strange(),
    "no arguments": lambda: 0,
    "too many arguments": lambda a, b, c, d, e, f, g, h: 0,
    "an error": broken,
    "recursion": deep,
    "sys.exit": leaving,
    "a class": Strange,
    "a partial function": partial(broken, 1),
    "a module": torch.nn.Identity(),
}


@each(FUNCTIONS)
@pytest.mark.parametrize("name", WRONG)
def test_other_wrong_functions_are_not_right_yet(exercise, name, capsys):
    state, said = state_of(exercise, WRONG[name], capsys)
    assert state == NOT_YET
    assert "Traceback" not in said
    assert exercise.verdict.message


@each(EVERY)
@pytest.mark.parametrize(
    "answer",
    [None, "a text", [1, 2], {}, torch.full((2,), torch.nan), float("nan"), True, Strange(), 1j],
    ids=lambda answer: type(answer).__name__,
)
def test_other_wrong_values_are_not_right_yet(exercise, answer, capsys):
    state, said = state_of(exercise, answer, capsys)
    assert state == NOT_YET
    assert "Traceback" not in said


@each(PREDICTIONS)
@pytest.mark.parametrize("guess", [-1, 0.33, 10**9, "the weather", float("inf")], ids=str)
def test_wrong_predictions_do_not_give_the_answer_away(exercise, guess, capsys):
    state, said = state_of(exercise, guess, capsys)
    assert state == NOT_YET
    right = describe(exercise.answer())
    options = said.split("expected")[1] if exercise.choices else ""
    assert not re.search(rf"(?<![\d.\w]){re.escape(right)}(?![\d\w])", said.replace(options, ""))


@each(FUNCTIONS)
def test_what_was_right_once_by_heart_is_not_right(exercise, capsys):
    first = exercise.answer(*next(exercise.all_cases(0)))
    assert state_of(exercise, lambda *arguments: first, capsys)[0] == NOT_YET


@each([e for e in FUNCTIONS if takes_a_tensor(e)])
def test_a_changed_input_is_noticed(exercise, capsys):
    def careless(*arguments):
        result = exercise.answer(*arguments)
        given = next(a for a in arguments if isinstance(a, torch.Tensor))
        given.copy_(~given if given.dtype == torch.bool else given + 1)
        return result

    state, said = state_of(exercise, careless, capsys)
    assert state == NOT_YET
    assert "changed its input" in said


@each(EXACT)
@pytest.mark.parametrize(
    "touch", [lambda: torch.rand(1), random.random, np.random.rand, lambda: torch.manual_seed(0)]
)
def test_who_touches_the_global_random_state_is_told(exercise, touch, capsys):
    def careless(*arguments):
        touch()
        return exercise.answer(*arguments)

    state, said = state_of(exercise, careless, capsys)
    assert state == NOT_YET
    assert "global random state" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.double() if x.dtype == torch.float32 else x.float(), "dtype"),
        (lambda x: x[:1, :, :, :1], "shape"),
        (lambda x: x * torch.nan, "nan"),
        (lambda x: x.tolist(), "A tensor was expected; a list came"),
        (lambda x: x + 1, "not the expected ones"),
        (lambda x: x.to("meta"), "device"),
    ],
)
def test_what_is_wrong_with_a_tensor_is_said(change, words, capsys):
    exercise = introduction.add_noise
    _state, said = state_of(exercise, lambda *a: change(exercise.answer(*a)), capsys)
    assert words in said


def test_a_loss_that_cannot_be_learned_from_is_noticed(capsys):
    loss = introduction.noise_loss
    for cut in (torch.Tensor.detach, torch.Tensor.item):
        state, _said = state_of(loss, lambda *a, cut=cut: cut(loss.answer(*a)), capsys)
        assert state == NOT_YET


def test_an_error_is_reported_with_its_line(capsys):
    _state, said = state_of(from_scratch.corrupt, broken, capsys)
    assert "RuntimeError: something gave way" in said
    assert 'raise RuntimeError("something gave way")' in said


def test_who_calls_the_function_is_told_to_pass_it(capsys):
    _state, said = state_of(from_scratch.corrupt, torch.zeros(2), capsys)
    assert "ex.corrupt.check(my_corrupt)" in said


# --- harm that does not happen


@pytest.mark.parametrize("never", [endless, stubborn])
@pytest.mark.usefixtures("impatient")
def test_an_endless_loop_is_reported_and_all_goes_on(never, capsys):
    state, said = state_of(from_scratch.ddim, never, capsys)
    assert state == NOT_YET
    assert "still running" in said
    assert state_of(from_scratch.ddim, from_scratch.ddim.answer, capsys)[0] == RIGHT


def test_where_there_is_no_alarm_answers_are_judged_without_a_limit(capsys):
    exercise = from_scratch.ddim
    thread = threading.Thread(target=exercise.check, args=(exercise.answer,))
    thread.start()
    thread.join()
    assert exercise.verdict.state == RIGHT


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms on this system")
def test_another_alarm_goes_on_afterwards():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    kept = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(OutOfTime), time_limit(0.1):
            endless()
        time.sleep(0.4)
        assert rung == [1]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *kept)


def test_the_learner_can_still_interrupt():
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        from_scratch.ddim.check(interrupted)


def draw_some():
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


@each(EVERY)
def test_the_global_random_state_is_as_it_was(exercise):
    def greedy(*arguments):
        draw_some()
        torch.manual_seed(7)

    for answer in (greedy, value_of(exercise)):
        with kept_random_states():
            expected = draw_some()
        with kept_random_states():
            exercise.check(answer)
            exercise.hint()
            exercise.solution()
            assert draw_some() == expected


# --- hints, solutions, cards


@each(EVERY)
def test_hints_come_one_by_one_and_end(exercise, capsys):
    for count in range(1, len(exercise.hints) + 1):
        exercise.hint()
        said = capsys.readouterr().out
        assert [hint in said for hint in exercise.hints].count(True) == count
    assert "That was the last" in said
    exercise.hint()
    assert capsys.readouterr().out == said


@each(EVERY)
def test_a_solution_shows_the_code_and_why(exercise, capsys):
    exercise.solution()
    said = capsys.readouterr().out
    assert exercise.solution_code in said
    assert exercise.why in said
    assert exercise.verdict.state == NOT_TRIED


class Reader(HTMLParser):
    """Collects the text, and checks that what is opened is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@each(EVERY)
def test_cards_say_the_same_in_a_notebook_and_in_a_terminal(exercise):
    exercise.check(exercise.slips[0].wrong)
    exercise.hint()
    for card in (verdict_card(exercise), hint_card(exercise), solution_card(exercise)):
        reader = Reader(card._repr_html_())
        assert reader.open == []
        plain = re.sub(r"[\s`:]", "", repr(card))
        for part in card.paragraphs:
            assert re.sub(r"[\s`*]", "", part) in re.sub(r"[\s*]", "", reader.text)
            assert re.sub(r"[\s`:]", "", part) in plain
        assert len(card._repr_html_()) < 6000


def test_a_card_escapes_what_the_learner_wrote(capsys):
    introduction.first_guess.check("<script>alert(1)</script>")
    html = verdict_card(introduction.first_guess)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_what_is_not_tried_takes_one_quiet_line():
    line = verdict_card(introduction.calls)
    assert isinstance(line, Line)
    assert repr(line) == "○ Not tried yet: calls. ex.calls.hint() helps."
    assert not hasattr(line, "_repr_html_")


# --- progress


def test_progress_shows_each_state_in_the_picture_and_in_words(capsys):
    from_scratch.corrupt.check(from_scratch.corrupt.answer)
    from_scratch.ddim.check(broken)
    ax = plot_progress(from_scratch.EXERCISES)
    counts = {c.get_label(): len(c.get_offsets()) for c in ax.collections}
    left = len(from_scratch.EXERCISES) - 2
    assert counts == {"right: 1": 1, "not right yet: 1": 1, f"not tried: {left}": left}
    places = [c.get_offsets()[0, 0] for c in ax.collections[:2]]
    names = [e.name for e in from_scratch.EXERCISES]
    assert [names[int(place) - 1] for place in places] == ["corrupt", "ddim"]
    assert all(find_hangul() in text.get_family() for text in ax.get_legend().get_texts())
    words = describe_progress(from_scratch.EXERCISES)
    count = len(from_scratch.EXERCISES)
    said = f"1 of {count} exercises right. Not right yet: ddim. Not tried: posterior_mean, score,"
    assert words.startswith(said)
    capsys.readouterr()
    assert from_scratch.progress() is None
    assert capsys.readouterr().out.strip() == words


def test_a_second_try_replaces_the_first():
    exercise = from_scratch.perfect
    for answer, state in (("the mean", NOT_YET), ("copies", RIGHT), (..., NOT_TRIED)):
        exercise.check(answer)
        assert exercise.verdict.state == state


# --- comparing


@given(st.floats(-100, 100), st.floats(0.5, 2))
def test_numbers_are_taken_in_any_wrapping(number, tolerance):
    for got in (number, np.float64(number), torch.tensor(number, dtype=torch.float64)):
        assert difference(number, got, tolerance) == ""
        assert difference(number + 2 * tolerance + 1, got, tolerance) != ""


def test_large_tensors_are_described_by_their_beginning():
    text = describe(torch.zeros(100, dtype=torch.float64))
    assert text == "float64, shape (100,), beginning 0, 0, 0, …"
    assert describe(torch.tensor([[0.5], [2.0]])) == "[[0.5], [2]]"


def test_several_results_are_compared_one_by_one():
    pair = torch.zeros(2), torch.ones(3)
    assert difference(pair, [*pair]) == ""
    assert difference(pair, pair[::-1]).startswith("Result 1: The shape (2,) was expected")
    assert difference(pair, (pair[0], pair[1] + 1)).startswith("Result 2: ")
    assert difference(pair, pair[:1]) == "2 results were expected; 1 came."
    assert difference(pair, pair[0]) == "A tuple was expected; a Tensor came."
    assert describe(pair) == "([0, 0], [1, 1, 1])"


def test_no_slip_is_named_where_the_value_is_right(capsys):
    exercise = guidance_and_fine_tuning.zero_start

    def careless(x, A, B, grad_out):
        result = exercise.answer(x, A, B, grad_out)
        x += 1
        return result

    assert "changed its input" in state_of(exercise, careless, capsys)[1]


# --- the notebooks


each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def cells_of(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells


@each_notebook
def test_each_exercise_has_its_cell_in_order(name):
    asking = [c for c in cells_of(name) if "exercise" in c.metadata.get("tags", [])]
    exercises = NOTEBOOKS[name].EXERCISES
    assert asking[-1].source == "ex.progress()"
    assert len(asking) == len(exercises) + 1
    for cell, exercise in zip(asking, exercises, strict=False):
        assert cell.id == "exercise-" + exercise.name.replace("_", "-")
        assert cell.source.startswith(exercise.starter)
        assert f"\nex.{exercise.name}.check({exercise.learners_name})\n" in cell.source


@each_notebook
def test_exercises_are_numbered_and_asked_before_their_cell(name):
    cells = cells_of(name)
    asking = [i for i, c in enumerate(cells) if "exercise" in c.metadata.get("tags", [])]
    for number, i in enumerate(asking[:-1], start=1):
        assert cells[i - 1].source.startswith(f"**Exercise {number}: ")


@each_notebook
def test_starters_as_they_stand_in_the_notebook_are_not_tried(name, capsys):
    module = NOTEBOOKS[name]
    for cell in cells_of(name):
        if "exercise" in cell.metadata.get("tags", []):
            exec(cell.source, {"ex": module})
    assert {exercise.verdict.state for exercise in module.EXERCISES} == {NOT_TRIED}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(module.EXERCISES) + 1


@each_notebook
def test_no_notebook_holds_a_solution(name):
    text = "\n".join(cell.source for cell in cells_of(name) if cell.cell_type == "code")
    for exercise in NOTEBOOKS[name].EXERCISES:
        body = exercise.solution_code.replace(exercise.starter.split("    ...")[0], "")
        assert body.strip() not in text
        cell_id = "exercise-" + exercise.name.replace("_", "-")
        asking = next(c for c in cells_of(name) if c.id == cell_id)
        assert not any(line.strip() in asking.source for line in body.splitlines() if line.strip())
