"""Options that several commands have: their types, help texts and ranges, each once."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from aer.cli.errors import check_range, check_workers
from aer.utils.channels import Channels

LARGEST_BATCH = 65_536

Processes = Annotated[int | None, tyro.conf.arg(help="processes; default: one per core")]
Threads = Annotated[int | None, tyro.conf.arg(help="threads that decode; default: one per core")]
Overlap = Annotated[float | None, tyro.conf.arg(metavar="SECONDS")]
Events = Literal["auto", "frames", "windows"]
OneChannels = Annotated[
    Channels,
    tyro.conf.arg(help="what is heard of recordings with several: their mean, the first, a number, the loudest"),
]
BundlesChannels = Annotated[
    Channels | None, tyro.conf.arg(help="what is heard of recordings with several; default: as in training")
]
Hysteresis = Annotated[
    float, tyro.conf.arg(help="share of the threshold down to which an event that has begun goes on (frames)")
]


def check_channels(channels: Channels | None) -> None:
    """Raise InputError for a channel's number below 1."""
    if isinstance(channels, int):
        check_range({"--channels": channels}, 1)


@dataclass(frozen=True)
class Machine:
    """How the models are run.

    Args:
        batch_size: windows that go through the model at a time
        device: auto: a GPU where there is one
    """

    batch_size: int = 16
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    workers: Threads = None

    @property
    def threads(self) -> int:
        """How many threads decode."""
        from aer.utils.systems import cores

        return self.workers or cores()

    def check(self) -> None:
        """Raise InputError for an option that is out of range."""
        check_workers(self.workers)
        check_range({"--batch-size": self.batch_size}, 1, LARGEST_BATCH)


# its options are those of the command that has it, in the same box of the help
MachineOptions = Annotated[Machine, tyro.conf.arg(name="")]
