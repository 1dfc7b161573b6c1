"""What one sees of a run: a progress bar or lines, a log in JSON lines, TensorBoard."""

import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from course_utils.runs.checkpoints import write_file

LOG = "logs/log.jsonl"
PAUSE = 15.0  # seconds between two lines where no terminal shows a bar


class RunLog:
    """The records of a run in `folder` after its `step`; what an earlier try wrote of them goes."""

    def __init__(self, folder: Path, step: int, num_steps: int | None):
        from torch.utils.tensorboard import SummaryWriter

        kept = [json.dumps(line) + "\n" for line in read_log(folder) if line["step"] <= step]
        write_file(folder / LOG, "".join(kept).encode())
        self.file = (folder / LOG).open("a", encoding="utf-8", buffering=1)
        self.board = SummaryWriter(folder / "logs", purge_step=step + 1)
        self.bar = tqdm(total=num_steps, initial=step, disable=not sys.stderr.isatty())
        self.spoke = time.monotonic()

    def record(self, left: float, **line) -> None:
        """One step's numbers; `left` is how many seconds there are to go."""
        self.file.write(json.dumps(line) + "\n")
        for name in ("loss", "lr", "images_per_second"):
            self.board.add_scalar(name, line[name], line["step"])
        words = f"loss {line['loss']:.4f}, {line['images_per_second']:,.0f} images/s"
        words = f"{words}, {left:,.0f} s left"
        self.bar.set_postfix_str(words, refresh=False)
        self.bar.update()
        if self.bar.disable and time.monotonic() - self.spoke > PAUSE:
            self.spoke = time.monotonic()
            self.say(f"step {line['step']}: {words}")

    def say(self, text: str) -> None:
        """A line, above the bar where there is one."""
        self.bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """Everything is on the disk afterwards."""
        for part in (self.bar, self.file, self.board):
            part.close()


def read_log(folder: Path) -> list[dict]:
    """The log's lines, up to one that a kill cut short."""
    lines = []
    try:
        for text in (folder / LOG).read_text(encoding="utf-8").splitlines():
            lines.append(json.loads(text))
    except (FileNotFoundError, ValueError):
        pass
    return lines
