"""Lets `papermill notebook.ipynb runs/out.ipynb` work in a clone that has no runs/ folder yet."""

from pathlib import Path

from papermill.iorw import LocalHandler


class RunsFolder(LocalHandler):
    """papermill's own handler for local files, except that it makes the output folder."""

    def write(self, buf: str, path: str) -> None:
        Path(self._cwd or ".", path).parent.mkdir(parents=True, exist_ok=True)
        super().write(buf, path)


runs_folder = RunsFolder()
