"""Against numbers computed once with the published reference models and pipelines (../shared/golden)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

import config
from aer.frontend import MelImage
from aer.models.panns import build_panns

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers are not beside the project")


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    time_s = np.arange(5 * 32000) / 32000
    noise = np.random.RandomState(7).standard_normal(time_s.size)
    chirp = 0.1 * np.sin(2 * np.pi * (500 * time_s + 400 * time_s**2)) + 0.01 * noise
    return torch.from_numpy(np.float32([chirp, chirp[::-1]]))


def reference_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    random = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        random = 1 + 0.1 * abs(random)
    elif name.endswith(("running_mean", ".bias")):
        random = 0.1 * random
    elif len(shape) == 1:
        random = 1 + 0.1 * random
    else:
        random = random * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return torch.from_numpy(random)


def test_cnn14_has_the_published_keys_and_gives_the_published_output(batch: torch.Tensor) -> None:
    model = build_panns(config.PANNS["birdcall"], n_classes=264).eval()
    weights = model.state_dict()
    keys = json.loads((GOLDEN / "panns_cnn14_att_keys.json").read_text())
    assert {name: list(value.shape) for name, value in weights.items()} == keys
    fixed = ("spectrogram_extractor", "logmel_extractor")
    for name, value in weights.items():
        if not name.startswith(fixed) and not name.endswith("num_batches_tracked"):
            weights[name] = reference_weight(name, tuple(value.shape))
    model.load_state_dict(weights)
    with torch.no_grad():
        logmel, output = model.logmel(batch), model(batch)
    golden = np.load(GOLDEN / "panns_cnn14_att_5s_264.npz")
    np.testing.assert_allclose(logmel[:, 0, ::25].numpy(), golden["logmel_every_25"], atol=1e-4)
    np.testing.assert_allclose(output["clipwise_output"].numpy(), golden["clipwise"], atol=1e-4)
    np.testing.assert_allclose(output["framewise_output"][:, ::25].numpy(), golden["framewise_every_25"], atol=1e-4)


def test_resnest_image(batch: torch.Tensor) -> None:
    settings = config.RESNEST["birdcall"]
    image = MelImage(settings.mel, settings.sample_rate, settings.image_height, torch.nn.Identity())(batch)
    assert image.shape == (2, 3, 224, 547)
    golden = np.load(GOLDEN / "resnest_image_5s.npz")["image_channel0"]
    np.testing.assert_allclose(255 * image[:, 0, ::2, ::5].numpy(), golden, atol=1.5)
