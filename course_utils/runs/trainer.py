"""Training at every scale, on 🤗 Accelerate: one process or many, interrupted and resumed.

All chance in a step is a function of the seed and the step's number, and each process takes its
share of what is drawn for the whole batch. So neither a break nor the number of processes changes
what is learned, and a checkpoint needs no random state.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor

from course_utils.recipes import Options, Recipe
from course_utils.runs import checkpoints, outputs
from course_utils.runs.checkpoints import Checkpoint
from course_utils.runs.folder import CHECKPOINTS, check_folder, hold, leave_recipe, noted_signals
from course_utils.runs.log import RunLog
from course_utils.runs.tasks import Place, task_of
from course_utils.runtime import hardware, has_bfloat16, pick_device
from course_utils.training import EMA, learning_rate, update
from course_utils.training.optimizers import make_optimizer


def train_recipe(recipe: Recipe, options: Options) -> int:
    """Train in `options.output_dir`; returns 0, or 128 + a signal's number after saving for it.

    Raises ValueError, OSError or FloatingPointError with what is wrong and what to do. What was
    saved before stays in each case; a start that fails leaves nothing in its way.
    """
    accelerator = Accelerator(mixed_precision="no", cpu=pick_device().type == "cpu")
    main = accelerator.is_main_process
    with hold(options.output_dir) if main else nullcontext():
        if main:
            check_folder(recipe, options)
        accelerator.wait_for_everyone()
        run = Run(recipe, options, accelerator)
        if main:
            leave_recipe(recipe, options)
            run.log = RunLog(options.output_dir, run.step, recipe.training.max_steps)
        with noted_signals() as caught:
            number = run.train(caught)
        accelerator.wait_for_everyone()
        accelerator.end_training()  # what is left to do, the main process does alone
        if main and not number:
            run.ema.copy_to(run.model)
            outputs.finish(run.task, recipe, run.facts(), options.output_dir)
    return 128 + number if number else 0


class Run:
    """A training under way: what it works on, and how far it is."""

    log: RunLog  # the main process's

    def __init__(self, recipe: Recipe, options: Options, accelerator: Accelerator):
        self.recipe, self.options, self.accelerator = recipe, options, accelerator
        self.step, self.seconds, self.saved = 0, 0.0, 0
        training, device = recipe.training, accelerator.device
        self.mine = _share(training.batch_size, training.accumulation, accelerator)
        torch.manual_seed(options.seed)
        with accelerator.main_process_first():  # what is downloaded is downloaded once
            processes = accelerator.process_index, accelerator.num_processes
            place = Place(device, self.mine.numel(), *processes)
            self.task = task_of(recipe)(recipe, options.seed, place)
        self.model = self.task.model
        self.ema = EMA(self.model, training.ema_decay)
        self.optimizer = make_optimizer(self.model, training.lr, training.optimizer)
        self.parallel = accelerator.prepare_model(self.task.network)
        if training.compile:
            self.parallel = torch.compile(self.parallel)
        self._load()

    def train(self, caught: list[int]) -> int:
        """To the end of the budget or to a signal, whose number is returned; all of it is saved."""
        number = 0
        self.began = time.monotonic() - self.seconds
        self.saved_at = self.seconds
        try:
            while self._progress() < 1 and not number:
                self._update()
                number = self._agree(caught)
                often = self.step % self.options.checkpoint_every == 0
                if often or self.seconds - self.saved_at > 60 * self.options.checkpoint_minutes:
                    self._save()
            if self.saved != self.step:
                self._save()
            number = number or self._agree(caught)
        except (OSError, FloatingPointError) as error:
            where = self.options.output_dir / CHECKPOINTS
            safe = f"what was learned until step {self.saved} is safe in {where}"
            raise type(error)(f"{error}; {safe if self.saved else 'nothing was saved'}") from error
        if self.accelerator.is_main_process:
            if number:
                name = signal.Signals(number).name
                self.log.say(f"{name}: saved at step {self.step}, go on with --resume")
            self.log.close()
        return number

    def _update(self) -> None:
        """One step: the gradients of this process's share of the batch, then the weights."""
        started, training = time.monotonic(), self.recipe.training
        num_steps = training.max_steps or 10_000  # without a number of steps, as if it were this
        rate = learning_rate(self._progress() * num_steps, num_steps, training.lr)
        loss = update(
            self.model,
            self._losses(),
            self.optimizer,
            rate,
            step=self.step,
            max_grad_norm=training.max_grad_norm,
            ema=self.ema,
            gathered=lambda loss: self.accelerator.reduce(loss, "mean"),
        )
        self.step += 1
        now = time.monotonic()
        self.seconds = now - self.began
        if self.accelerator.is_main_process:
            left = max(0.0, self.seconds / self._progress() - self.seconds)
            speed = round(training.batch_size / (now - started), 1)
            line = {"step": self.step, "loss": loss, "lr": rate, "images_per_second": speed}
            self.log.record(left, **line, seconds=round(self.seconds, 3))

    def _losses(self) -> Iterator[Tensor]:
        """The loss of each part of this process's share; only the last one's gradients travel."""
        chance, last = self.task.draw(self.step), len(self.mine) - 1
        self.parallel.train()
        for number, places in enumerate(self.mine):
            batch = self.task.batch(self.step, places, chance)
            with self.accelerator.no_sync(self.parallel) if number < last else nullcontext():
                with self._arithmetic():
                    loss = self.task.loss(self.parallel, batch)
                yield loss / len(self.mine)

    def _arithmetic(self) -> torch.autocast:
        """In bfloat16, if the recipe asks for it, or the hardware is made for it."""
        device, precision = self.accelerator.device, self.recipe.training.precision
        low = has_bfloat16(device) if precision == "auto" else precision == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled=low, cache_enabled=False)

    def _progress(self) -> float:
        """The share of the budget that is used up; 1 is the end."""
        training = self.recipe.training
        budgets = [(self.step, training.max_steps), (self.seconds, training.max_seconds)]
        return max(used / budget for used, budget in budgets if budget)

    def _agree(self, caught: list[int]) -> int:
        """The signal to stop for, whichever process got it, or 0; all take the latest clock."""
        number = max(caught, default=0)
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([[self.seconds, number]], device=self.accelerator.device)
            self.seconds, number = self.accelerator.gather(mine).amax(dim=0).tolist()
        return int(number)

    def _save(self) -> None:
        """A checkpoint and a sheet of samples, by the main process."""
        if self.accelerator.is_main_process:
            tensors = {
                "model": checkpoints.weights_of(self.model),
                "ema": {str(i): weights.cpu() for i, weights in enumerate(self.ema.shadow)},
                "optimizer": checkpoints.optimizer_tensors(self.optimizer),
            }
            state = {"seconds": self.seconds, "ema_updates": self.ema.num_updates}
            state |= self.task.fingerprints
            folder, checkpoint = self.options.output_dir, Checkpoint(self.step, tensors, state)
            checkpoints.save_checkpoint(folder / CHECKPOINTS, checkpoint, self.options.keep)
            with self.ema.applied(self.model):
                sheet = self.task.sheet()
            outputs.save_sheet(sheet, folder / "samples" / f"step-{self.step:09d}.png")
            self.log.board.add_image("samples", sheet, self.step)
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
        for name, fingerprint in self.task.fingerprints.items():
            if checkpoint.state[name] != fingerprint:
                raise ValueError(
                    f"the {name} are not those that this run began with: put them back"
                )
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
