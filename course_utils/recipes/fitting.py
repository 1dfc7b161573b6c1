"""Which settings go together: each kind of network is asked for what it needs, and for no more."""

from dataclasses import fields

PICTURES = ("UNet", "UNet2DModel")  # kinds that draw without words
NUM_HEADS = 4  # of a text encoder
ONLY_FOR = {  # a field of the model that not every kind has
    "attention": (*PICTURES, "UNet2DConditionModel"),
    "patch_size": PICTURES,
    "num_classes": PICTURES,
    "latent_channels": ("AutoencoderKL",),
    "num_tokens": ("CLIPTextModel",),
}


def check(recipe) -> None:
    """Raises ValueError for settings of a `Recipe` that do not go together, with what would."""
    if recipe.training.max_steps is None and recipe.training.max_seconds is None:
        raise ValueError("a recipe needs training.max_steps or training.max_seconds, or both")
    if recipe.data.streaming and recipe.data.source not in ("folder", "hub"):
        raise ValueError(f"data.streaming is for folder and hub, not {recipe.data.source!r}")
    if recipe.start.parts and (recipe.model is None or recipe.model.kind != "UNet2DConditionModel"):
        raise ValueError("start.parts are for model.kind 'UNet2DConditionModel': take them out")
    if recipe.start.folder:
        _check_start(recipe)
        return
    if recipe.model is None:
        raise ValueError(
            "a recipe needs a [model], to begin with random weights, or start.folder, a "
            "trained one to go on from (on the command line --from FOLDER)"
        )
    if recipe.start.lora_rank is not None:
        raise ValueError("start.lora_rank needs start.folder: adapters go on a trained model")
    CHECKS[recipe.model.kind](recipe)
    _check_levels(recipe.model)


def _check_start(recipe) -> None:
    if recipe.model is not None:
        raise ValueError(
            f"start.folder {recipe.start.folder!r} brings its own network, and there is a "
            "[model] besides: take one of the two out, or use the recipe finetune-cpu"
        )
    if recipe.schedule.name or recipe.schedule.prediction_type:
        raise ValueError(
            "schedule.name and schedule.prediction_type are those of start.folder: take them out"
        )


def _check_levels(model) -> None:
    defaults = {field.name: field.default for field in fields(model)}
    for name, kinds in ONLY_FOR.items():
        if getattr(model, name) != defaults[name] and model.kind not in kinds:
            allowed = " and ".join(map(repr, kinds))
            raise ValueError(f"model.{name} is for {allowed}, not {model.kind!r}: take it out")
    levels = len(model.channels)
    if model.attention and len(model.attention) != levels:
        raise ValueError(
            f"model.attention must have one value for each of the {levels} levels of "
            f"model.channels, got {list(model.attention)}"
        )


def _check_pictures(recipe) -> None:
    if recipe.schedule.name is None:
        raise ValueError("schedule.name must be 'linear', 'cosine' or 'straight', got None")
    if recipe.model.kind == "UNet2DModel" and recipe.schedule.name == "straight":
        raise ValueError(
            "schedule.name 'straight' has no DDPMPipeline: use 'cosine', or model.kind 'UNet'"
        )
    guided = recipe.training.drop or recipe.sampler.guidance != 1
    if recipe.model.num_classes is None and guided:
        raise ValueError("training.drop and sampler.guidance need model.num_classes")


def _check_latents(recipe) -> None:
    if not recipe.start.parts:
        raise ValueError(
            "model.kind 'UNet2DConditionModel' works on latents and reads words: name in "
            "start.parts who makes them, such as 'emoji-stable-diffusion', which ships"
        )
    asked = recipe.schedule.name, recipe.schedule.prediction_type or "v_prediction"
    if asked != ("cosine", "v_prediction"):
        raise ValueError(
            "model.kind 'UNet2DConditionModel' is trained for its pipeline's scheduler: "
            f"schedule.name must be 'cosine' and prediction_type 'v_prediction', got {asked}"
        )
    _check_captioned(recipe)


def _check_autoencoder(recipe) -> None:
    _check_noiseless(recipe)
    if recipe.model.num_blocks != 1:
        got = recipe.model.num_blocks
        raise ValueError(f"model.num_blocks must be 1 for model.kind 'AutoencoderKL', got {got}")


def _check_words(recipe) -> None:
    _check_noiseless(recipe)
    _check_captioned(recipe)
    channels = recipe.model.channels
    if len(channels) != 1 or channels[0] % NUM_HEADS:
        wanted = f"one width for model.kind 'CLIPTextModel', a multiple of {NUM_HEADS}"
        raise ValueError(f"model.channels must hold {wanted}, got {list(channels)}")
    if recipe.training.accumulation != 1:
        raise ValueError(
            "training.accumulation must be 1 for model.kind 'CLIPTextModel': each text is "
            f"compared with all pictures of its batch; got {recipe.training.accumulation}"
        )


def _check_noiseless(recipe) -> None:
    for name, section in (("schedule", recipe.schedule), ("sampler", recipe.sampler)):
        if section != type(section)():
            raise ValueError(
                f"[{name}] is for models that draw, not for model.kind {recipe.model.kind!r}: "
                "take it out"
            )
    if recipe.training.drop:
        raise ValueError(f"training.drop is not for model.kind {recipe.model.kind!r}: take it out")


def _check_captioned(recipe) -> None:
    for name in ("flip", "streaming"):
        if getattr(recipe.data, name):
            wanted = f"False for model.kind {recipe.model.kind!r}, which is told captions"
            raise ValueError(f"data.{name} must be {wanted}")


CHECKS = dict.fromkeys(PICTURES, _check_pictures) | {
    "UNet2DConditionModel": _check_latents,
    "AutoencoderKL": _check_autoencoder,
    "CLIPTextModel": _check_words,
}
