"""Published weights as they are found: with plain arrays beside them, written by old and new numpy."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aer.models.weights import read_weights


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_the_samplers_arrays_beside_the_weights_are_no_obstacle(tmp_path: Path, module: bytes, dtype: str) -> None:
    path = tmp_path / "Cnn14.pth"
    content = {
        "iteration": 600000,
        "model": {"w": torch.ones(3)},
        "sampler": {"indexes": np.arange(5, dtype=dtype), "pointer": 3},
    }
    torch.save(content, path, _use_new_zipfile_serialization=False)
    named = path.read_bytes().replace(b"numpy._core.multiarray", module)
    assert module in named
    path.write_bytes(named)
    assert read_weights(path, "fetch it again")["w"].tolist() == [1, 1, 1]
