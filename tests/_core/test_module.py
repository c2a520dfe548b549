"""Objects keep every bit through pickle, joblib and copies, whatever JAX's flags."""

import copy
import io
import pickle

import jax
import joblib
import numpy as np
import pytest

import landform as lf
from landform.sklearn import GeodesicKMeans, LANDMixture

CLOUD = np.random.default_rng(0).normal(size=(40, 2)) + 1e6 / 3.0
METRIC = lf.LocalVariance(CLOUD, sigma=0.7, rho=1e-2)


def through_joblib(value):
    stream = io.BytesIO()
    joblib.dump(value, stream)
    stream.seek(0)
    return joblib.load(stream)


def through_cloudpickle(value):
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(value))


WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "joblib": through_joblib,
    "cloudpickle": through_cloudpickle,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
OBJECTS = {
    "metric": lambda: METRIC,
    "sum of metrics": lambda: METRIC + 0.1 * lf.Euclidean(2),
    "geodesic": lambda: lf.geodesic(lf.PoincareHalfPlane(), [0.1, 1.0], [1.3, 2.0]),
    "initial value problem": lambda: lf.geodesic_ivp(
        lf.PoincareHalfPlane(), [0.1, 1.0], [0.3, 0.2]
    ),
    "named result": lambda: lf.jacobi_field(
        lf.PoincareHalfPlane(), [0.1, 1.0], [0.3, 0.2], slope=[0.1, 0.7]
    ),
    "distribution": lambda: lf.LAND(lf.Euclidean(2), [1 / 3, 1e6 / 3], np.eye(2) / 7),
    "precision": lambda: lf.RBFPrecision(CLOUD[:3], 0.7, np.ones((5, 3)) / 3, 2.0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_no_bit_is_lost_where_the_64_bit_flag_is_off(kind, way):
    value = OBJECTS[kind]()
    with jax.enable_x64(False):
        again = WAYS[way](value)
    old, new = jax.tree.leaves(value), jax.tree.leaves(again)
    assert jax.tree.structure(value) == jax.tree.structure(again)
    for a, b in zip(old, new, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("way", WAYS)
def test_estimators_keep_every_bit_too(way):
    X = CLOUD - 1e6 / 3.0
    for model in (
        LANDMixture(1, sigma=1.0, rho=1e-1, max_iter=50, tol=0.1),
        GeodesicKMeans(2, sigma=1.0, rho=0.1),
    ):
        with jax.enable_x64(False):
            again = WAYS[way](model.fit(X))
            assert np.array_equal(again.predict(X), model.predict(X))
            metric, copied = model.metric_, again.metric_
        for a, b in zip(jax.tree.leaves(metric), jax.tree.leaves(copied), strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b))


def test_random_keys_pass_through_a_pickle():
    class Keyed(lf.AbstractCurve):
        key: jax.Array

        def __call__(self, t):
            return t

        def velocity(self, t):
            return t

    curve = Keyed(jax.random.key(3))
    kept = curve.__getstate__()
    again = object.__new__(Keyed)
    again.__setstate__(pickle.loads(pickle.dumps(kept)))
    assert jax.random.uniform(again.key) == jax.random.uniform(curve.key)
