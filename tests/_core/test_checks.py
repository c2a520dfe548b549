"""Arrays of every kind that holds real numbers are taken, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import landform as lf
from landform._core.checks import as_floats

NUMBERS = np.array([[0.25, -1.5], [3.0, 0.5]])  # exact in half precision too


@pytest.mark.parametrize(
    "dtype", [">f8", "<f8", ">f4", ">f2", np.float16, np.longdouble, jnp.bfloat16], ids=str
)
def test_every_byte_order_and_precision_of_floats_is_taken(dtype):
    array = as_floats("x", NUMBERS.astype(dtype))
    np.testing.assert_array_equal(array, NUMBERS)
    assert array.dtype == (np.float32 if dtype == ">f4" else np.float64)


@pytest.mark.parametrize("dtype", [">i4", ">u2", np.int8, np.uint64, bool], ids=str)
def test_integers_and_booleans_become_doubles(dtype):
    array = as_floats("x", np.array([[0, 1], [1, 1]]).astype(dtype))
    np.testing.assert_array_equal(array, [[0.0, 1.0], [1.0, 1.0]])
    assert array.dtype == np.float64


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(NUMBERS),
        NUMBERS[::-1][::-1],
        np.repeat(NUMBERS, 2, axis=1)[:, ::2],
        sp.csr_matrix(NUMBERS),
        sp.coo_array(NUMBERS),
        jnp.asarray(NUMBERS, jnp.float16),
        [jnp.asarray(row) for row in NUMBERS],
        [list(NUMBERS[0]), tuple(NUMBERS[1])],
    ],
    ids=["Fortran", "reversed", "strided", "csr", "coo", "half", "list of arrays", "nested lists"],
)
def test_layouts_and_containers_are_read_as_the_numbers_in_them(array):
    found = as_floats("x", array)
    np.testing.assert_array_equal(found, NUMBERS)
    assert found.dtype == np.float64


def test_a_subclass_of_numpys_array_is_an_array_whatever_methods_it_has():
    class View(np.ndarray):
        def toarray(self):
            raise AssertionError("an array needs no conversion")

    np.testing.assert_array_equal(as_floats("x", NUMBERS.view(View)), NUMBERS)


def test_views_of_anndata_are_arrays():
    anndata = pytest.importorskip("anndata")
    codes = np.concatenate([NUMBERS, NUMBERS])
    view = anndata.AnnData(np.zeros((4, 3)), obsm={"X_codes": codes})[:2].obsm["X_codes"]
    np.testing.assert_array_equal(as_floats("x", view), NUMBERS)


def test_lists_of_traced_numbers_are_taken_inside_a_transformation():
    slope = jax.grad(lambda t: jnp.sum(as_floats("x", [t, 2.0 * t])))(1.0)
    assert float(slope) == 3.0


@pytest.mark.parametrize("dtype", ["float64", "Float64", "Int64", "float32", "boolean"])
def test_columns_of_pandas_are_taken_and_missing_values_are_told(dtype):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [0, 1], "b": [1, 1]}).astype(dtype)
    np.testing.assert_array_equal(as_floats("x", frame), [[0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(as_floats("x", frame["a"]), [0.0, 1.0])
    if dtype[0] in "FI":
        frame.loc[0, "a"] = pd.NA
        with pytest.raises(ValueError, match="x has 1 NaN"):
            lf.metric_tensor(lf.Euclidean(2), frame)


def test_text_is_no_number_though_it_is_of_digits():
    pd = pytest.importorskip("pandas")
    for text in (pd.DataFrame({"a": ["1", "2"]}), np.array(["1", "2"]), ["1", "2"]):
        with pytest.raises(TypeError, match="x must be an array of real numbers"):
            as_floats("x", text)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32", "bool"])
def test_tensors_are_taken_in_every_precision(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[0.0, 1.0], [1.0, 1.0]]).to(getattr(torch, dtype))
    found = as_floats("x", tensor)
    np.testing.assert_array_equal(found, [[0.0, 1.0], [1.0, 1.0]])
    assert found.dtype == (np.float32 if dtype == "float32" else np.float64)


def test_tensors_that_require_gradients_are_taken_alone_and_in_lists():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(NUMBERS, requires_grad=True)
    for value in (tensor, list(tensor), [list(row) for row in tensor], tensor.to_sparse()):
        np.testing.assert_array_equal(as_floats("x", value), NUMBERS)


@pytest.mark.parametrize(
    "convert",
    [
        lambda z: jnp.round(255 * jax.nn.sigmoid(z)).astype(jnp.uint8),
        lambda z: (10 * z).astype(int),
        lambda z: z > 0,
        lambda z: (z, z[:1] > 0),
        lambda z: z + 1j,
    ],
    ids=["uint8", "int", "bool", "one of two", "complex"],
)
@pytest.mark.parametrize(
    "metric",
    [lf.Pullback, lambda f: lf.ExpectedPullback(f, f), lambda f: lf.EnsemblePullback([f, f])],
    ids=["Pullback", "ExpectedPullback", "EnsemblePullback"],
)
def test_a_generator_without_derivatives_is_refused_in_words(convert, metric):
    with pytest.raises(TypeError, match=r"must return real numbers.*have no derivative"):
        lf.metric_tensor(metric(convert), [0.3, 0.4])


def test_constants_of_python_beside_real_outputs_are_allowed():
    found = lf.metric_tensor(lf.Pullback(lambda z: (z, 0)), [0.3, 0.4])
    np.testing.assert_array_equal(found, np.eye(2))


def test_estimators_take_tensors_that_require_gradients():
    torch = pytest.importorskip("torch")
    from landform.sklearn import GeodesicKMeans, LANDMixture

    X = np.random.default_rng(0).normal(size=(24, 2))
    tensor = torch.tensor(X, requires_grad=True)
    for model in (
        GeodesicKMeans(2, metric="euclidean", random_state=0),
        LANDMixture(1, metric="euclidean", random_state=0),
    ):
        labels = model.fit(X).predict(X)
        for value in (tensor, list(tensor)):
            np.testing.assert_array_equal(model.fit(value).predict(value), labels)
