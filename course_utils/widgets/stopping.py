"""Ending a loop that runs in a cell: by a button, or by the first interrupt, without an error.

A kernel that is busy with a cell leaves clicks waiting until the cell has ended. Where they wait
depends on ipykernel: up to 6 (Colab's) in a queue, where `click_waits` looks; in 7.0 to 7.3
nowhere, a thread of its own handles them if the front end asks for that; since then a thread asks
the widget's comm where to send them, and `overhear` listens. An interrupt works everywhere.

Both only look. To handle the waiting messages instead, as jupyter-ui-poll does, loses what the
cell prints afterwards under ipykernel 6, if another cell waits: "Run all" is enough.
"""

import signal
import threading
from collections.abc import Callable

import ipywidgets
import zmq

from course_utils.language import _
from course_utils.widgets.controls import running_kernel


class Stop:
    """`with stop:` an interrupt or a click on `button()` makes `heard()` true.

    A second interrupt is Python's own KeyboardInterrupt, also where interrupts were ignored, as
    in a process that a shell started in the background.
    """

    def __init__(self):
        self.asked, self._button = False, None

    def button(self) -> ipywidgets.Button:
        """A button that asks to stop."""
        tooltip = _("end the training after this step; the model keeps what it has learned")
        self._button = ipywidgets.Button(description=_("Stop"), icon="stop", tooltip=tooltip)
        self._button.on_click(self._ask)
        overhear(self._button.comm, self._ask)
        return self._button

    def heard(self) -> bool:
        """Whether someone has asked to stop."""
        if self._button is not None and click_waits(running_kernel(), self._button.model_id):
            self.asked = True
        return self.asked

    def _ask(self, *event):
        self.asked = True

    def _interrupted(self, *event):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.asked = True

    def __enter__(self):
        self._listens = threading.current_thread() is threading.main_thread()
        if self._listens:
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *error):
        if self._listens:
            signal.signal(signal.SIGINT, self._before)


def overhear(comm, answer: Callable[[], None]) -> None:
    """Call `answer` as soon as a click arrives, on the thread that asks where to send it."""
    route = getattr(comm, "_reply_subshell_for", None)
    if route is None:
        return

    def listen(data, default):
        if isinstance(data, dict) and data.get("method") == "custom":
            answer()
        return route(data, default)

    comm._reply_subshell_for = listen


def click_waits(kernel, comm_id: str) -> bool:
    """Whether a message for this widget lies in the queue of a busy kernel; it is left there."""
    stream, queue = getattr(kernel, "shell_stream", None), getattr(kernel, "msg_queue", None)
    if stream is None or queue is None:
        return False
    stream.flush(zmq.POLLIN)
    waiting = [arguments[-1] for *_rank, arguments in tuple(queue._queue) if arguments]
    return any(_is_for(kernel.session, frames, comm_id) for frames in waiting)


def _is_for(session, frames, comm_id):
    """Whether these frames are a comm_msg to comm_id; read without spending their signature."""
    if not isinstance(frames, list):
        return False
    _ident, parts = session.feed_identities(frames, copy=False)
    header, content = (session.unpack(parts[i].bytes) for i in (1, 4))
    return header["msg_type"] == "comm_msg" and content["comm_id"] == comm_id
