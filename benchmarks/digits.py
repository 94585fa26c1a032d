"""A config module for the spoken digits, laid out as a Birdcall corpus: one speaker is never heard in training.

    python train_panns.py --config benchmarks/digits.py --corpus FOLDER

FOLDER holds `train.csv` (ebird_code, filename, author, ...) and `raw_train_audio/<digit>/*.wav`, 8 kHz mono.
"""

from aer.settings import MelSettings, PannsSettings, SpecAugmentSettings, WaveformAugmentSettings

panns = PannsSettings(
    corpus="datasets/digits",
    run_dir="runs/digits",
    sample_rate=8_000,
    clip_duration_s=1.0,
    mel=MelSettings(window_samples=256, hop_samples=120, n_mels=40, fmin_hz=50, fmax_hz=4_000),
    dropout=0.0,
    embedding_dropout=0.2,
    n_folds=5,
    fold=0,
    fold_seed=42,
    group_by="author",
    validation_groups=("theo",),
    seed=444,
    epochs=8,
    batch_size=16,
    learning_rate=3e-4,
    loss_func="PANNsLoss",
    scheduler="OneCycleLR",
    scheduler_params={"pct_start": 0.2},
    scheduler_step="batch",
    warmup_steps=0,
    workers=0,
    keep_best=1,
    waveform_augment=WaveformAugmentSettings(gain_db=6, noise_snr_db=(10, 40)),
    spec_augment=SpecAugmentSettings(
        time_mask_frames=8, time_masks=2, frequency_mask_bins=5, frequency_masks=2, time_warp_frames=5
    ),
)
