"""What a run leaves on disk: each model as soon as it is trained, every epoch's figures, the plan, the results."""

import json
import logging
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any

from distill.config.dump import dump
from distill.config.schema import Config
from distill.errors import DivergedError
from distill.report.paths import origin_line, run_folder
from distill.report.results import Results
from distill.report.run_folder import PLAN, RUN_END, RUN_MARK
from distill.system.files import to_json, write_text
from distill.train.fit import OnEpoch, Trained

log = logging.getLogger(__name__)


class Record:
    """The run's folder while the run is at work; without `output.folder` nothing is written.

    Whatever ends the run early, the models that were finished (student and control together) stay in FOLDER.partial, a
    diverged one as it was after its last good epoch, and the last complete run stays in FOLDER.
    """

    def __init__(self, plan: Config, on_epoch: OnEpoch) -> None:
        self.plan, self.on_epoch = plan, on_epoch
        self.folder = run_folder(plan)
        self.origin = origin_line(plan)
        self.metrics: IO[str] | None = None

    def __enter__(self) -> "Record":
        if self.folder:
            with ExitStack() as on_failure:
                on_failure.enter_context(self.folder)
                write_text(self.folder / PLAN, self.origin + dump(self.plan))
                self.metrics = (self.folder / RUN_MARK).open("w", encoding="utf-8")
                on_failure.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.folder and self.metrics:
            self.metrics.close()
            if isinstance(error, DivergedError) and error.model:
                error.model.save(self.folder / f"{error.name}.last_good.npz")
            kept = sorted(path.name for path in self.folder.partial.glob("*.npz")) if error else []
            if kept:
                log.warning("kept in %s: %s", self.folder.partial, ", ".join(kept))
            self.folder.__exit__()

    def restart(self) -> None:
        """Forget the epochs so far, which are of a seed that could not be run; its models are replaced by the next."""
        if self.metrics:
            self.metrics.seek(0)
            self.metrics.truncate()

    def hear(self, name: str, epoch: dict[str, Any]) -> None:
        """Write down one epoch of one model."""
        if self.metrics:
            self.metrics.write(json.dumps({"model": name} | epoch, allow_nan=False) + "\n")
            self.metrics.flush()
        log.debug(
            "%s: epoch %d, loss %.4f, val accuracy %.4f", name, epoch["epoch"], epoch["loss"], epoch["val_accuracy"]
        )
        self.on_epoch(name, epoch)

    def keep(self, name: str, trained: Trained) -> Trained:
        """Save a finished model, and hand it on."""
        if self.folder:
            trained.model.save(self.folder / f"{name}.npz")
            if trained.adapters.flat.size:
                trained.model.save(self.folder / f"{name}.full.npz", dict(trained.adapters.views))
            log.info("%s: %d steps in %.2f s", name, trained.steps, trained.seconds)
        return trained

    def finish(self, results: Results) -> None:
        """Write the results and move the run to its place."""
        if self.folder and self.metrics:
            write_text(self.folder / RUN_END, to_json(results))
            self.metrics.close()
            self.folder.publish()
            log.info("run kept in %s", self.plan.output.folder)
