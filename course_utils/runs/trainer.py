"""Training at every scale, on 🤗 Accelerate: one process or many, interrupted and resumed.

All chance in a step is a function of the seed and the step's number, and each process takes its
share of what is drawn for the whole batch. So neither a break nor the number of processes changes
what is learned, and a checkpoint needs no random state.
"""

import signal
import time
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor

from course_utils.images import to_model_range
from course_utils.recipes import Options, Recipe, build
from course_utils.runs import checkpoints
from course_utils.runs import outputs as product
from course_utils.runs.batches import draw_chance, open_pictures
from course_utils.runs.checkpoints import Checkpoint
from course_utils.runs.folder import hold, noted_signals, prepare
from course_utils.runs.log import Journal
from course_utils.runtime import hardware, has_bfloat16, pick_device
from course_utils.training import EMA, check_finite, learning_rate
from course_utils.training.loss import diffusion_loss
from course_utils.training.optimizers import make_optimizer

CHECKPOINTS = "checkpoints"


def train_recipe(recipe: Recipe, options: Options) -> int:
    """Train in `options.output_dir`; returns 0, or 128 + a signal's number after saving for it.

    Raises ValueError, OSError or FloatingPointError with what is wrong and what to do. What was
    saved before stays in each case.
    """
    device, precision = pick_device(), recipe.training.precision
    low = has_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    accelerator = Accelerator(mixed_precision="bf16" if low else "no", cpu=device.type == "cpu")
    main = accelerator.is_main_process
    with hold(options.output_dir) if main else nullcontext():
        if main:
            prepare(recipe, options)
        accelerator.wait_for_everyone()
        run = Run(recipe, options, accelerator)
        with noted_signals() as caught:
            run.train(caught)
        accelerator.wait_for_everyone()
        accelerator.end_training()  # what is left to do, the main process does alone
        if main and not caught:
            run.ema.copy_to(run.model)
            product.finish(run.model, run.pictures.some(), recipe, run.facts(), options.output_dir)
    return 128 + caught[0] if caught else 0


class Run:
    """A training under way: what it works on, and how far it is."""

    def __init__(self, recipe: Recipe, options: Options, accelerator: Accelerator):
        self.recipe, self.options, self.accelerator = recipe, options, accelerator
        self.step, self.seconds, self.saved = 0, 0.0, 0
        training, device = recipe.training, accelerator.device
        self.mine = _share(training.batch_size, training.accumulation, accelerator)
        with accelerator.main_process_first():  # what is downloaded is downloaded once
            place = accelerator.process_index, accelerator.num_processes
            self.pictures = open_pictures(recipe, options.seed, self.mine.numel(), *place)
        torch.manual_seed(options.seed)
        self.model = build.make_model(recipe.model, recipe.data).to(device)
        self.schedule = build.make_schedule(recipe.schedule).to(device)
        self.ema = EMA(self.model, training.ema_decay)
        self.optimizer = make_optimizer(self.model, training.lr, training.optimizer)
        self.parallel = accelerator.prepare_model(self.model)
        if training.compile:
            self.parallel = torch.compile(self.parallel)
        self._load()
        if accelerator.is_main_process:
            self.journal = Journal(options.output_dir, self.step, training.max_steps)

    def train(self, caught: list[int]) -> None:
        """To the end of the budget or to a signal; then all that was done is saved."""
        self.began = time.monotonic() - self.seconds
        self.saved_at = self.seconds
        try:
            while self._progress() < 1 and not caught:
                self._update()
                self._agree(caught)
                often = self.step % self.options.checkpoint_every == 0
                if often or self.seconds - self.saved_at > 60 * self.options.checkpoint_minutes:
                    self._save()
            if self.saved != self.step:
                self._save()
        except (OSError, FloatingPointError) as error:
            where = self.options.output_dir / CHECKPOINTS
            safe = f"what was learned until step {self.saved} is safe in {where}"
            raise type(error)(f"{error}; {safe if self.saved else 'nothing was saved'}") from error
        if self.accelerator.is_main_process:
            if caught:
                name = signal.Signals(caught[0]).name
                self.journal.say(f"{name}: saved at step {self.step}, go on with --resume")
            self.journal.close()

    def _update(self) -> None:
        """One step: the gradients of this process's share of the batch, then the weights."""
        started, training = time.monotonic(), self.recipe.training
        rate = training.max_steps or 10_000  # without a number of steps, as if it were this
        rate = learning_rate(self._progress() * rate, rate, training.lr)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._backward()
        norm = self.accelerator.clip_grad_norm_(self.parallel.parameters(), training.max_grad_norm)
        check_finite("gradient's norm", norm, self.step, self.model)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update(self.model)
        self.step += 1
        now = time.monotonic()
        self.seconds = now - self.began
        if self.accelerator.is_main_process:
            left = max(0.0, self.seconds / self._progress() - self.seconds)
            speed = round(training.batch_size / (now - started), 1)
            line = {"step": self.step, "loss": loss, "lr": rate, "images_per_second": speed}
            self.journal.record(left, **line, seconds=round(self.seconds, 3))

    def _backward(self) -> float:
        """Gradients of the loss, which is returned as the mean over the whole batch."""
        device, how, last = self.accelerator.device, self.recipe.schedule, len(self.mine) - 1
        chance = draw_chance(self.recipe, self.options.seed, self.step, device)
        settings = {"prediction_type": how.prediction_type, "weighting": how.weighting}
        mean = torch.zeros((), device=device)
        self.parallel.train()
        for number, places in enumerate(self.mine):
            x0 = to_model_range(self.pictures.batch(self.step, places).to(device))
            x0 = torch.where(chance.mirrored[places], x0.flip(-1), x0)
            with self.accelerator.no_sync(self.parallel) if number < last else nullcontext():
                own = {"timesteps": chance.timesteps[places], "noise": chance.noise[places]}
                loss = diffusion_loss(self.parallel, self.schedule, x0, **own, **settings)
                check_finite("loss", loss, self.step, self.model, x0)
                self.accelerator.backward(loss / len(self.mine))
            mean += loss.detach() / len(self.mine)
        return self.accelerator.reduce(mean, "mean").item()

    def _progress(self) -> float:
        """The share of the budget that is used up; 1 is the end."""
        training = self.recipe.training
        budgets = [(self.step, training.max_steps), (self.seconds, training.max_seconds)]
        return max(used / budget for used, budget in budgets if budget)

    def _agree(self, caught: list[int]) -> None:
        """All processes take the latest clock, and any signal that one of them got."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([[self.seconds, max(caught, default=0)]])
            all_ = self.accelerator.gather(mine.to(self.accelerator.device))
            self.seconds, number = all_.amax(dim=0).tolist()
            caught[:] = [int(number)] if number else []

    def _save(self) -> None:
        """A checkpoint and a sheet of samples, by the main process."""
        if self.accelerator.is_main_process:
            tensors = {
                "model": checkpoints.weights_of(self.model),
                "ema": {str(i): weights.cpu() for i, weights in enumerate(self.ema.shadow)},
                "optimizer": checkpoints.optimizer_tensors(self.optimizer),
            }
            state = {"seconds": self.seconds, "ema_updates": self.ema.num_updates}
            state["pictures"] = self.pictures.fingerprint
            folder, checkpoint = self.options.output_dir, Checkpoint(self.step, tensors, state)
            checkpoints.save_checkpoint(folder / CHECKPOINTS, checkpoint, self.options.keep)
            with self.ema.applied(self.model):
                sheet = product.draw_sheet(build.Trained.by(self.recipe, self.model))
            product.save_sheet(sheet, folder / "samples" / f"step-{self.step:09d}.png")
            self.journal.board.add_image("samples", sheet, self.step)
        self.saved, self.saved_at = self.step, self.seconds

    def _load(self) -> None:
        """Go on from the newest sound checkpoint, where there is one."""
        folder = self.options.output_dir / CHECKPOINTS
        checkpoint, damaged = checkpoints.newest_checkpoint(folder)
        step = checkpoint.step if checkpoint else 0
        steps = self.accelerator.gather(torch.tensor([step], device=self.accelerator.device))
        if (steps != step).any():
            raise ValueError(f"{folder} must be the same folder for all processes, on all machines")
        if damaged and self.accelerator.is_main_process:
            print(*damaged, f"going on from step {step}", sep="; ", flush=True)
        if checkpoint is None:
            return
        if checkpoint.state["pictures"] != self.pictures.fingerprint:
            raise ValueError("the pictures are not those that this run began with: put them back")
        self.model.load_state_dict(checkpoint.tensors["model"])
        for number, weights in enumerate(self.ema.shadow):
            weights.copy_(checkpoint.tensors["ema"][str(number)])
        self.ema.num_updates = checkpoint.state["ema_updates"]
        checkpoints.load_optimizer_tensors(self.optimizer, checkpoint.tensors["optimizer"])
        self.step, self.saved, self.seconds = step, step, checkpoint.state["seconds"]

    def facts(self) -> dict:
        """What the model card and the results say about the training."""
        facts = {"steps": self.step, "seconds": round(self.seconds, 1), "seed": self.options.seed}
        return facts | {"processes": self.accelerator.num_processes, "hardware": hardware()}


def _share(batch_size: int, accumulation: int, accelerator: Accelerator) -> Tensor:
    """The places in a batch that are this process's, (accumulation, share); or ValueError."""
    num_parts = accumulation * accelerator.num_processes
    if batch_size % num_parts:
        raise ValueError(
            f"training.batch_size {batch_size} is no multiple of {num_parts}, the number of "
            "processes times training.accumulation: change one of them"
        )
    places = torch.arange(batch_size).reshape(accumulation, accelerator.num_processes, -1)
    return places[:, accelerator.process_index]
