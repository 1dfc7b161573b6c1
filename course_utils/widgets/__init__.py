"""Things that move, each with a still figure of the same content where nobody can move it.

In a notebook that a person has open, each function returns controls of ipywidgets' core above
pictures in HTML. In a headless run (papermill, nbval, nbconvert), and where there is no notebook,
it returns a matplotlib Figure, so that a stored notebook never holds an empty box.
`paint` returns a `Pad`, which shows the one or the other and always holds its mask.
"""

from course_utils.widgets.noising import noise, workshop
from course_utils.widgets.painting import Pad, paint
from course_utils.widgets.prompting import prompt
from course_utils.widgets.racing import Lap, race, run_race
from course_utils.widgets.searching import search
from course_utils.widgets.stored import gallery, price
from course_utils.widgets.training import Look, watch
from course_utils.widgets.trajectories import film, latent_walk

__all__ = [
    "Lap",
    "Look",
    "Pad",
    "film",
    "gallery",
    "latent_walk",
    "noise",
    "paint",
    "price",
    "prompt",
    "race",
    "run_race",
    "search",
    "watch",
    "workshop",
]
