"""The training loop: runs a recipe, and goes on where an interrupted run ended."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer

from neuvid.codec.schedule import Schedule
from neuvid.errors import InvalidSetting, NeuvidError
from neuvid.models.checkpoint import read_weights, save_model
from neuvid.models.presets import build_model
from neuvid.nn.fused import fuse
from neuvid.training.chains import Chain, ChainLosses
from neuvid.training.compilation import speed_up, use_as_they_are
from neuvid.training.data import BatchShape, Sampler, TrainingSet, draw_batches, to_frames
from neuvid.training.inheritance import beginning
from neuvid.training.initialisation import initialise
from neuvid.training.joint_routes import DivergenceSearch, draw_routes
from neuvid.training.motion import Planes
from neuvid.training.optimisers import (
    States,
    divide,
    load_states,
    make_optimisers,
    states_by_name,
)
from neuvid.training.processes import Processes, cores, keep_memory, stop_signals
from neuvid.training.progress import StepMeans, describe_training, describe_validation
from neuvid.training.runs import BEST_FILE, LAST_FILE, RunFolder, RunLogs
from neuvid.training.stages import Recipe, Stage
from neuvid.training.time_limit import TimeLimit
from neuvid.training.validation import Validation

AVERAGE_DECAY = 0.999  # of the running average of weights
CHECKPOINT_SECONDS = 180.0
SKIPPED_MAX = 50  # steps in a row that are not finite
VALIDATION_SAMPLES = 8
VALIDATION_SEED = 0
WORKERS_MAX = 8  # processes that make batches for a GPU
COMPILING_PAYS = 300.0, 200  # seconds of the run and steps of the stage to come


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How a run goes on, apart from what it trains.

    `steps` is the step of the recipe to stop at, `deadline` the moment of `time.monotonic` by
    which all is validated and saved; None is no bound. A fresh run begins with the exported files
    `weights` and `intra_weights`, where given; of the second only the still-picture model is taken.
    `threads` are those of all processes on this machine, 0 for one on each core.
    """

    steps: int | None = None
    deadline: float | None = None
    weights: Path | None = None
    intra_weights: Path | None = None
    threads: int = 0
    seed: int = 1
    log_steps: int = 50
    validation_steps: int = 500


class Trainer:
    """Trains one recipe with the training set in `data` and keeps all results in `out`.

    It does so alone or as one of several processes. Everything that can be checked before the
    first step is: raises InvalidSetting, UnreadableInput or UnwritableOutput.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        out: Path,
        options: TrainingOptions,
        processes: Processes | None = None,
    ) -> None:
        self.recipe = recipe
        self.options = options
        self.processes = processes or Processes.alone()
        self.device = self.processes.device
        self.threads = max(1, (options.threads or cores()) // self.processes.local_size)
        self._set_up_libraries()
        self.limit = TimeLimit(options.deadline)
        self.samplers = self._samplers(TrainingSet(data, "train", seed=options.seed))
        self.validation = Validation(recipe, self._validation_frames(data), self.processes)
        torch.manual_seed(options.seed)
        self.model = build_model(recipe.config)
        joint = recipe.joint_routes
        self.search = DivergenceSearch(self.model.routes, joint.fall) if joint else None
        weight_bytes = sum(p.numel() * p.element_size() for p in self.model.parameters())
        self.run = RunFolder.create(out, weight_bytes)
        self.console = Console(
            soft_wrap=True, highlight=False, markup=False, quiet=not self.processes.is_first
        )
        self.step = 0
        self.validated_step: int | None = None
        self.skips = torch.zeros(2, device=self.device)  # steps skipped: in all, in a row
        self.best_loss = float("inf")
        self.seconds_before = 0.0  # of earlier runs
        self.optimiser_states: States = {}  # of a stage that was interrupted
        checkpoint = self.run.load_checkpoint()
        if checkpoint is None:
            self._set_fresh_weights()
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.device.type == "cpu":
            fuse(self.model)
        self.averaged = copy.deepcopy(self.model).requires_grad_(False)
        if checkpoint is not None:
            self._resume(checkpoint)
        for model in (self.model, self.averaged):
            self.processes.keep_one_copy(list(model.parameters()))
        self.ladder = self.model.route_ladder()
        self.names: dict[Tensor, str] = {own: name for name, own in self.model.named_parameters()}
        pairs = zip(self.model.parameters(), self.averaged.parameters(), strict=True)
        self.averages: dict[Tensor, Tensor] = dict(pairs)
        self.optimisers: list[Optimizer] = []  # of this process's share
        self.shares: list[list[Tensor]] = []  # of the stage's parameters, one for each process
        self.logs: RunLogs | None = None
        self.started = self.saved = time.monotonic()

    def train(self) -> None:
        """Run the recipe from where it stands to its end, or to the bounds in the options.

        Returns after SIGTERM or SIGINT, too, when all is saved. Raises NeuvidError when
        training diverged.
        """
        gc.collect()
        gc.freeze()  # what is here now will not be garbage, and need not be looked through
        with self._open_logs(), stop_signals() as is_stopped:
            if self.limit.deadline is not None:  # to know how long both take
                self._validate()
                self._save()
            is_over = self._is_over(is_stopped)
            while not is_over:
                number, _ = self.recipe.place(self.step)
                self._train_stage(self.recipe.stages[number], is_stopped)
                is_over = self._is_over(is_stopped)
                if not is_over:
                    self._save()
            if not self.processes.of_first(is_stopped()):
                self._validate()
            self._save()
            self.processes.wait_for_first()  # what it saved may be read now

    def _set_up_libraries(self) -> None:
        torch.set_num_threads(self.threads)
        keep_memory()
        cv2.setNumThreads(1)
        torch.backends.cudnn.benchmark = True

    @contextmanager
    def _open_logs(self) -> Iterator[None]:
        """Let the first process log."""
        machine = ", ".join(f"{name}: {value}" for name, value in self._machine().items())
        where = f"step {self.step} of {self.recipe.steps}"
        self.console.print(f"{self.recipe.name}: {where}; {machine}, threads each: {self.threads}")
        if not self.processes.is_first:
            yield
            return
        with closing(self.run.logs(self.step)) as self.logs:
            yield

    def _machine(self) -> dict[str, str]:
        """Return what the numbers of a run depend on, apart from its recipe and seed."""
        return {
            "device": self.device.type,
            "precision": str(self.processes.precision).removeprefix("torch."),
            "processes": str(self.processes.world_size),
        }

    def _samplers(self, data: TrainingSet) -> dict[Stage, Sampler]:
        """Return what draws the batches of this process in each stage."""
        processes = self.processes.world_size
        samplers = {}
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
            samplers[stage] = data.sampler(shape)
        return samplers

    def _validation_frames(self, data: Path) -> Tensor:
        shape = BatchShape(
            size=VALIDATION_SAMPLES,
            frames=self.recipe.validation_frames,
            crop=self.recipe.validation_crop,
            photo_share=0.5 if self.recipe.validation_frames == 1 else 0.0,
        )
        frames = TrainingSet(data, "validation", seed=VALIDATION_SEED).sampler(shape).batch(0)
        return frames.to(self.device)

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

    def _train_stage(self, stage: Stage, is_stopped: Callable[[], bool]) -> None:
        """Train until the stage ends or the run is over."""
        self.optimisers = self._make_optimisers(stage)
        end = self.step + stage.steps - self.recipe.place(self.step)[1]
        progress = StepMeans(self.step, end)
        self._compile_where_it_pays(stage, end)
        for planes in self._batches(stage, range(self.step, end)):
            with self.limit.timing("step"):
                self._train_batch(stage, planes, progress)
            self.step += 1
            if self.step % self.options.log_steps == 0:
                numbers = progress.take(self.step) | {"skipped": self._skipped()}
                self.console.print(describe_training(self.step, stage.name, numbers))
                self._log("train", numbers)
            if self.step % self.options.validation_steps == 0:
                self._validate()
            if self._is_ladder_due(self.step):
                self._lower_ladder()
            if self._is_over(is_stopped):
                break
            if self._is_save_due():
                self._save()
        if self.step == end:
            self.optimisers = []

    def _batches(self, stage: Stage, steps: range) -> Iterable[Planes]:
        """Return this process's part of each step's batch."""
        sampler = self.samplers[stage]
        first_sample = self.processes.rank * sampler.shape.size
        workers = 0
        if self.device.type == "cuda":
            workers = max(1, min(WORKERS_MAX, self.threads - 1))
        return draw_batches(sampler, steps, first_sample=first_sample, workers=workers)

    def _compile_where_it_pays(self, stage: Stage, end: int) -> None:
        """On a GPU, compile the model's blocks for a stage if that makes it faster."""
        use_as_they_are(self.model)
        seconds, steps = COMPILING_PAYS
        pays = self.limit.left() > seconds and end - self.step > steps
        if self.device.type != "cuda" or not pays:
            return
        [planes] = self._batches(stage, range(self.step, self.step + 1))

        def work() -> None:
            for _ in self._code_segments(stage, self._draw_chain(stage, planes)):
                self.model.zero_grad()

        self.console.print(str(speed_up(self.model, work)))

    def _make_optimisers(self, stage: Stage) -> list[Optimizer]:
        for parameter, name in self.names.items():
            parameter.requires_grad_(stage.trains(name))
        trained = [parameter for parameter in self.names if parameter.requires_grad]
        if not trained:
            raise InvalidSetting("train", got=stage.train, expected="names of parameters")
        soap = self.recipe.soap
        self.shares = divide(trained, self.processes.shares, soap=soap)
        optimisers = make_optimisers(
            self.shares[self.processes.share],
            [each for prior in self.model.factorised_priors() for each in prior.parameters()],
            soap=soap,
            dtype=self.processes.precision,
        )
        load_states(optimisers, self.names, self.optimiser_states)
        self.optimiser_states = {}
        return optimisers

    def _train_batch(self, stage: Stage, planes: Planes, progress: StepMeans) -> None:
        """Take the optimiser steps of a batch; nothing in it waits for the device."""
        chain = self._draw_chain(stage, planes)
        for losses in self._code_segments(stage, chain):
            self._take_step(stage)
            progress.add(chain.quality, losses)

    def _draw_chain(self, stage: Stage, planes: Planes) -> Chain:
        # All randomness depends on the seed and the step, so an interrupted run goes on exactly.
        seed = (self.options.seed << 40) + (self.step << 12)
        self._seed(seed)
        share = torch.rand(stage.batch)  # of all processes, which agree on the routes, too
        routes = draw_routes(self.model.routes, stage.clip_frames)
        highest = max(self.ladder[route] for route in routes)
        size = len(planes.luma)
        own = share[self.processes.rank * size :][:size]
        self._seed(seed + 1 + self.processes.rank)  # of the noise
        return self.recipe.chain(
            frames=to_frames(planes, self.device),
            quality=tuple((own * highest).tolist()),
            routes=routes,
            ladder=self.ladder,
            objective=self.recipe.objective,
            noise=True,
            schedule=Schedule(refresh_period=stage.refresh_period),
            recompute=stage.recompute,
        )

    def _seed(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a millisecond
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _code_segments(self, stage: Stage, chain: Chain) -> Iterator[ChainLosses]:
        """Yield the losses of each segment when the weights have their gradients."""
        state = None
        if not stage.is_intra:
            with self.processes.autocast():
                state = chain.start(self.model, true_first_frame=stage.true_first_frame)
        for segment in stage.segments():
            with self.processes.autocast():
                losses, state = chain.code(self.model, state, segment)
            torch.autograd.backward(losses.loss.mean())
            yield losses
            state = state.detach()

    def _take_step(self, stage: Stage) -> None:
        """Update the weights by their gradients, unless these are not finite."""
        norm = self.processes.average(self.shares)
        skip = (~norm.isfinite()).float()
        self.skips = torch.stack((self.skips[0] + skip, (self.skips[1] + 1) * skip))
        scale = (norm / stage.gradient_norm_max).clamp(min=1)
        _, step_in_stage = self.recipe.place(self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["gain"] * stage.learning_rate_at(step_in_stage)
            optimiser.grad_scale = scale  # type: ignore[attr-defined]  # fused ones heed both
            optimiser.found_inf = skip  # type: ignore[attr-defined]
            optimiser.step()
        self._update_average(step_in_stage)
        trained = [parameter for share in self.shares for parameter in share]
        self.processes.wait_for_shares([*trained, *(self.averages[each] for each in trained)])
        for parameter in trained:
            parameter.grad = None

    def _update_average(self, step_in_stage: int) -> None:
        decay = min(AVERAGE_DECAY, (1 + step_in_stage) / (10 + step_in_stage))
        own = self.shares[self.processes.share]
        if own:
            with torch.no_grad():
                torch._foreach_lerp_([self.averages[each] for each in own], own, 1 - decay)

    def _skipped(self) -> int:
        """Return how many steps were skipped; raise NeuvidError when too many were in a row."""
        total, in_a_row = map(int, self.skips.tolist())
        if in_a_row >= SKIPPED_MAX:
            raise NeuvidError(f"training diverged: {in_a_row} steps in a row are not finite")
        return total

    def _is_ladder_due(self, step: int) -> bool:
        joint = self.recipe.joint_routes
        return joint is not None and joint.is_due(step)

    def _lower_ladder(self) -> None:
        """Lower the qualities that narrow routes are for."""
        if self.search is None:
            return
        with torch.no_grad(), self.processes.autocast():
            point = partial(self.validation.point, self.averaged)
            self.ladder = self.search.advance(self.ladder, point)
        self._log("validation", {f"quality_of_route_{k}": q for k, q in enumerate(self.ladder)})
        for model in (self.model, self.averaged):
            model.get_buffer("ladder").copy_(torch.tensor(self.ladder))

    def _validate(self) -> None:
        """Log the losses of the averaged weights and keep them when they are the best."""
        if self.validated_step == self.step:
            return
        self.validated_step = self.step
        with self.limit.timing("validation"):
            with torch.no_grad(), self.processes.autocast():
                numbers = self.validation.numbers(self.averaged)
            self.console.print(describe_validation(self.step, numbers))
            self._log("validation", numbers)
            if numbers["loss"] < self.best_loss:
                self.best_loss = numbers["loss"]
                self._export(BEST_FILE)

    def _export(self, name: str) -> None:
        if not self.processes.is_first:
            return
        seconds = self.seconds_before + time.monotonic() - self.started
        processors = self.threads * self.processes.world_size
        notes = {
            "recipe": self.recipe.name,
            "steps": str(self.step),
            "core_hours": f"{seconds * processors / 3600:.3f}",
        }
        model = copy.deepcopy(self.averaged).cpu()
        save_model(self.run.path / name, self.recipe.model, model, notes)

    def _save(self) -> None:
        """Replace the checkpoint and the exported last weights."""
        with self.limit.timing("saving"):
            states = self.processes.gather(states_by_name(self.optimisers, self.names))
            if self.processes.is_first:
                merged = {name: state for part in states for name, state in part.items()}
                self.run.save_checkpoint(self._checkpoint(merged))
            self._export(LAST_FILE)
        self.saved = time.monotonic()

    def _checkpoint(self, optimiser_states: States) -> dict[str, Any]:
        return {
            **self.recipe.identity(self.step),
            "seed": self.options.seed,
            "machine": self._machine(),
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser states": optimiser_states,
            "skipped": self._skipped(),
            "best_loss": self.best_loss,
            "search": self.search.state() if self.search else None,
            "seconds": self.seconds_before + time.monotonic() - self.started,
        }

    def _resume(self, content: dict[str, Any]) -> None:
        own = {**self.recipe.identity(content["step"]), "seed": self.options.seed}
        for field, value in own.items():
            if value != content.get(field):
                expected = f"{content.get(field)!r}, as in the checkpoint in {self.run.path}"
                raise InvalidSetting(field, got=value, expected=expected)
        self.model.load_state_dict(content["model"])
        self.averaged.load_state_dict(content["averaged"])
        self.step = content["step"]
        self.optimiser_states = content["optimiser states"]
        self.skips[0] = content["skipped"]
        self.best_loss = content["best_loss"]
        if self.search:
            self.search.restore(content["search"])
        self.seconds_before = content["seconds"]
        self._tell_changes(content.get("machine", {}))

    def _tell_changes(self, before: dict[str, str]) -> None:
        """Say what differs from the machine that the run began on."""
        changes = [
            f"{name} {now} instead of {before[name]}"
            for name, now in self._machine().items()
            if now != before.get(name, now)
        ]
        if changes:
            self.console.print(f"going on with {', '.join(changes)}: close, but not the same run")

    def _last_step(self) -> int:
        return min(self.recipe.steps, self.options.steps or self.recipe.steps)

    def _is_save_due(self) -> bool:
        """Return whether the checkpoint is old; all processes agree."""
        return self.processes.of_first(time.monotonic() - self.saved > CHECKPOINT_SECONDS)

    def _is_over(self, is_stopped: Callable[[], bool]) -> bool:
        """Return whether the run is to end now; all processes agree."""
        to_come = ["step", "saving", "validation", "saving"]
        if self._is_ladder_due(self.step + 1):
            to_come.append("validation")  # which takes no less
        is_over = self.step >= self._last_step() or not self.limit.allows(*to_come)
        return self.processes.of_first(is_over or is_stopped())

    def _log(self, group: str, numbers: dict[str, float]) -> None:
        if self.logs is not None:
            self.logs.write(self.step, group, numbers)


def _load(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        expected = "weights of the recipe's model"
        raise InvalidSetting("weights", got=str(path), expected=expected) from error
