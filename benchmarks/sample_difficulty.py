"""How hard is a corpus for methods that know nothing of song? Prints validation mAP of simple classifiers.

    python benchmarks/sample_difficulty.py datasets/sample

The features are the mean (and the spread) over time of log-mel energies. A corpus on which they do well can be solved
by loudness or by a frequency band, and says little about a model.
"""

import sys
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import soundfile
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, label_binarize

N_MELS = 64
FOLDS = 5


def log_mel(path: Path) -> np.ndarray:
    """(mel bins, frames) in dB relative to full scale."""
    wave, sample_rate = soundfile.read(path, dtype="float32")
    mel = librosa.feature.melspectrogram(
        y=wave, sr=sample_rate, n_fft=1024, hop_length=320, n_mels=N_MELS, fmin=50, fmax=sample_rate / 2
    )
    return librosa.power_to_db(mel, amin=1e-10, top_db=None)


def features(corpus: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(means, means and standard deviations, labels): a row per clip of the corpus."""
    table = pd.read_csv(corpus / "train_mod.csv")
    folder = corpus / "resampled_train_audio"
    mels = [log_mel(folder / row.ebird_code / row.resampled_filename) for row in table.itertuples()]
    means = np.stack([mel.mean(axis=1) for mel in mels])
    spreads = np.stack([mel.std(axis=1) for mel in mels])
    return means, np.hstack([means, spreads]), table["ebird_code"].to_numpy()


def validation_map(classifier: ClassifierMixin, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Macro average precision over the classes, each clip scored by the classifier that was not shown its fold."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(classifier, inputs, labels, cv=folds, method="predict_proba")
    return float(average_precision_score(label_binarize(labels, classes=np.unique(labels)), scores, average="macro"))


def main(corpus: Path) -> None:
    means, means_and_spreads, labels = features(corpus)
    centred = means - means.mean(axis=1, keepdims=True)  # without the clip's loudness
    nearest = KNeighborsClassifier(1)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    print(f"{len(labels)} clips, {len(np.unique(labels))} species; chance is about {1 / len(np.unique(labels)):.2f}")
    print(f"1-NN on the mean log-mel               mAP {validation_map(nearest, means, labels):.3f}")
    print(f"1-NN on the same less loudness         mAP {validation_map(nearest, centred, labels):.3f}")
    print(f"1-NN on mean and spread                mAP {validation_map(nearest, means_and_spreads, labels):.3f}")
    print(f"logistic regression on the mean        mAP {validation_map(linear, means, labels):.3f}")
    print(f"logistic regression on mean and spread mAP {validation_map(linear, means_and_spreads, labels):.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/sample_difficulty.py CORPUS")
    main(Path(sys.argv[1]))
