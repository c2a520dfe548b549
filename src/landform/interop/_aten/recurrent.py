"""LSTM, GRU and plain recurrent layers as scans over time, and their cells."""

import jax
import jax.numpy as jnp
from jax import lax

from landform.interop._aten._registry import register


def _gates(x, h, w_ih, w_hh, b_ih, b_hh):
    matmul = lambda v, w: jnp.matmul(v, w.T, precision=lax.Precision.HIGHEST)  # noqa: E731
    a, b = matmul(x, w_ih), matmul(h, w_hh)
    return (a if b_ih is None else a + b_ih), (b if b_hh is None else b + b_hh)


def _lstm_step(x, state, weights):
    h, c = state
    w_ih, w_hh, b_ih, b_hh, *w_hr = weights
    a, b = _gates(x, h, w_ih, w_hh, b_ih, b_hh)
    i, f, g, o = jnp.split(a + b, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    if w_hr:
        h = jnp.matmul(h, w_hr[0].T, precision=lax.Precision.HIGHEST)
    return h, c


def _gru_step(x, state, weights):
    (h,) = state
    a, b = _gates(x, h, *weights)
    ar, az, an = jnp.split(a, 3, axis=-1)
    br, bz, bn = jnp.split(b, 3, axis=-1)
    r, z = jax.nn.sigmoid(ar + br), jax.nn.sigmoid(az + bz)
    n = jnp.tanh(an + r * bn)
    return ((h - n) * z + n,)


def _rnn_step(activation):
    def step(x, state, weights):
        a, b = _gates(x, state[0], *weights)
        return (activation(a + b),)

    return step


def _layer(step, x, state, weights, reverse):
    """Scan one direction of one layer over ``x`` of shape (time, batch, features)."""

    def body(carry, frame):
        new = step(frame, carry, weights)
        return new, new[0]

    return lax.scan(body, state, x, reverse=reverse)


def _run(step, x, states, params, has_biases, layers, dropout, train, bidirectional, batch_first):
    if train and dropout > 0:
        raise ValueError("a recurrent layer with active dropout is random")
    unbatched = x.ndim == 2
    if unbatched:
        x, states = x[:, None], [s[:, None] for s in states]
    elif batch_first:
        x = jnp.swapaxes(x, 0, 1)
    directions = 2 if bidirectional else 1
    per = len(params) // (layers * directions)
    finals: list[list] = [[] for _ in states]
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            own = params[k * per : (k + 1) * per]
            weights = own if has_biases else [*own[:2], None, None, *own[2:]]
            final, ys = _layer(step, x, tuple(s[k] for s in states), weights, direction == 1)
            outputs.append(ys)
            for store, value in zip(finals, final, strict=True):
                store.append(value)
        x = jnp.concatenate(outputs, axis=-1)
    ends = [jnp.stack(f) for f in finals]
    if unbatched:
        return x[:, 0], *(e[:, 0] for e in ends)
    return (jnp.swapaxes(x, 0, 1) if batch_first else x), *ends


@register("lstm.input")
def lstm(x, hx, params, *settings):
    return _run(_lstm_step, x, hx, params, *settings)


@register("gru.input")
def gru(x, hx, params, *settings):
    return _run(_gru_step, x, [hx], params, *settings)


@register("rnn_tanh.input")
def rnn_tanh(x, hx, params, *settings):
    return _run(_rnn_step(jnp.tanh), x, [hx], params, *settings)


@register("rnn_relu.input", bends=True)
def rnn_relu(x, hx, params, *settings):
    return _run(_rnn_step(jax.nn.relu), x, [hx], params, *settings)


@register("lstm_cell.default")
def lstm_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    return _lstm_step(x, hx, (w_ih, w_hh, b_ih, b_hh))


@register("gru_cell.default")
def gru_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    return _gru_step(x, (hx,), (w_ih, w_hh, b_ih, b_hh))[0]


@register("rnn_tanh_cell.default")
def rnn_tanh_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    return _rnn_step(jnp.tanh)(x, (hx,), (w_ih, w_hh, b_ih, b_hh))[0]


@register("rnn_relu_cell.default", bends=True)
def rnn_relu_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    return _rnn_step(jax.nn.relu)(x, (hx,), (w_ih, w_hh, b_ih, b_hh))[0]
