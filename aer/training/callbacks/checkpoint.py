"""The state from which a run is resumed: what it holds, and the callback that keeps it.

No random generator's state is part of it. Every draw of a training step (Python, NumPy, torch, CUDA) follows from
(seed, epoch, process, step), see `steps.EpochSeedCallback`; the order of the clips from (seed, epoch), see
`datasets.EpochSampler`; and what a worker process draws for a clip from (seed, epoch, recording), see
`datasets.TrainClips`.
"""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from catalyst import dl
from catalyst.core.callback import CallbackOrder, ICheckpointCallback

from aer.errors import InputError
from aer.training import checkpoint_file
from aer.training.callbacks.steps import HasPartialState
from aer.training.datasets import EpochSampler
from aer.training.run_folder import write_history
from aer.utils.files import link_whole, remove_parts

# after schedulers and early stopping, whose state is part of a checkpoint
AFTER_ALL_ELSE = CallbackOrder.External + 10


def capture(runner: dl.IRunner) -> dict[str, Any]:
    """Return what runner, optimizer, schedulers and scaler hold between two steps, as plain values and tensors."""
    return {
        "optimizer": runner.optimizer.state_dict(),
        "schedulers": {name: scheduler.state_dict() for name, scheduler in (runner.scheduler or {}).items()},
        "scaler": runner.engine.scaler.state_dict() if runner.engine.scaler is not None else {},
        "steps": [runner.epoch_step, runner.batch_step, runner.sample_step],
        "processes": runner.engine.num_processes,
    }


def restore(runner: dl.IRunner, state: Mapping[str, Any]) -> None:
    """Give the runner what `capture` returned, and the model its weights.

    Raise InputError for another number of processes: their steps are of another number of clips.
    """
    before, now = state["processes"], runner.engine.num_processes
    if before != now:
        raise InputError(
            f"the run was trained by {before} process(es), and these are {now}: go on with "
            f"{f'torchrun --nproc_per_node={before}' if before > 1 else 'one, without torchrun'}, or start with --fresh"
        )
    runner.engine.unwrap_model(runner.model).load_state_dict(state["model"])
    # a copy: the optimizer would take the tensors as they are, and hold on to the file that they are mapped from
    runner.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
    for name, scheduler in (runner.scheduler or {}).items():
        scheduler.load_state_dict(state["schedulers"][name])
    if runner.engine.scaler is not None and state["scaler"]:
        runner.engine.scaler.load_state_dict(state["scaler"])
    runner.epoch_step, runner.batch_step, runner.sample_step = state["steps"]


class CheckpointCallback(ICheckpointCallback):  # type: ignore[misc]
    """Keeps the weights of the best epochs and the state of the run, and resumes from a state that it finds.

    Catalyst's own writes in place, on every process, lets `best` hold the last weights and forgets the best ones on
    resume. Here the main process alone writes, each file whole, and `last.pth` comes after the files that it names: the
    run can stop at any moment. `best.pth` is another name of the best epoch's file.
    """

    def __init__(
        self,
        run_dir: Path,
        metadata: Mapping[str, Any],
        metric_key: str,
        keep_best: int,
        every_steps: int | None = None,
        sampler: EpochSampler | None = None,
        stateful: Mapping[str, HasPartialState] | None = None,
    ):
        """Take the plain values that every checkpoint carries as `metadata` (kind of model, classes, settings).

        `every_steps`: write the state within an epoch too, after so many steps. That needs the `sampler` of the
        training clips, which resumes where the state was written, and the `stateful` callbacks, by the names that their
        partial states have in the checkpoint.
        """
        super().__init__()
        self.order = AFTER_ALL_ELSE
        self.run_dir = run_dir
        self.folder = run_dir / "checkpoints"
        self.metadata = dict(metadata)
        self.metric_key = metric_key
        self.keep_best = keep_best
        self.every_steps = every_steps
        self.sampler = sampler
        self.stateful = dict(stateful or {})
        # epoch, score and file of the kept epochs; the best one first
        self.best: list[dict[str, Any]] = []
        # a row per epoch
        self.history: list[dict[str, float]] = []
        # the unfinished epoch that this process is about to resume
        self.unfinished: dict[str, Any] | None = None
        # so that a damaged last.pth never takes the place of previous.pth
        self.last_is_whole = False

    @property
    def last_path(self) -> Path:
        """The newest state."""
        return self.folder / checkpoint_file.LAST

    @property
    def best_path(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / checkpoint_file.BEST

    def on_experiment_start(self, runner: dl.IRunner) -> None:
        found: list[Any] = [self._find() if runner.engine.is_main_process else None]
        broadcast_object_list(found)
        path, best, complaints = found[0]
        if path is not None:
            self._resume(runner, path, best)
        if runner.engine.is_main_process:
            for complaint in complaints:
                print(f"{complaint}; going on from {path}")
            self._clear()
            if path is not None:
                # the run may have stopped between checkpoint and log
                write_history(self.run_dir, self.history)
                print(self._resume_message(runner))

    def _find(self) -> tuple[Path | None, list[dict[str, Any]], list[str]]:
        """Return the state to resume from, those of its best epochs whose weights are there, and what is wrong."""
        path, complaints = checkpoint_file.find_state(self.folder)
        if path is None:
            return None, [], complaints
        kept = []
        for entry in checkpoint_file.read(path)["best"]:
            if (self.folder / entry["file"]).exists() or self._is_restored(entry):
                kept.append(entry)
            # from previous.pth: the damaged last.pth may no longer have had it among the best, and so removed it
            elif path == self.last_path:
                complaints.append(f"{self.folder / entry['file']}, one of the best epochs, is gone and counts no more")
        return path, kept, complaints

    def _is_restored(self, entry: Mapping[str, Any]) -> bool:
        """Return whether `best.pth` has this epoch's weights, and if so make the epoch's file another name of it."""
        try:
            is_same = self.best_path.exists() and checkpoint_file.load(self.best_path)["epoch"] == entry["epoch"]
        except InputError:
            # damaged
            return False
        if is_same:
            link_whole(self.best_path, self.folder / entry["file"], checkpoint_file.WRITE_ADVICE)
        return is_same

    def _resume(self, runner: dl.IRunner, path: Path, best: list[dict[str, Any]]) -> None:
        content = checkpoint_file.read(path)
        restore(runner, content)
        self.last_is_whole = path == self.last_path
        self.history, self.unfinished = content["history"], content["within"]
        self.best = best

    def _resume_message(self, runner: dl.IRunner) -> str:
        """Return the line that says how far the resumed run is."""
        done = f"{runner.epoch_step} of {runner.num_epochs} epochs"
        if self.unfinished is not None:
            n_steps = self.unfinished["steps"][0] // runner.engine.num_processes
            done += f" and {n_steps} of {len(runner.loaders['train'])} steps of the next"
        line = f"going on with {self.run_dir}: {done} are done"
        if not self.best:
            return line
        return f"{line}, best {self.metric_key} {self.best[0]['score']:.4f} in epoch {self.best[0]['epoch']}"

    def on_loader_start(self, runner: dl.IRunner) -> None:
        if not runner.is_train_loader or self.unfinished is None:
            return
        runner.loader_batch_step, runner.loader_sample_step = self.unfinished["steps"]
        assert self.sampler is not None
        self.sampler.start_after(runner.loader_sample_step)
        for name, callback in self.stateful.items():
            callback.restore_partial_state(runner, self.unfinished["halves"][name])
        self.unfinished = None

    def on_batch_end(self, runner: dl.IRunner) -> None:
        step = runner.loader_batch_step // runner.engine.num_processes
        if not runner.is_train_loader or self.every_steps is None or step % self.every_steps:
            return
        partial_states = {name: callback.partial_state(runner) for name, callback in self.stateful.items()}
        if runner.engine.is_main_process:
            state = capture(runner)
            # epochs that are done
            state["steps"][0] -= 1
            # "within" and "halves": names in the file, which older runs have too
            within = {"steps": [runner.loader_batch_step, runner.loader_sample_step], "halves": partial_states}
            self._write_last({**self._weights(runner, runner.epoch_step - 1), **state, "within": within})
        runner.engine.wait_for_everyone()

    def on_epoch_end(self, runner: dl.IRunner) -> None:
        score = runner.epoch_metrics["valid"][self.metric_key]
        row: dict[str, float] = {"epoch": runner.epoch_step}
        for loader in runner.loaders:
            row |= {f"{loader}_{key}": value for key, value in runner.epoch_metrics[loader].items()}
        self.history.append(row)
        file = checkpoint_file.epoch_file(runner.epoch_step)
        candidates = [*self.best, {"epoch": runner.epoch_step, "score": score, "file": file}]
        sign = 1 if self.metric_key == "loss" else -1
        # a NaN is never among the best, and of equals the earlier stays
        numbers = (entry for entry in candidates if not math.isnan(entry["score"]))
        self.best = sorted(numbers, key=lambda entry: sign * entry["score"])[: self.keep_best]
        if runner.engine.is_main_process:
            self._write_epoch(runner, file)
        runner.engine.wait_for_everyone()

    def _write_epoch(self, runner: dl.IRunner, file: str) -> None:
        """Write weights, state and history after an epoch, each file after those that it names."""
        weights = self._weights(runner, runner.epoch_step)
        if any(entry["file"] == file for entry in self.best):
            checkpoint_file.save(self.folder / file, weights)
        if self.best:
            link_whole(self.folder / self.best[0]["file"], self.best_path, checkpoint_file.WRITE_ADVICE)
        self._write_last({**weights, **capture(runner), "within": None})
        write_history(self.run_dir, self.history)
        self._clear()

    def _weights(self, runner: dl.IRunner, epoch: int) -> dict[str, Any]:
        weights = runner.engine.unwrap_model(runner.model).state_dict()
        metrics = self.history[-1] if self.history else {}
        return {**self.metadata, "epoch": epoch, "metrics": metrics, "model": weights}

    def _write_last(self, content: Mapping[str, Any]) -> None:
        # last.pth gets its second name when the new state is whole: a disk that is full before would leave two names
        # of one file
        previous = self.folder / checkpoint_file.PREVIOUS if self.last_is_whole else None
        checkpoint_file.save(self.last_path, {**content, "best": self.best, "history": self.history}, previous)
        self.last_is_whole = True

    def _clear(self) -> None:
        """Remove the files of epochs that are not among the best, and what a killed run left half written.

        An epoch beyond the state's was written before the run was killed, and will be trained again. Files with names
        that no run gives stay.
        """
        kept = {entry["file"] for entry in self.best}
        for path in self.folder.iterdir():
            if checkpoint_file.epoch_of(path.name) and path.name not in kept and not path.is_dir():
                path.unlink()
        remove_parts(self.folder)
