"""Write a run's files as it proceeds: the plan, each epoch's figures, each model once it is trained, the results."""

import json
import logging
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any

from distill.config.dump import dump
from distill.config.schema import Config
from distill.errors import DivergedError
from distill.report.paths import run_folder_of
from distill.report.plan_origin import origin_line
from distill.report.results import Results
from distill.report.run_files import METRICS, PLAN, RESULTS, model_files
from distill.system.files import to_json, write_text
from distill.train.fit import OnEpoch, Trained

log = logging.getLogger(__name__)


class Record:
    """The files of a run while it is at work; without `output.folder` nothing is written.

    If the run ends early, the finished models (student and control together) stay in FOLDER.partial, with a diverged
    one as it was after its last good epoch, and the last complete run stays in FOLDER.
    """

    def __init__(self, plan: Config, on_epoch: OnEpoch) -> None:
        self.plan, self.on_epoch = plan, on_epoch
        self.folder = run_folder_of(plan)
        self.origin_line = origin_line(plan)
        self.metrics: IO[str] | None = None

    def __enter__(self) -> "Record":
        """Lock the folder and write the plan."""
        if self.folder:
            with ExitStack() as on_failure:
                on_failure.enter_context(self.folder)
                write_text(self.folder / PLAN, self.origin_line + dump(self.plan))
                self.metrics = (self.folder / METRICS).open("w", encoding="utf-8")
                on_failure.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.folder and self.metrics:
            self.metrics.close()
            if isinstance(error, DivergedError) and error.model:
                error.model.save(self.folder / f"{error.name}.last_good.npz")
            models = sorted(path.name for path in self.folder.partial.glob("*.npz")) if error else []
            if models:
                log.warning("kept in %s: %s", self.folder.partial, ", ".join(models))
            self.folder.__exit__()

    def restart(self) -> None:
        """Drop the epochs of a seed that could not be run; the next seed replaces its models."""
        if self.metrics:
            self.metrics.seek(0)
            self.metrics.truncate()

    def record_epoch(self, name: str, epoch: dict[str, Any]) -> None:
        """Write the figures of one epoch of one network, and call `on_epoch`."""
        if self.metrics:
            self.metrics.write(json.dumps({"model": name} | epoch, allow_nan=False) + "\n")
            self.metrics.flush()
        log.debug(
            "%s: epoch %d, loss %.4f, val accuracy %.4f", name, epoch["epoch"], epoch["loss"], epoch["val_accuracy"]
        )
        self.on_epoch(name, epoch)

    def save_model(self, name: str, trained: Trained) -> None:
        """Save a trained network, and again with its adapters if it has any."""
        if self.folder:
            plain, full = model_files(name)
            trained.model.save(self.folder / plain)
            if trained.adapters.flat.size:
                trained.model.save(self.folder / full, dict(trained.adapters.views))
            log.info("%s: %d steps in %.2f s", name, trained.steps, trained.seconds)

    def finish(self, results: Results) -> None:
        """Write the results and move the run to its place."""
        if self.folder and self.metrics:
            write_text(self.folder / RESULTS, to_json(results))
            self.metrics.close()
            self.folder.publish()
            log.info("run kept in %s", self.plan.output.folder)
