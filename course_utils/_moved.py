"""Modules that had another name once: `import course_utils.noise` works, and says what is new."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings

# The name it had, and the modules that hold its contents now.
_TABLE = """
butterflies      data.butterflies
digits           data.digits
folder           data.decoding
fetch            data.hub
noise            schedule models.calling
loss             training.loss
optimizers       training.optimizers
metrics          evaluation.distances
features         evaluation.features
memorisation     evaluation.copies
laws             evaluation.butterfly_laws
measured         evaluation.benchmarks
figure           plotting.style
pictures         plotting.pictures
curves           plotting.curves
animation        plotting.animation
engine           runs.trainer
rundir           runs.folder
checkpoints      runs.checkpoints
journal          runs.log
product          runs.outputs
recipes.batches  runs.batches
recipes.plan     runs.cost
recipes.tables   runs.scoreboard
recipes.parts    recipes.build trained
papermill_output runs.papermill
card             sharing.card
hub              sharing.upload
"""
_ROWS = [line.split() for line in _TABLE.strip().splitlines()]
_JUDGE = ("exercise", "judging", "cards", "comparing", "trials", "limits", "progress")
MOVED = {old: new for old, *new in _ROWS}
MOVED |= {f"exercises.{name}": [f"exercises.judge.{name}"] for name in _JUDGE}


class OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module by its old name; what is asked of it comes from the modules of today."""

    def find_spec(self, fullname, path=None, target=None):
        """A spec for the names in `MOVED`, None for all others."""
        known = fullname.removeprefix(f"{__package__}.") in MOVED
        return importlib.machinery.ModuleSpec(fullname, self) if known else None

    def create_module(self, spec):
        """A module whose attributes are looked up in the new ones."""
        new = [f"{__package__}.{n}" for n in MOVED[spec.name.removeprefix(f"{__package__}.")]]

        def look_up(name):
            for module in map(importlib.import_module, new):
                if hasattr(module, name):
                    return getattr(module, name)
            raise AttributeError(f"module {spec.name!r} has no attribute {name!r}")

        message = f"{spec.name} is {' and '.join(new)} now: import from there"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        module = types.ModuleType(spec.name, message)
        module.__getattr__ = look_up
        return module

    def exec_module(self, module):
        """Nothing is left to do."""


sys.meta_path.append(OldNames())
