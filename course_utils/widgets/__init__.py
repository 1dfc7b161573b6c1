"""Six things that move, each with a still figure of the same content where nobody can move it.

In a notebook that a person has open, each function returns controls of ipywidgets' core above
pictures in HTML. In a headless run (papermill, nbval, nbconvert), and where there is no notebook,
it returns a matplotlib Figure, so that a stored notebook never holds an empty box.
"""

from course_utils.widgets.noising import noise, workshop
from course_utils.widgets.racing import Lap, race, run_race
from course_utils.widgets.training import Look, watch
from course_utils.widgets.trajectories import film, latent_walk

__all__ = [
    "Lap",
    "Look",
    "film",
    "latent_walk",
    "noise",
    "race",
    "run_race",
    "watch",
    "workshop",
]
