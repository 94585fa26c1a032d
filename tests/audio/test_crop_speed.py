"""A crop costs a share of the whole: benchmarks/crop_speed.py, in short."""

from pathlib import Path

import crop_speed


def test_a_crop_costs_a_share_of_the_whole(tmp_path: Path) -> None:
    best = dict.fromkeys(crop_speed.LEAST, 0.0)
    # other work on the machine may come between, never to the crop's advantage in all rounds
    for _ in range(4):
        for suffix, (whole_s, crop_s, _) in crop_speed.ratios(tmp_path, 7).items():
            best[suffix] = max(best[suffix], whole_s / crop_s)
        # half of what the benchmark asks for on a quiet machine: here it is only to tell a seek from a whole decode
        if all(best[suffix] >= least / 2 for suffix, least in crop_speed.LEAST.items()):
            return
    raise AssertionError(best)
