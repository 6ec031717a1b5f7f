"""Training is a table of stages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

from neuvid.errors import InvalidSetting
from neuvid.models.base import ModelConfig
from neuvid.training.chains import Chain
from neuvid.training.joint_routes import JointRoutes
from neuvid.training.losses import Objective

CROP_MULTIPLE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A number of optimiser runs over batches of one shape.

    `clip_frames` 1 trains the still-picture model, more a chain whose first frame comes from the
    still-picture model as it is, or is the true frame with `true_first_frame`. `train` names
    parameters by patterns as in a shell; those after a pattern with a leading "!" are left out.
    With `detach_every` n, gradients go back n frames at most and each n frames are one optimiser
    step; 0 is the whole chain. Features restart every `refresh_period` frames, None for the period
    of the model. `recompute` saves memory by coding each frame once more when its gradient is
    needed. The learning rate rises over `warm_up_steps`, then falls as a cosine to
    `final_fraction` of its peak. `batch` counts the samples of all processes together.

    Raises InvalidSetting when a field is out of range.
    """

    name: str
    steps: int
    learning_rate: float
    clip_frames: int
    crop: int
    batch: int
    train: tuple[str, ...] = ("*",)
    detach_every: int = 0
    true_first_frame: bool = False
    refresh_period: int | None = None
    recompute: bool = False
    photo_share: float = 0.25
    warm_up_steps: int = 0
    final_fraction: float = 1.0
    gradient_norm_max: float = 1.0

    def __post_init__(self) -> None:
        for field in ("steps", "clip_frames", "batch"):
            if getattr(self, field) < 1:
                raise InvalidSetting(field, got=getattr(self, field), expected="1 or more")
        if self.crop < CROP_MULTIPLE or self.crop % CROP_MULTIPLE:
            raise InvalidSetting("crop", got=self.crop, expected=f"a multiple of {CROP_MULTIPLE}")
        if not 0 < self.learning_rate < 1:
            raise InvalidSetting("learning_rate", got=self.learning_rate, expected="within 0..1")

    @property
    def is_intra(self) -> bool:
        """Whether the still-picture model is trained."""
        return self.clip_frames == 1

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of step 0..steps-1."""
        if step < self.warm_up_steps:
            return self.learning_rate * (step + 1) / self.warm_up_steps
        progress = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        cosine = 0.5 + 0.5 * math.cos(math.pi * progress)
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * cosine)

    def trains(self, parameter: str) -> bool:
        """Return whether the parameter of that name is trained."""
        wanted = False
        for pattern in self.train:
            if fnmatchcase(parameter, pattern.removeprefix("!")):
                wanted = not pattern.startswith("!")
        return wanted

    def segments(self) -> list[range]:
        """Return the frames of each optimiser step."""
        if self.is_intra:
            return [range(1)]
        length = self.detach_every or self.clip_frames
        starts = range(1, self.clip_frames, length)
        return [range(start, min(start + length, self.clip_frames)) for start in starts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the model of a config, called `model`, is trained from untrained weights to the end.

    With `initialise` the untrained weights are already those of a transform codec. With `soap`
    matrices are trained by SOAP, the rest by AdamW, which else trains all.
    Validation codes chains of `validation_frames`. `joint_routes` are for models with several
    routes; `chain` says what is learned from frames.
    """

    name: str
    model: str
    config: ModelConfig
    stages: tuple[Stage, ...]
    initialise: bool
    objective: Objective
    validation_frames: int
    validation_crop: int
    soap: bool = False
    joint_routes: JointRoutes | None = None
    chain: type[Chain] = Chain

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def needs_intra(self) -> bool:
        """Whether a trained still-picture model must be given."""
        return not any(stage.is_intra for stage in self.stages)

    def place(self, step: int) -> tuple[int, int]:
        """Return the stage's number and the step within it of a step 0..steps-1."""
        for number, stage in enumerate(self.stages):
            if step < stage.steps:
                return number, step
            step -= stage.steps
        raise ValueError("the recipe ends before this step")

    def identity(self, step: int) -> dict[str, str]:
        """Return what must not change for a run that has done `step` steps to go on."""
        begun, start = [], 0
        for stage in self.stages:
            if start < step:
                begun.append(stage)
            start += stage.steps
        joint = {"joint routes": repr(self.joint_routes)} if self.joint_routes else {}
        return {
            "recipe": self.name,
            "config": repr(self.config),
            "stages begun": repr(begun),
            "optimiser": "SOAP" if self.soap else "AdamW",
            **joint,
        }
