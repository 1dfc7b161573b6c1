"""Training recipes: small TOML files that say everything a training depends on but the seed."""

from course_utils.recipes.reading import (
    FOLDER,
    differences,
    load_recipe,
    parse_recipe,
    recipe_names,
)
from course_utils.recipes.recipe import (
    Data,
    Model,
    Options,
    Recipe,
    Sampler,
    Schedule,
    Start,
    Training,
)
