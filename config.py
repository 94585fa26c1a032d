"""The settings of train_panns.py and train_resnest.py: edit this file, or give single settings on the command line.

RECIPE picks one of the two recipes that stand below for each model:
- "sample": the embedded synthetic corpus, made on first use; minutes on a laptop's CPU.
- "birdcall": the Cornell Birdcall recipe; hours on a GPU, on recordings of your own.
Every setting is explained by `python train_panns.py --help`.
"""

from aer.corpus.sample import SAMPLE_CORPUS
from aer.settings import (
    MelSettings,
    PannsSettings,
    ResnestSettings,
    SpecAugmentSettings,
    pick_recipe,
)

RECIPE = "sample"

PANNS = {
    "sample": PannsSettings(
        corpus=SAMPLE_CORPUS,
        run_dir="runs/panns",
        sample_rate=16_000,
        clip_duration_s=2.0,
        mel=MelSettings(window_samples=512, hop_samples=320, n_mels=32, fmin_hz=500, fmax_hz=8_000),
        # from scratch and within minutes; with the published 0.2 and 0.5 it takes many times as long
        dropout=0.0,
        embedding_dropout=0.0,
        n_folds=5,
        fold=0,
        fold_seed=42,
        seed=444,
        epochs=8,
        batch_size=16,
        learning_rate=3e-4,
        loss_func="PANNsLoss",
        scheduler="CosineAnnealingLR",
        scheduler_params={"T_max": 8},
        warmup_steps=20,
        workers=0,
        keep_best=2,
    ),
    "birdcall": PannsSettings(
        corpus="datasets",
        run_dir="runs/panns",
        # the path of the published Cnn14_DecisionLevelAtt weights, once you have them
        pretrained_panns=None,
        sample_rate=32_000,
        clip_duration_s=5.0,
        mel=MelSettings(window_samples=1024, hop_samples=320, n_mels=64, fmin_hz=50, fmax_hz=14_000),
        n_folds=9,
        fold=4,
        fold_seed=42,
        seed=444,
        epochs=100,
        batch_size=64,
        learning_rate=7.5e-4,
        loss_func="PANNsLoss",
        optimizer="Adam",
        scheduler="CosineAnnealingLR",
        scheduler_params={"T_max": 100 // (2 * 3)},
        workers=4,
        spec_augment=SpecAugmentSettings(time_mask_frames=64, time_masks=2, frequency_mask_bins=8, frequency_masks=2),
    ),
}

RESNEST = {
    "sample": ResnestSettings(
        corpus=SAMPLE_CORPUS,
        run_dir="runs/resnest",
        pretrained=False,
        sample_rate=16_000,
        clip_duration_s=2.0,
        mel=MelSettings(window_samples=512, hop_samples=320, n_mels=64, fmin_hz=500, fmax_hz=8_000),
        image_height=64,
        n_folds=5,
        fold=0,
        fold_seed=42,
        seed=1213,
        epochs=13,
        batch_size=8,
        learning_rate=5e-4,
        loss_func="BCEWithLogits",
        scheduler="CosineAnnealingLR",
        scheduler_params={"T_max": 13},
        warmup_steps=40,
        workers=0,
        keep_best=2,
    ),
    "birdcall": ResnestSettings(
        corpus="datasets",
        run_dir="runs/resnest",
        pretrained=True,
        sample_rate=32_000,
        clip_duration_s=5.0,
        mel=MelSettings(window_samples=2048, hop_samples=512, n_mels=128, fmin_hz=20, fmax_hz=16_000),
        image_height=224,
        n_folds=8,
        fold=4,
        fold_seed=44,
        seed=1213,
        epochs=80,
        batch_size=64,
        learning_rate=1e-3,
        loss_func="Focal",
        optimizer="Adam",
        scheduler="CosineAnnealingLR",
        scheduler_params={"T_max": 20},
        workers=4,
        mixed_precision="fp16",
        spec_augment=SpecAugmentSettings(
            time_mask_frames=40, time_masks=2, frequency_mask_bins=30, frequency_masks=2, time_warp_frames=5
        ),
    ),
}

panns = pick_recipe(PANNS, RECIPE)
resnest = pick_recipe(RESNEST, RECIPE)
