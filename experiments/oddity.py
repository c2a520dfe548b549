"""What the experiments of Latent Space Oddity share: images, and the paper's networks."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

import landform as lf
from landform import datasets
from landform.demo import Sample


def load_images(
    data: str | None = None,
    *,
    classes: Sequence[int] | None = None,
    per_class: int | None = None,
    seed: int = 0,
) -> Sample:
    """Images by the name of a data set or from a file, shuffled.

    Parameters
    ----------
    data
        A name that `landform.datasets.load` takes, or an .npz file with X and, where known, classes
        y. None for MNIST, or scikit-learn's digits where it cannot be had. Integers up to 255 are
        divided by 255, other values outside [0, 1] mapped to it from their range over the file.
    classes
        Classes to keep; all of them when None.
    per_class
        Most images of each class, the first ones in the random order.
    seed
        Seed of the order.

    Raises
    ------
    ValueError, FileNotFoundError
        If there are no such data, or not these classes in them.
    """
    if data is None:
        try:
            return load_images("mnist", classes=classes, per_class=per_class, seed=seed)
        except FileNotFoundError:
            data = "digits"
    if datasets.find_name(data) is not None:
        found = datasets.load(data, classes=classes, per_class=per_class, seed=seed)
        return Sample(found.X, found.y, found.name)
    path = Path(data).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"data must be one of {', '.join(datasets.names())} or an .npz file, and there is no "
            f"{path}"
        )
    arrays = datasets.read_npz(path)
    if "X" not in arrays:
        raise ValueError(f"{path} must hold an array X, and has {', '.join(arrays) or 'none'}")
    X, y = _unit(arrays["X"], path), arrays.get("y")
    if y is None:
        if classes is not None:
            raise ValueError(f"{path} must hold the classes y of its images to choose among them")
        rows = np.random.default_rng(seed).permutation(len(X))
        return Sample(X[rows], None, path.stem)
    y = np.asarray(y).astype(int)
    if y.shape != (len(X),):
        raise ValueError(f"y in {path} must have shape ({len(X)},), got {y.shape}")
    rows = datasets.choose_rows(y, classes=classes, per_class=per_class, seed=seed)
    return Sample(X[rows], y[rows], path.stem)


def _unit(X: np.ndarray, path: Path) -> np.ndarray:
    """Values in [0, 1]."""
    if X.dtype.kind not in "uif" or X.ndim < 2 or not np.isfinite(X).all():
        raise ValueError(f"X in {path} must hold finite numbers, one row or image for each point")
    whole, X = X.dtype.kind != "f", np.asarray(X, np.float64)
    low, high = X.min(), X.max()
    if low >= 0.0 and high <= 1.0:
        return X
    if whole and low >= 0.0 and high <= 255.0:
        return X / 255.0
    if low == high:
        raise ValueError(f"X in {path} must vary: all of its values are {low:g}")
    return (X - low) / (high - low)


def train_mean(X: np.ndarray, training: lf.Training, seed: int, latent_dim: int = 2) -> lf.VAE:
    """Stage one: encoder and mean, with a constant variance."""
    key = jax.random.key(seed)
    return lf.train_vae(X, latent_dim, key=key, training=training, variance="constant")


def train_std(
    vae: lf.VAE, X: np.ndarray, training: lf.Training, seed: int, variance: str = "rbf"
) -> lf.VAE:
    """Stage two: the variance, by radial basis functions or by a network like the mean's.

    The rows held out are those of stage one, where `X` is what that was trained on.
    """
    return lf.fit_variance(
        vae,
        X,
        key=jax.random.key(seed + 1),
        training=training,
        variance=variance,
        batch_size=64,
        learning_rate=3e-3,
        max_iter=training.epochs if variance == "network" else 300,
    )
