"""Recognition that is stopped, called again, and short of memory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from helpers import launcher
from helpers.paths import HELPERS, ROOT
from helpers.recordings import bursts, recognised, recordings_of, same, write
from helpers.tiny_predict import RATE, tiny_bundle, tiny_plan

from aer.errors import AerError
from aer.inference import predict, result_store
from aer.inference.plan import Plan
from aer.inference.recordings import Recording, find_recordings

SCRIPT = HELPERS / "tiny_predict.py"


def test_a_site_is_not_taken_for_another(tmp_path: Path) -> None:
    """Recorders on one schedule give files of the same name, size and time; and a folder may be moved."""
    for site, seed in (("a", 1), ("b", 2)):
        os.utime(write(tmp_path / site / "20240501_050000.wav", 2.0, seed), (1e9, 1e9))
    plan, out = tiny_plan(), tmp_path / "out"
    predict.predict(find_recordings([tmp_path / "a"]), plan, out, 4, 2)
    results, done = predict.predict(find_recordings([tmp_path / "b"]), plan, out, 4, 2)
    (expected,) = recognised(find_recordings([tmp_path / "b"]), plan)
    assert same(*results, expected)
    assert done.n_recordings == 1
    (tmp_path / "b").rename(tmp_path / "c")
    (moved,), _ = predict.predict(find_recordings([tmp_path / "c"]), plan, out, 4, 2)
    assert moved.path == str(tmp_path / "c/20240501_050000.wav")


def test_a_second_call_does_what_is_not_done(folder: Path) -> None:
    out, recordings = folder / "out", recordings_of(folder)
    (folder / "broken.wav").write_text("no audio")
    recordings = recordings_of(folder)
    plan = tiny_plan(embeddings=True)

    def times() -> dict[str, int]:
        return {recording.name: result_store.path_of(out, recording).stat().st_mtime_ns for recording in recordings}

    def again(plan: Plan) -> set[str]:
        before = times()
        predict.predict(recordings_of(folder), plan, out, 4, 2)
        return {name for name, time_ns in times().items() if time_ns != before[name]}

    results, done = predict.predict(recordings, plan, out, 4, 2)
    expected = recognised(recordings, plan)
    assert all(same(one, other) for one, other in zip(results, expected, strict=True))
    assert done.audio_s == pytest.approx(sum(result.duration_s for result in expected))
    assert again(plan) == {"broken.wav"}
    write(folder / "site/0.wav", 1.5, 3)
    result_store.path_of(out, recordings[2]).write_bytes(b"cut short by a power cut")
    assert again(plan) == {"broken.wav", "site/0.wav", recordings[2].name}
    assert again(tiny_plan(embeddings=True, threshold=0.6)) == {recording.name for recording in recordings}
    assert again(tiny_plan(tiny_bundle(digest="1" * 64), embeddings=True)) == set(times())


def test_nothing_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("no audio")
    results, done = predict.predict(recordings_of(tmp_path), tiny_plan(), tmp_path / "out", 4, 2)
    with pytest.raises(AerError, match=r"none of the 2 recordings could be read; the first: .*a\.wav: not audio"):
        predict.summary(results, done, [])
    write(tmp_path / "c.wav", 1.0, 1)
    results, done = predict.predict(recordings_of(tmp_path), tiny_plan(), tmp_path / "out", 4, 2)
    assert "2 recordings could not be read" in predict.summary(results, done, [])


@pytest.fixture
def long_work(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has recognised some of 30 recordings, and takes its time with the others."""
    for number in range(30):
        write(tmp_path / f"in/{number:02}.wav", 2.0, number)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "out"), "4", "0.2", str(tmp_path / "in")]
    process = launcher.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "out").glob("parts/*.npz"))) < 3:
        time.sleep(0.05)
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_ends_at_once_and_the_same_command_goes_on(tmp_path: Path, long_work: "subprocess.Popen[str]") -> None:
    began = time.monotonic()
    long_work.send_signal(signal.SIGINT)
    _, error = long_work.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert long_work.returncode == 130
    said = [line for line in error.splitlines() if not line.startswith("\rrecognising") and line.strip()]
    assert len(said) == 1, error
    assert "of 30 recordings are done; the same command goes on" in said[0]
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/parts").glob("*.npz")}
    assert 3 <= len(done) < 30
    assert not list((tmp_path / "out/parts").glob(".*"))
    results, *_ = predict.predict(recordings_of(tmp_path / "in"), tiny_plan(), tmp_path / "out", 16, 2)
    assert [result.status for result in results] == ["ok"] * 30
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in done.items())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read where Linux tells it")
def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    minute = bursts(60, 1)

    def peak_mb(minutes: int) -> float:
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        command = [sys.executable, str(SCRIPT), str(tmp_path / f"out{minutes}"), "16", "0", str(path)]
        said = launcher.run(command, cwd=ROOT, check=True).stdout
        return float(said.partition("VmHWM:")[2].split()[0]) / 1024

    # 20 minutes as float32 are 77 MB
    assert peak_mb(20) < 1.1 * peak_mb(2)


def test_processes_of_torchrun_share_all_recordings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = [Recording(Path(f"{n}.wav"), f"{n}.wav", size, 0) for n, size in enumerate((3, 9, 1, 7, 5))]
    assert predict.Processes.of_environment() == predict.Processes(0, 1)
    assert list(predict.Processes(0, 1).share(recordings)) == recordings
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    second = predict.Processes.of_environment()
    assert not second.is_main
    shares = [
        [recording.size_bytes for recording in process.share(recordings)]
        for process in (predict.Processes(0, 2), second)
    ]
    assert shares == [[9, 5, 1], [7, 3]]
