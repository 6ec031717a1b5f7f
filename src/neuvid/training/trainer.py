"""The training loop: runs a recipe, and goes on where an interrupted run ended."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from neuvid.codec.schedule import Schedule
from neuvid.errors import InvalidSetting, NeuvidError
from neuvid.models.checkpoint import read_weights, save_model
from neuvid.models.presets import build_model
from neuvid.training.data import BatchShape, Sampler, TrainingSet, prefetch
from neuvid.training.inheritance import beginning
from neuvid.training.initialisation import initialise
from neuvid.training.joint_routes import DivergenceSearch, draw_routes
from neuvid.training.processes import launch, stop_signals
from neuvid.training.progress import Progress, describe_training, describe_validation
from neuvid.training.runs import BEST_FILE, LAST_FILE, RunFolder, RunLogs
from neuvid.training.stages import Recipe, Stage
from neuvid.training.validation import Validation

AVERAGE_DECAY = 0.999  # of the running average of weights
BETAS, WEIGHT_DECAY = (0.9, 0.98), 1e-4
PRIOR_GAIN = 20.0  # times the learning rate: every quality has priors of its own, seldom seen
CHECKPOINT_SECONDS = 180.0
SKIPPED_MAX = 50  # steps in a row that are not finite
VALIDATION_SAMPLES = 8
VALIDATION_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How a run goes on, apart from what it trains.

    `steps` is the step of the recipe to stop at, `minutes` the time of this run; None is no
    bound. A fresh run begins with the exported files `weights` and `intra_weights`, where given;
    of the second only the still-picture model is taken. `threads` 0 leaves PyTorch's choice.
    """

    steps: int | None = None
    minutes: float | None = None
    weights: Path | None = None
    intra_weights: Path | None = None
    threads: int = 0
    seed: int = 1
    log_steps: int = 50
    validation_steps: int = 500


class Trainer:
    """Trains one recipe with the training set in `data` and keeps all results in `out`.

    Everything that can be checked before the first step is: raises InvalidSetting,
    UnreadableInput or UnwritableOutput.
    """

    def __init__(self, recipe: Recipe, data: Path, out: Path, options: TrainingOptions) -> None:
        self.recipe = recipe
        self.options = options
        if options.threads:
            torch.set_num_threads(options.threads)
        self.fabric = launch()
        self.samplers = self._samplers(TrainingSet(data, "train", seed=options.seed))
        self.validation = Validation(recipe, self._validation_frames(data))
        torch.manual_seed(options.seed)
        self.model = build_model(recipe.config)
        joint = recipe.joint_routes
        self.search = DivergenceSearch(self.model.routes, joint.fall) if joint else None
        weight_bytes = sum(p.numel() * p.element_size() for p in self.model.parameters())
        self.run = RunFolder.create(out, weight_bytes)
        self.console = Console(
            soft_wrap=True, highlight=False, markup=False, quiet=not self.fabric.is_global_zero
        )
        self.step = self.skipped = self.skipped_in_a_row = 0
        self.best_loss = float("inf")
        self.seconds_before = 0.0  # of earlier runs
        self.optimiser_state: dict[str, Any] | None = None  # of a stage that was interrupted
        checkpoint = self.run.load_checkpoint()
        if checkpoint is None:
            self._set_fresh_weights()
        self.model.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.model).requires_grad_(False)
        if checkpoint is not None:
            self._resume(checkpoint)
        self.optimiser: torch.optim.Optimizer | None = None
        self.logs: RunLogs | None = None
        self.started = self.saved = time.monotonic()

    def train(self) -> None:
        """Run the recipe from where it stands to its end, or to the bounds in the options.

        Returns after SIGTERM or SIGINT, too, when all is saved. Raises NeuvidError when
        training diverged.
        """
        with self._open_logs(), stop_signals() as is_stopped:
            while not self._is_over(is_stopped):
                number, _ = self.recipe.place(self.step)
                self._train_stage(number, is_stopped)
                self._save()
            if not is_stopped():
                self._validate()
                self._save()

    @contextmanager
    def _open_logs(self) -> Iterator[None]:
        """Let the first process log."""
        device = f"{self.fabric.world_size} x {self.fabric.device.type}"
        where = f"step {self.step} of {self.recipe.steps}"
        threads = torch.get_num_threads()
        self.console.print(f"{self.recipe.name}: {where}, {device}, {threads} threads")
        if not self.fabric.is_global_zero:
            yield
            return
        with closing(self.run.logs(self.step)) as self.logs:
            yield

    def _samplers(self, data: TrainingSet) -> list[Sampler]:
        """Return what draws the batches of this process in each stage."""
        processes = self.fabric.world_size
        samplers = []
        for stage in self.recipe.stages:
            if stage.batch % processes:
                expected = f"a multiple of the {processes} processes"
                raise InvalidSetting("batch", got=stage.batch, expected=expected)
            shape = BatchShape(
                size=stage.batch // processes,
                frames=stage.clip_frames,
                crop=stage.crop,
                photo_share=stage.photo_share,
            )
            samplers.append(data.sampler(shape))
        return samplers

    def _validation_frames(self, data: Path) -> Tensor:
        shape = BatchShape(
            size=VALIDATION_SAMPLES,
            frames=self.recipe.validation_frames,
            crop=self.recipe.validation_crop,
            photo_share=0.5 if self.recipe.validation_frames == 1 else 0.0,
        )
        frames = TrainingSet(data, "validation", seed=VALIDATION_SEED).sampler(shape).batch(0)
        return frames.to(self.fabric.device)

    def _set_fresh_weights(self) -> None:
        options = self.options
        if self.recipe.initialise:
            initialise(self.model)
        if options.weights is not None:
            weights = beginning(self.model, read_weights(options.weights))
            _load(self.model, weights, options.weights)
        if options.intra_weights is not None:
            weights = read_weights(options.intra_weights)
            intra = {name: value for name, value in weights.items() if name.startswith("intra.")}
            others = self.model.state_dict() | intra
            _load(self.model, others if intra else {}, options.intra_weights)
        elif self.recipe.needs_intra and options.weights is None:
            expected = "exported weights with a trained still-picture model"
            raise InvalidSetting("image", got=None, expected=expected)

    def _train_stage(self, number: int, is_stopped: Callable[[], bool]) -> None:
        """Train until the stage ends or the run is over."""
        stage = self.recipe.stages[number]
        self.optimiser = self._optimiser(stage)
        end = self.step + stage.steps - self.recipe.place(self.step)[1]
        sampler = self.samplers[number]
        first_sample = self.fabric.global_rank * sampler.shape.size
        draw = partial(sampler.batch, first_sample=first_sample)
        progress = Progress(self.step, end)
        for frames in prefetch(draw, range(self.step, end)):
            self._train_batch(stage, frames, progress)
            self.step += 1
            if self.step % self.options.log_steps == 0:
                numbers = progress.take(self.step) | {"skipped": self.skipped}
                self.console.print(describe_training(self.step, stage.name, numbers))
                self._log("train", numbers)
            if self.step % self.options.validation_steps == 0:
                self._validate()
            self._lower_ladder()
            if self._is_over(is_stopped):
                break
            if time.monotonic() - self.saved > CHECKPOINT_SECONDS:
                self._save()
        if self.step == end:
            self.optimiser = None

    def _optimiser(self, stage: Stage) -> torch.optim.Optimizer:
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(stage.trains(name))
        priors = {
            id(parameter)
            for prior in self.model.factorised_priors()
            for parameter in prior.parameters()
        }
        groups: dict[float, list[nn.Parameter]] = {1.0: [], PRIOR_GAIN: []}
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                groups[PRIOR_GAIN if id(parameter) in priors else 1.0].append(parameter)
        if not any(groups.values()):
            raise InvalidSetting("train", got=stage.train, expected="names of parameters")
        optimiser = torch.optim.AdamW(
            [{"params": group, "gain": gain} for gain, group in groups.items() if group],
            betas=BETAS,
            weight_decay=WEIGHT_DECAY,
            fused=True,
        )
        if self.optimiser_state is not None:
            optimiser.load_state_dict(self.optimiser_state)
            self.optimiser_state = None
        return optimiser

    def _train_batch(self, stage: Stage, frames: Tensor, progress: Progress) -> None:
        # All randomness depends on the seed and the step, so an interrupted run goes on exactly.
        seed = (self.options.seed << 40) + (self.step << 12) + self.fabric.global_rank
        torch.manual_seed(seed)
        share = torch.rand(len(frames))
        routes = draw_routes(self.model.routes, stage.clip_frames)
        ladder = self.model.route_ladder()
        quality = tuple((share * max(ladder[route] for route in routes)).tolist())
        chain = self.recipe.chain(
            frames=frames.to(self.fabric.device),
            quality=quality,
            routes=routes,
            ladder=ladder,
            objective=self.recipe.objective,
            noise=True,
            schedule=Schedule(refresh_period=stage.refresh_period),
            recompute=stage.recompute,
        )
        with self.fabric.autocast():
            state = None
            if not stage.is_intra:
                state = chain.start(self.model, true_first_frame=stage.true_first_frame)
        for segment in stage.segments():
            with self.fabric.autocast():
                losses, state = chain.code(self.model, state, segment)
            torch.autograd.backward(losses.loss.mean())
            if not self._take_step(stage):
                break
            progress.add(quality, losses)
            state = state.detach()

    def _take_step(self, stage: Stage) -> bool:
        """Update the weights by their gradients; return False when these are not finite."""
        optimiser = self.optimiser
        if optimiser is None:
            raise RuntimeError("no stage has begun")
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        self._average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, stage.gradient_norm_max)
        finite = bool(norm.isfinite())
        if finite:
            _, step_in_stage = self.recipe.place(self.step)
            for group in optimiser.param_groups:
                group["lr"] = group["gain"] * stage.learning_rate_at(step_in_stage)
            optimiser.step()
            self._update_average(step_in_stage)
            self.skipped_in_a_row = 0
        else:
            self._count_skipped()
        optimiser.zero_grad()
        return finite

    def _average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.fabric.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.fabric.all_reduce(flat, reduce_op="mean")  # in place
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _update_average(self, step_in_stage: int) -> None:
        decay = min(AVERAGE_DECAY, (1 + step_in_stage) / (10 + step_in_stage))
        pairs = [
            (average, parameter.detach())
            for average, parameter in zip(
                self.averaged.parameters(), self.model.parameters(), strict=True
            )
            if parameter.requires_grad
        ]
        averages, parameters = zip(*pairs, strict=True)
        torch._foreach_lerp_(averages, parameters, 1 - decay)

    def _count_skipped(self) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row == SKIPPED_MAX:
            raise NeuvidError(f"training diverged: {SKIPPED_MAX} steps in a row are not finite")

    def _lower_ladder(self) -> None:
        """Lower the qualities that narrow routes are for, where it is time to."""
        joint = self.recipe.joint_routes
        if self.search is None or joint is None or not joint.is_due(self.step):
            return
        ladder = self.model.route_ladder()
        if self.fabric.is_global_zero:
            with torch.no_grad(), self.fabric.autocast():
                ladder = self.search.advance(ladder, partial(self.validation.point, self.averaged))
            numbers = {f"quality_of_route_{k}": quality for k, quality in enumerate(ladder)}
            self._log("validation", numbers)
        ladder = self.fabric.broadcast(ladder)
        for model in (self.model, self.averaged):
            model.get_buffer("ladder").copy_(torch.tensor(ladder))

    def _validate(self) -> None:
        """Log the losses of the averaged weights and keep them when they are the best."""
        if self.fabric.is_global_zero:
            with torch.no_grad(), self.fabric.autocast():
                numbers = self.validation.numbers(self.averaged)
            self.console.print(describe_validation(self.step, numbers))
            self._log("validation", numbers)
            if numbers["loss"] < self.best_loss:
                self.best_loss = numbers["loss"]
                self._export(BEST_FILE)
        self.fabric.barrier()

    def _export(self, name: str) -> None:
        seconds = self.seconds_before + time.monotonic() - self.started
        processors = torch.get_num_threads() * self.fabric.world_size
        notes = {
            "recipe": self.recipe.name,
            "steps": str(self.step),
            "core_hours": f"{seconds * processors / 3600:.3f}",
        }
        model = copy.deepcopy(self.averaged).cpu()
        save_model(self.run.path / name, self.recipe.model, model, notes)

    def _save(self) -> None:
        """Replace the checkpoint and the exported last weights."""
        if self.fabric.is_global_zero:
            optimiser = self.optimiser.state_dict() if self.optimiser else None
            content = {
                **self.recipe.identity(self.step),
                "seed": self.options.seed,
                "step": self.step,
                "model": self.model.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimiser": optimiser,
                "skipped": self.skipped,
                "best_loss": self.best_loss,
                "search": self.search.state() if self.search else None,
                "seconds": self.seconds_before + time.monotonic() - self.started,
            }
            self.run.save_checkpoint(content)
            self._export(LAST_FILE)
        self.fabric.barrier()
        self.saved = time.monotonic()

    def _resume(self, content: dict[str, Any]) -> None:
        own = {**self.recipe.identity(content["step"]), "seed": self.options.seed}
        for field, value in own.items():
            if value != content[field]:
                expected = f"{content[field]!r}, as in the checkpoint in {self.run.path}"
                raise InvalidSetting(field, got=value, expected=expected)
        self.model.load_state_dict(content["model"])
        self.averaged.load_state_dict(content["averaged"])
        self.step = content["step"]
        self.optimiser_state = content["optimiser"]
        self.skipped = content["skipped"]
        self.best_loss = content["best_loss"]
        if self.search:
            self.search.restore(content["search"])
        self.seconds_before = content["seconds"]

    def _is_over(self, is_stopped: Callable[[], bool]) -> bool:
        """Return whether the run is to end now; all processes agree."""
        last = min(self.recipe.steps, self.options.steps or self.recipe.steps)
        minutes = (time.monotonic() - self.started) / 60
        out_of_time = self.options.minutes is not None and minutes >= self.options.minutes
        return bool(self.fabric.broadcast(self.step >= last or out_of_time or is_stopped()))

    def _log(self, group: str, numbers: dict[str, float]) -> None:
        if self.logs is not None:
            self.logs.write(self.step, group, numbers)


def _load(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        expected = "weights of the recipe's model"
        raise InvalidSetting("weights", got=str(path), expected=expected) from error
