"""What is odd about a recording that can be heard whole: its header, its channels, its scale, its bandwidth."""

from aer.audio.channels import LevelMeter, channel_notes
from aer.audio.info import AudioInfo
from aer.utils.channels import MIX, Channels

# a peak so far above full scale (20 dB) is no loud recording: its samples are integers that were stored as floats
ABSURD_PEAK = 10.0
# by chance the channels of a few samples are anything
LEAST_SAMPLES = 256


def recording_notes(info: AudioInfo, meter: LevelMeter, channels: Channels, band_hz: float) -> tuple[str, ...]:
    """Return what should be known of a recording beside its sound, none for most.

    `meter` has seen all blocks before they became one channel, `channels` says how they did; `band_hz` is the highest
    frequency that is asked for, 0 where that is not known.
    """
    notes = list(info.notes)
    if meter.n_samples >= LEAST_SAMPLES:
        notes += channel_notes(meter.levels(), are_mixed=channels == MIX)
    if meter.peak > ABSURD_PEAK:
        notes.append(f"peaks at {meter.peak:,.0f} times full scale: integers stored as floats? scale them to 1")
    if info.sample_rate / 2 < band_hz:
        reach = f"nothing above {info.sample_rate / 2:g} Hz, and the band reaches to {band_hz:g} Hz"
        notes.append(f"recorded at {info.sample_rate} Hz: {reach}")
    return tuple(notes)
