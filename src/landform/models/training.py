"""How a variational autoencoder is built and trained: one configuration for both stages."""

import dataclasses
import difflib

from landform._core.checks import as_count, as_tolerance, check_choice
from landform.models.networks import check_activation
from landform.models.rbf import BANDWIDTH_RULES
from landform.models.vae import LIKELIHOODS, OUTPUTS

ARCHITECTURES = ("mlp", "conv")
VARIANCES = ("rbf", "network", "constant")
_COUNTS = ("num_centers", "epochs", "batch_size", "patience", "max_landmarks")
_POSITIVE = ("bandwidth_scale", "learning_rate")
_POSITIVE_OR_NONE = ("max_std", "min_std", "stage_one_std")


@dataclasses.dataclass(frozen=True)
class Training:
    """The architecture of a variational autoencoder and the schedule of its training.

    Pass it to `train_vae` and `fit_variance` as ``training=``, or pass its fields to them by name.
    Change one field of many with `dataclasses.replace`.

    Parameters
    ----------
    architecture
        ``"mlp"``, or ``"conv"`` for images (strided convolutions, transposed in the decoder).
    hidden
        Widths of the encoder's layers, or its channels; the decoder has them in reverse. None for
        the paper's (64, 32), and for (16, 32) channels. ``()`` makes both networks affine.
    activation
        Smooth: tanh (the paper's), softplus, gelu, silu, mish, sigmoid or sin. Kinked ones are
        refused, because they have no metric.
    likelihood
        ``"gaussian"``, or ``"bernoulli"`` for data in [0, 1]: of stage one and of the ELBO. The
        variance of stage two is the variance of the residuals with either.
    output
        Last activation of the mean: ``"identity"``, ``"sigmoid"`` for data in [0, 1], or
        ``"auto"``: a sigmoid exactly if all data are in [0, 1] (and vary by 1e-5 at least).
    variance
        ``"rbf"``: `RBFPrecision` (for a convolutional decoder `ConvRBFPrecision`);
        ``"network"``: an ordinary network like the mean's, for comparison, whose values off the
        data mean nothing; ``"constant"``: one number for each output.
    num_centers, bandwidth_scale, bandwidth_rule
        Number of radial basis functions and their widths, see `rbf_bandwidths`. The paper's 64, 2
        and ``"paper"`` give a smooth σ that hardly rises in gaps between groups of codes. For
        geodesics that keep to the codes take a fifth as many centers as data, a scale of 1.3 to 2.2
        and ``"pooled"``: narrow functions that overlap with many others.
    max_std
        Largest standard deviation (ζ = max_std^(−2)); None for ten times the largest residual (root
        mean square of an output).
    min_std
        Smallest deviation of an output; None for 3 % of the data's. Without it pixels that are
        nearly always empty are overfitted.
    stage_one_std
        Constant deviation of stage one; None learns it with the rest. Larger values pull the codes
        together.
    held_out
        Share of the data, in (0, 0.5], on which the ELBO chooses the best iterate.
    epochs, batch_size, learning_rate
        Of Adam, with a cosine schedule.
    warmup
        Epochs over which the KL term is turned on. Without it some latent directions stay unused.
    patience
        Epochs without a better held-out ELBO after which training stops.
    max_landmarks
        Most encoded training points that the model keeps as the landmarks of its metric.

    Raises
    ------
    TypeError, ValueError
        If a field has the wrong type or is out of range; names the field.

    Notes
    -----
    Defaults are those of Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), appendix, where
    it names them; rate, batch, epochs, warm-up and the floor of σ were chosen by the held-out ELBO
    on images of digits.

    Examples
    --------
    >>> import dataclasses, landform as lf
    >>> narrow = lf.Training(num_centers=300, bandwidth_scale=1.3, bandwidth_rule="pooled")
    >>> dataclasses.replace(narrow, epochs=400).num_centers
    300
    """

    architecture: str = "mlp"
    hidden: tuple[int, ...] | None = None
    activation: str = "tanh"
    likelihood: str = "gaussian"
    output: str = "auto"
    variance: str = "rbf"
    num_centers: int = 64
    bandwidth_scale: float = 2.0
    bandwidth_rule: str = "paper"
    max_std: float | None = None
    min_std: float | None = None
    stage_one_std: float | None = None
    held_out: float = 0.1
    epochs: int = 200
    batch_size: int = 32
    learning_rate: float = 5e-3
    warmup: int = 20
    patience: int = 40
    max_landmarks: int = 1000

    def __post_init__(self):
        check_choice("architecture", self.architecture, ARCHITECTURES)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_choice("output", self.output, (*OUTPUTS, "auto"))
        check_choice("variance", self.variance, VARIANCES)
        check_choice("bandwidth_rule", self.bandwidth_rule, BANDWIDTH_RULES)
        known = {"activation": check_activation("activation", self.activation)}
        if self.hidden is not None:
            known["hidden"] = _as_sizes(self.hidden)
        known |= {name: as_count(name, getattr(self, name)) for name in _COUNTS}
        known["warmup"] = as_count("warmup", self.warmup, 0)
        known["held_out"] = as_tolerance("held_out", self.held_out)
        if known["held_out"] > 0.5:
            raise ValueError(f"held_out must be a share in (0, 0.5], got {self.held_out}")
        known |= {name: as_tolerance(name, getattr(self, name)) for name in _POSITIVE}
        known |= {
            name: as_tolerance(name, value)
            for name in _POSITIVE_OR_NONE
            if (value := getattr(self, name)) is not None
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)  # the plain form of a value, in a frozen class


def configure(training: Training | None, options: dict, default: Training, names) -> Training:
    """The configuration with some of its fields, those of `names`, changed.

    Raises
    ------
    TypeError
        If `training` is not a `Training`, or an option is not among `names`; lists them.
    """
    if training is None:
        training = default
    if not isinstance(training, Training):
        raise TypeError(f"training must be a Training, got {type(training).__name__}")
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise TypeError(f"unknown option {name}{guess}: choose from {', '.join(names)}")
    return dataclasses.replace(training, **options)


def _as_sizes(hidden) -> tuple[int, ...]:
    if not isinstance(hidden, tuple | list):
        raise TypeError(f"hidden must be a tuple of integers, got {hidden!r}")
    return tuple(as_count("hidden", size, 1) for size in hidden)
