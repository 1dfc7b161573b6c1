"""Training recipes: small TOML files that say everything a training depends on but the seed."""

from course_utils.recipes.recipe import (
    FOLDER,
    Data,
    Model,
    Options,
    Recipe,
    Sampler,
    Schedule,
    Start,
    Training,
    differences,
    load_recipe,
    parse_recipe,
    recipe_names,
)
