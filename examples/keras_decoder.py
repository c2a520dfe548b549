"""A Keras 3 decoder on the JAX backend: trained in Keras, measured in landform.

    python examples/keras_decoder.py

An autoencoder of digits (scikit-learn's 8 × 8 images of 0, 1 and 2) is trained in Keras. Its
decoder goes to `landform.from_callable` as it is: the weights become leaves, and no layer is
written again. Printed are the distances between the classes' mean codes along geodesics of the
pull-back metric, over the straight lines between their images: at least one. Needs Keras (``pip
install keras``); without it the example says so and ends.
"""

import importlib.util
import os

os.environ["KERAS_BACKEND"] = "jax"  # before keras is imported

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import landform as lf


def train(images: np.ndarray, epochs: int, seed: int):
    """Encoder and decoder of an autoencoder with two codes and smooth activations."""
    import keras  # pyright: ignore[reportMissingImports]

    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(64, activation="gelu"),
            keras.layers.Dense(2),
            keras.layers.BatchNormalization(center=False, scale=False),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.layers.Input((2,)),
            keras.layers.Dense(64, activation="gelu"),
            keras.layers.Dense(64, activation="gelu"),
            keras.layers.Dense(64, activation="sigmoid"),
        ]
    )
    both = keras.Sequential([encoder, decoder])
    both.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")
    both.fit(images, images, batch_size=64, epochs=epochs, verbose=0)
    return encoder, decoder


def run(epochs: int = 150, seed: int = 0) -> dict[str, float]:
    """Train, bring in and measure."""
    digits = load_digits(n_class=3)
    images = (digits.data / 16.0).astype("float32")
    encoder, model = train(images, epochs, seed)
    codes = np.asarray(encoder(images, training=False))
    decoder = lf.from_callable(model, codes, batched=True)  # the whole of the conversion
    decoded = jax.vmap(decoder)(jnp.asarray(codes))
    means = jnp.asarray([codes[digits.target == k].mean(0) for k in range(3)], float)
    first, second = np.triu_indices(3, 1)
    length = lf.distance(lf.Pullback(decoder), means[first], means[second])
    images_of_means = jax.vmap(decoder)(means)
    chord = jnp.linalg.norm(images_of_means[first] - images_of_means[second], axis=1)
    numbers = {
        "reconstruction error, root mean square": jnp.sqrt(jnp.mean((decoded - images) ** 2)),
        "largest difference from Keras": jnp.max(jnp.abs(decoded - model(codes, training=False))),
        "weights as leaves": len(jax.tree.leaves(decoder)),
    }
    for i, j, a, b in zip(first, second, length, chord, strict=True):
        numbers[f"geodesic over chord, {i} to {j}"] = a / b
    return {name: float(value) for name, value in numbers.items()}


def main() -> None:
    """Print the numbers, or what is missing."""
    if importlib.util.find_spec("keras") is None:
        print("This example needs Keras: pip install keras")
        return
    for name, value in run().items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
