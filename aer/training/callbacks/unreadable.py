"""Recordings that turn out unreadable in training: named, counted, and too many of them an error."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from accelerate.utils import gather_object
from catalyst import dl
from catalyst.core.callback import Callback, CallbackOrder

from aer.corpus.discovery import most_unreadable
from aer.errors import AerError, InputError
from aer.training import checkpoint_file
from aer.training.run_folder import UNREADABLE
from aer.utils.csv_files import csv_path, csv_text, write_csv
from aer.utils.progress import write_line
from aer.utils.text import printable, some


class UnreadableCallback(Callback):  # type: ignore[misc]
    """Names, once each, the recordings that could not be read, and counts them per epoch in `unreadable`.

    `unreadable.csv` in the run's folder has all of them, with the reasons. Where they are more than `max_share` of a
    loader's recordings, the run ends; one alone never ends it, unless the share is 0.
    """

    file_name = UNREADABLE

    def __init__(self, names: Mapping[str, Sequence[str]], run_dir: Path, max_share: float):
        """Take, in `names`, for each loader the recordings' names, by the indices in `batch["unreadable"]`."""
        super().__init__(order=CallbackOrder.Metric)
        self.names = names
        self.run_dir = run_dir
        self.max_share = max_share
        # name of a recording -> loader, epoch and reason
        self.reported: dict[str, tuple[str, int, str]] = {}
        # indices of unreadable recordings, or -1, of all batches of this loader
        self.marks: list[torch.Tensor] = []
        # in this loader and process: index of a recording -> reason
        self.reasons: dict[int, str] = {}

    def partial_state(self, runner: dl.IRunner) -> torch.Tensor:
        """Return the indices (unreadable,) of the recordings that could not be read so far."""
        marks = torch.cat(self.marks)
        return torch.unique(marks[marks >= 0]).cpu()  # type: ignore[no-any-return]

    def restore_partial_state(self, runner: dl.IRunner, state: torch.Tensor) -> None:
        """Begin with these indices."""
        self.marks = [state.to(runner.engine.device)]

    def on_experiment_start(self, runner: dl.IRunner) -> None:
        """Take over what a resumed run has reported before; raise InputError if its file can't be read."""
        path = self.run_dir / self.file_name
        if not path.exists():
            return
        names = {csv_path(name): name for listed in self.names.values() for name in listed}
        try:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                rows = [row for row in csv.DictReader(file, strict=True) if row["path"] in names]
            self.reported = {
                names[row["path"]]: (row["loader"], int(row["epoch"]), row["reason"] or "") for row in rows
            }
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror}") from error
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            cause = printable(str(error))
            raise InputError(
                f"{path} is damaged ({cause}): mend or remove it, then the same command goes on"
            ) from error

    def on_loader_start(self, runner: dl.IRunner) -> None:
        self.marks, self.reasons = [], {}

    def on_batch_end(self, runner: dl.IRunner) -> None:
        self.marks.append(runner.engine.gather_for_metrics(runner.batch["unreadable"]))
        # which is known without waiting for the device
        if not any(runner.batch["reason"]):
            return
        for index, reason in zip(runner.batch["unreadable"].tolist(), runner.batch["reason"], strict=True):
            if reason:
                self.reasons[index] = reason
        # At once, since an epoch can take hours, and a run that is stopped in it and resumed has the file. Each of
        # several processes knows only its own recordings until the loader ends.
        if runner.engine.num_processes == 1:
            self._report(runner, list(self.reasons), self.reasons)
            if len(self.reasons) > self._most_allowed(runner):
                raise self._too_many(runner, sorted(self.reasons))

    def on_loader_end(self, runner: dl.IRunner) -> None:
        marks = torch.cat(self.marks)
        failed = sorted(set(marks[marks >= 0].tolist()))
        runner.loader_metrics["unreadable"] = len(failed)
        reasons = dict(gather_object(list(self.reasons.items())))
        self._report(runner, failed, reasons)
        if len(failed) > self._most_allowed(runner):
            raise self._too_many(runner, failed)

    def _most_allowed(self, runner: dl.IRunner) -> int:
        """Return how many recordings of the loader may be unreadable."""
        return most_unreadable(self.max_share, len(self.names[runner.loader_key]))

    def _report(self, runner: dl.IRunner, failed: Sequence[int], reasons: Mapping[int, str]) -> None:
        """Name those that were not named before, and write the file anew if there are any."""
        new = [i for i in failed if self.names[runner.loader_key][i] not in self.reported]
        for i in new:
            name, reason = self.names[runner.loader_key][i], reasons.get(i, "before the run was stopped")
            self.reported[name] = (runner.loader_key, runner.epoch_step, reason)
            if runner.engine.is_main_process:
                write_line(f"left out, as it can't be read: {printable(name)}: {printable(reason)}")
        if new and runner.engine.is_main_process:
            rows = [
                [csv_path(name), loader, epoch, csv_text(reason)]
                for name, (loader, epoch, reason) in self.reported.items()
            ]
            header = ["path", "loader", "epoch", "reason"]
            write_csv(self.run_dir / self.file_name, header, rows, checkpoint_file.WRITE_ADVICE)

    def _too_many(self, runner: dl.IRunner, failed: Sequence[int]) -> AerError:
        """Return the error that ends the run."""
        names = self.names[runner.loader_key]
        side = "to train on" if runner.is_train_loader else "to validate on"
        return AerError(
            f"{len(failed)} of {len(names)} recordings {side} ({len(failed) / len(names):.1%}) can't be read, more "
            f"than max_unreadable_share {self.max_share:g} lets pass: {some([names[i] for i in failed])}; all with the "
            f"reasons in {self.run_dir / self.file_name}; mend them or raise --max-unreadable-share, then the same "
            "command goes on"
        )
