"""Agreement with the published models and pipelines: numbers in shared/golden, beside the project (README there)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.paths import SHARED
from torch import nn

from aer.models.frontend import MelImage
from aer.models.panns import Cnn14
from aer.settings import MelSettings, PannsSettings

FRONT_END_PREFIXES = ("spectrogram_extractor", "logmel_extractor")  # computed, not learnt
GOLDEN = SHARED / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden values: {GOLDEN} is absent")

SAMPLE_RATE = 32000
N_CLASSES = 264


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    t = np.arange(5 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.RandomState(7).standard_normal(t.size)
    x = 0.1 * np.sin(2 * np.pi * (500 * t + 400 * t**2)) + 0.01 * noise
    return torch.from_numpy(np.stack([x, x[::-1]]).astype(np.float32))


def golden_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    r = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        r = 1 + 0.1 * abs(r)
    elif name.endswith(("running_mean", ".bias")):
        r = 0.1 * r
    elif len(shape) == 1:
        r = 1 + 0.1 * r
    else:
        r = r * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(r, dtype=np.float32))


@pytest.fixture(scope="module")
def model() -> Cnn14:
    mel = MelSettings(window_samples=1024, hop_samples=320, n_mels=64, fmin_hz=50, fmax_hz=14000)
    settings = PannsSettings(
        corpus=Path("unused"), run_dir=Path("unused"), sample_rate=SAMPLE_RATE, clip_duration_s=5, mel=mel,
        n_folds=5, fold=0, fold_seed=0, seed=0, epochs=1, batch_size=2, learning_rate=1e-4, loss_func="PANNsLoss",
        warmup_steps=0, workers=0,
    )  # fmt: skip
    model = Cnn14(settings, N_CLASSES).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not name.startswith(FRONT_END_PREFIXES) and not name.endswith("num_batches_tracked"):
                value.copy_(golden_weight(name, tuple(value.shape)))
    return model


def test_state_dict_has_the_published_keys_and_shapes(model: Cnn14) -> None:
    published = json.loads((GOLDEN / "panns_cnn14_att_keys.json").read_text())
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == published


def test_panns_agrees_with_the_published_model(model: Cnn14, waveform: torch.Tensor) -> None:
    golden = np.load(GOLDEN / "panns_cnn14_att_5s_264.npz")
    with torch.no_grad():
        output = model(waveform)
        log_mel = model.logmel(waveform)[:, 0]
    np.testing.assert_allclose(log_mel[:, ::25].numpy(), golden["logmel_every_25"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(output["clipwise_output"].numpy(), golden["clipwise"], atol=1e-4, rtol=0)
    framewise = output["framewise_output"]
    assert framewise.shape == (2, 501, N_CLASSES)
    np.testing.assert_allclose(framewise[:, ::25].numpy(), golden["framewise_every_25"], atol=1e-4, rtol=0)


def test_image_agrees_with_the_original_pipeline(waveform: torch.Tensor) -> None:
    mel = MelSettings(window_samples=2048, hop_samples=512, n_mels=128, fmin_hz=20, fmax_hz=16000)
    image = MelImage(mel, SAMPLE_RATE, 224, nn.Identity())(waveform)
    assert image.shape == (2, 3, 224, 547)
    golden = np.load(GOLDEN / "resnest_image_5s.npz")["image_channel0"].astype(np.float64)
    np.testing.assert_allclose(255 * image[:, 0, ::2, ::5].numpy(), golden, atol=1.5, rtol=0)
