"""Where the project is, and what lies beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent
SHARED = ROOT.parent / "shared"  # data for benchmarks by hand; tests skip what needs it where it is not there
