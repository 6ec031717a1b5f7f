"""Every recipe that neuvid knows by name."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from neuvid.errors import InvalidSetting
from neuvid.models.presets import DYNAMIC, DYNAMIC_SMALL, FM, FM_SMALL, RT, RT_SMALL
from neuvid.training.foresight import ForesightChain
from neuvid.training.joint_routes import JointRoutes
from neuvid.training.losses import Objective
from neuvid.training.stages import Recipe, Stage

INTRA, INTER = ("intra.*",), ("*", "!intra.*")
FIXED = ("!analysis.*", "!synthesis.*")  # orthonormal transforms
LUMA_FIRST = (10.0, 1.0, 1.0)  # chroma at luma's cost buys decibels of chroma that nobody sees
PAPER_OBJECTIVE = Objective(rgb_share=0.2)
EPOCH_STEPS = 4000  # of the published schedules: Vimeo-90k in batches of 16

# The schedule of the nearest published training code, low-delay variant, since that of DCVC-RT
# was never released: constant rates that fall between stages.
_RT_IMAGE = Stage(
    name="image",
    steps=45 * EPOCH_STEPS,
    learning_rate=2e-4,
    clip_frames=1,
    crop=256,
    batch=16,
    train=INTRA,
    photo_share=1.0,
    gradient_norm_max=0.1,
)
_RT_PAIRS = Stage(
    name="pairs with true references",
    steps=5 * EPOCH_STEPS,
    learning_rate=1e-4,
    clip_frames=2,
    crop=256,
    batch=16,
    train=INTER,
    detach_every=1,
    true_first_frame=True,
    photo_share=0.0,
    gradient_norm_max=0.2,
)
_RT_SHORT = replace(_RT_PAIRS, true_first_frame=False)
_RT_CHAIN = replace(_RT_SHORT, batch=8, learning_rate=5e-5, detach_every=0, recompute=True)


def _rt_image_stage(name: str, epochs: int, learning_rate: float, crop: int) -> Stage:
    steps = epochs * EPOCH_STEPS
    return replace(_RT_IMAGE, name=name, steps=steps, learning_rate=learning_rate, crop=crop)


def _rt_chain_stage(epochs: int, learning_rate: float, frames: int, crop: int) -> Stage:
    return replace(
        _RT_CHAIN,
        name=f"chains of {frames} frames of {crop}x{crop} at {learning_rate:g}",
        steps=epochs * EPOCH_STEPS,
        learning_rate=learning_rate,
        clip_frames=frames,
        crop=crop,
    )


RT_IMAGE_RECIPE = Recipe(
    name="rt-image",
    model="rt",
    config=RT,
    initialise=False,
    objective=PAPER_OBJECTIVE,
    validation_frames=1,
    validation_crop=256,
    stages=(
        _RT_IMAGE,
        _rt_image_stage("image at 5e-5", 25, 5e-5, 256),
        _rt_image_stage("image at 1e-5", 20, 1e-5, 256),
        _rt_image_stage("large crops", 5, 2e-4, 512),
        _rt_image_stage("large crops at 5e-5", 4, 5e-5, 512),
        _rt_image_stage("large crops at 1e-5", 4, 1e-5, 512),
        _rt_image_stage("large crops at 1e-6", 2, 1e-6, 512),
    ),
)

RT_VIDEO_RECIPE = Recipe(
    name="rt-video",
    model="rt",
    config=RT,
    initialise=False,
    objective=PAPER_OBJECTIVE,
    validation_frames=16,
    validation_crop=256,
    stages=(
        _RT_PAIRS,
        replace(_RT_SHORT, name="three frames", clip_frames=3),
        replace(_RT_SHORT, name="six frames", clip_frames=6, steps=45 * EPOCH_STEPS),
        _rt_chain_stage(5, 5e-5, 8, 256),
        _rt_chain_stage(5, 5e-5, 16, 256),
        _rt_chain_stage(5, 5e-5, 24, 256),
        _rt_chain_stage(15, 5e-5, 32, 256),
        _rt_chain_stage(7, 5e-6, 32, 256),
        _rt_chain_stage(14, 5e-5, 33, 512),
        _rt_chain_stage(4, 5e-6, 33, 512),
        _rt_chain_stage(7, 2e-5, 49, 512),
        _rt_chain_stage(2, 2e-6, 49, 512),
        _rt_chain_stage(7, 5e-6, 65, 512),
        _rt_chain_stage(6, 2e-6, 65, 512),
        replace(_rt_chain_stage(2, 2e-6, 97, 512), batch=4),
        replace(_rt_chain_stage(2, 5e-7, 129, 512), batch=4),
    ),
)

FM_IMAGE_RECIPE = replace(RT_IMAGE_RECIPE, name="fm-image", model="fm", config=FM)

# Clips of 7 frames, then of 32 (section 4.1 of the paper), then long enough for a refresh.
FM_VIDEO_RECIPE = replace(
    RT_VIDEO_RECIPE,
    name="fm-video",
    model="fm",
    config=FM,
    stages=(
        _RT_PAIRS,
        replace(_RT_SHORT, name="three frames", clip_frames=3),
        replace(_RT_SHORT, name="seven frames", clip_frames=7, steps=45 * EPOCH_STEPS),
        _rt_chain_stage(10, 5e-5, 7, 256),
        _rt_chain_stage(15, 5e-5, 32, 256),
        _rt_chain_stage(7, 5e-6, 32, 256),
        _rt_chain_stage(3, 5e-6, 41, 256),
    ),
)

_SMALL_IMAGE = Stage(
    name="image",
    steps=12000,
    learning_rate=5e-4,
    clip_frames=1,
    crop=128,
    batch=8,
    train=INTRA,
    photo_share=0.5,
    warm_up_steps=200,
    final_fraction=0.02,
)

RT_SMALL_IMAGE_RECIPE = Recipe(
    name="rt-small-image",
    model="rt-small",
    config=RT_SMALL,
    initialise=True,
    objective=Objective(rgb_share=0.2, plane_weights=LUMA_FIRST, balance=0.5),
    soap=True,
    validation_frames=1,
    validation_crop=192,
    stages=(
        _SMALL_IMAGE,
        replace(
            _SMALL_IMAGE,
            name="large crops",
            steps=11400,
            learning_rate=4e-4,
            crop=256,
            batch=4,
            warm_up_steps=30,
        ),
        replace(
            _SMALL_IMAGE,
            name="priors of z",
            steps=400,
            learning_rate=1e-3,
            batch=16,
            train=("intra.prior.hyperprior.prior.*",),
            warm_up_steps=10,
        ),
    ),
)

_SMALL_PAIRS = Stage(
    name="pairs",
    steps=700,
    learning_rate=5e-4,
    clip_frames=2,
    crop=128,
    batch=8,
    train=INTER,
    photo_share=0.4,
    warm_up_steps=200,
    final_fraction=0.5,
)
_SMALL_CHAIN = replace(_SMALL_PAIRS, photo_share=0.3, batch=4, warm_up_steps=50)


def _small_chain(frames: int, steps: int, learning_rate: float, *, detach_every: int = 0) -> Stage:
    return replace(
        _SMALL_CHAIN,
        name=f"{frames} frames",
        clip_frames=frames,
        steps=steps,
        learning_rate=learning_rate,
        detach_every=detach_every,
    )


RT_SMALL_VIDEO_RECIPE = Recipe(
    name="rt-small-video",
    model="rt-small",
    config=RT_SMALL,
    initialise=True,
    objective=Objective(rgb_share=0.2, plane_weights=LUMA_FIRST),
    soap=True,
    validation_frames=8,
    validation_crop=192,
    stages=(
        _SMALL_PAIRS,
        _small_chain(3, 900, 4e-4),
        _small_chain(5, 600, 3e-4),
        _small_chain(8, 250, 2e-4),
        replace(_small_chain(16, 80, 1e-4, detach_every=5), final_fraction=0.02),
        # The second round: the same again, longer.
        _small_chain(4, 6000, 4e-4),
        _small_chain(7, 3000, 3e-4),
        _small_chain(16, 600, 2e-4, detach_every=5),
        replace(_small_chain(32, 200, 1e-4, detach_every=8), final_fraction=0.02),
    ),
)

FM_SMALL_VIDEO_RECIPE = Recipe(
    name="fm-small-video",
    model="fm-small",
    config=FM_SMALL,
    initialise=True,
    objective=Objective(rgb_share=0.2, plane_weights=LUMA_FIRST, balance=0.6),
    soap=True,
    validation_frames=8,
    validation_crop=192,
    stages=tuple(
        replace(stage, train=(*INTER, *FIXED))
        for stage in (
            _small_chain(3, 1200, 1e-3),
            _small_chain(5, 1000, 6e-4),
            _small_chain(6, 4800, 7e-4),
            # Long enough for features that restart on the way.
            replace(_small_chain(9, 500, 3e-4), refresh_period=4, final_fraction=0.02),
        )
    ),
)

CODEC = ("*", "!intra.*", "!agent.*")
AGENT = ("agent.*",)

DYNAMIC_VIDEO_RECIPE = replace(
    FM_VIDEO_RECIPE,
    name="dynamic-video",
    model="dynamic",
    config=DYNAMIC,
    stages=tuple(replace(stage, train=CODEC) for stage in FM_VIDEO_RECIPE.stages),
    joint_routes=JointRoutes(first_step=55 * EPOCH_STEPS, period=EPOCH_STEPS),
)

DYNAMIC_AGENT_RECIPE = replace(
    DYNAMIC_VIDEO_RECIPE,
    name="dynamic-agent",
    stages=(
        replace(
            _rt_chain_stage(5, 1e-4, 7, 256),
            name="rates of all routes",
            train=AGENT,
            detach_every=1,
            recompute=False,
            final_fraction=0.02,
        ),
    ),
    joint_routes=None,
    chain=ForesightChain,
)

DYNAMIC_SMALL_VIDEO_RECIPE = replace(
    FM_SMALL_VIDEO_RECIPE,
    name="dynamic-small-video",
    model="dynamic-small",
    config=DYNAMIC_SMALL,
    stages=tuple(
        replace(stage, train=(*CODEC, *FIXED))
        for stage in (
            _small_chain(3, 700, 8e-4),
            replace(_small_chain(5, 800, 5e-4), final_fraction=0.02),
        )
    ),
    joint_routes=JointRoutes(first_step=500, period=60),
)

DYNAMIC_SMALL_AGENT_RECIPE = replace(
    DYNAMIC_SMALL_VIDEO_RECIPE,
    name="dynamic-small-agent",
    stages=(
        replace(
            _small_chain(6, 800, 5e-3, detach_every=1),
            name="rates of all routes",
            train=AGENT,
            final_fraction=0.02,
        ),
    ),
    joint_routes=None,
    chain=ForesightChain,
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        RT_IMAGE_RECIPE,
        RT_VIDEO_RECIPE,
        FM_IMAGE_RECIPE,
        FM_VIDEO_RECIPE,
        RT_SMALL_IMAGE_RECIPE,
        RT_SMALL_VIDEO_RECIPE,
        FM_SMALL_VIDEO_RECIPE,
        DYNAMIC_VIDEO_RECIPE,
        DYNAMIC_AGENT_RECIPE,
        DYNAMIC_SMALL_VIDEO_RECIPE,
        DYNAMIC_SMALL_AGENT_RECIPE,
    )
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a name, or that of `FILE.py:NAME` from a file of Python, which is run.

    Raises InvalidSetting where there is none.
    """
    file, colon, attribute = name.rpartition(":")
    if colon and file.endswith(".py"):
        return _recipe_of_file(Path(file), attribute)
    if name not in RECIPES:
        expected = f"{', '.join(RECIPES)}, FILE.py:NAME"
        raise InvalidSetting("recipe", got=name, expected=expected)
    return RECIPES[name]


def _recipe_of_file(file: Path, name: str) -> Recipe:
    if not file.is_file():
        raise InvalidSetting("recipe", got=str(file), expected="a file that exists")
    sys.path.insert(0, str(file.parent.resolve()))  # where the processes of a run find it, too
    module = import_module(file.stem)
    if not file.samefile(module.__file__ or ""):
        expected = f"a file not called as the module {module.__name__}, which is known already"
        raise InvalidSetting("recipe", got=str(file), expected=expected)
    recipe = getattr(module, name, None)
    if not isinstance(recipe, Recipe):
        known = [key for key, value in vars(module).items() if isinstance(value, Recipe)]
        raise InvalidSetting(
            "recipe", got=name, expected=", ".join(known) or "a Recipe in the file"
        )
    return recipe
