"""The promises of the code base: floors, lazy imports, final classes, documented names."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

import landform as lf

PACKAGE = Path(lf.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A file imports only from lower floors or from its own folder. `landform/__init__`, which gathers
# the public names, stands above all that has them.
FLOORS = [
    {"_core"},
    {"metrics", "solvers", "interop"},
    {"geodesics", "plotting"},
    {"models", "stats", "io", "datasets"},
    {"", "sklearn", "demo"},
    {"cli"},
    {"__main__"},
]
ROOT = {"__init__.py", "__main__.py", "datasets.py", "io.py"}
RANK = {name: rank for rank, floor in enumerate(FLOORS) for name in floor}
HEAVY = ("sklearn", "torch", "matplotlib", "pandas", "pyarrow")
OPTIONAL = {"torch", "pyarrow"}


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def module_of(path: Path) -> str:
    """The name of a file's module without `landform`: `metrics.base`, `cli`, or the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int:
    """The floor of a file, by the folder or the root file that it belongs to."""
    unit = module.split(".")[0]
    assert unit in RANK, f"{unit} has no floor: give it one in FLOORS"
    return RANK[unit]


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """The files of the package that a file imports, inside functions too, by their modules."""
    found = set()
    package = ("landform", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "landform":
                stems = (".".join(parts[1:end]) for end in range(len(parts), 0, -1))
                found.add(next(stem for stem in stems if stem in known))
    return found


def imports() -> dict[str, set[str]]:
    """What every file of the package imports."""
    known = {module_of(path) for path in FILES}
    return {module_of(path): imported_modules(path, known) - {module_of(path)} for path in FILES}


def modules():
    """Every module of the package that can be imported with what is installed here."""
    for info in pkgutil.walk_packages(lf.__path__, "landform.", onerror=lambda name: None):
        if info.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in OPTIONAL:
                raise


def public(module) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }


PUBLIC = public(lf)
if (PACKAGE / "sklearn" / "__init__.py").exists():
    PUBLIC |= {
        f"sklearn.{k}": v for k, v in public(importlib.import_module("landform.sklearn")).items()
    }


def test_the_root_holds_four_files():
    assert {path.name for path in PACKAGE.glob("*.py")} == ROOT


@pytest.mark.parametrize(("module", "others"), imports().items())
def test_a_file_imports_only_from_lower_floors_or_its_own_folder(module, others):
    for other in others:
        same = module.split(".")[0] == other.split(".")[0]
        assert same or floor_of(other) < floor_of(module), (
            f"{module or 'landform'} must not import {other or 'landform'}: it is no floor below"
        )


def test_no_file_imports_itself_by_way_of_others():
    left = imports()
    while ends := [module for module, others in left.items() if not others & left.keys()]:
        for module in ends:
            del left[module]
    assert not left, f"these files import one another in a circle, or one that does: {sorted(left)}"


def test_the_check_of_floors_sees_every_form_of_import(tmp_path, monkeypatch):
    lines = [
        "import landform.metrics.base",
        "from landform.stats.land.density import LAND",
        "from landform import io",
        "def f():",
        "    from ..solvers import graph",
        "    from . import pullback",
        "    import landform as lf",
    ]
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "metrics").mkdir()
    path = tmp_path / "metrics" / "new.py"
    path.write_text("\n".join(lines))
    known = {"metrics.base", "metrics.pullback", "stats.land.density", "io", "solvers.graph", ""}
    assert imported_modules(path, known) == known


def test_importing_landform_loads_no_heavy_package(tmp_path):
    code = f"import sys, landform; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert result.stdout.strip() == ""


def test_importing_landform_leaves_the_configuration_of_jax_alone(tmp_path):
    code = (
        "import jax; before = dict(jax.config.values); import landform; "
        "after = dict(jax.config.values); print(*[k for k in before if before[k] != after[k]])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert result.stdout.strip() == ""


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_the_library_never_sets_a_global_flag_of_jax(path):
    assert not re.search(r"jax\.config\.update|config\.jax_\w+ *=", path.read_text())


def is_abstract(cls) -> bool:
    """Whether something is left to subclasses, or the class is a bare name for a kind of thing."""
    own = [name for name in vars(cls) if not name.startswith("_")]
    bare = cls.__name__.startswith("Abstract") and not own and not vars(cls).get("__annotations__")
    return inspect.isabstract(cls) or bool(getattr(cls, "__abstractvars__", ())) or bare


def test_a_module_class_is_abstract_or_final():
    seen = set()
    for module in modules():
        for cls in vars(module).values():
            if not (inspect.isclass(cls) and issubclass(cls, eqx.Module)):
                continue
            if not cls.__module__.startswith("landform"):
                continue
            seen.add(cls)
            for base in cls.__mro__[1:]:
                if base.__module__.startswith("landform"):
                    assert is_abstract(base), (
                        f"{cls.__name__} derives from {base.__name__}, which is concrete"
                    )
    assert lf.LocalVariance in seen


def test_a_class_named_abstract_cannot_be_made():
    for module in modules():
        for name, cls in vars(module).items():
            if (
                name.startswith("Abstract")
                and inspect.isclass(cls)
                and cls.__module__.startswith("landform")
            ):
                assert is_abstract(cls), f"{name} has no abstract member"


def has_section(text: str, name: str) -> bool:
    return re.search(rf"^{name}\n-{{{len(name)}}}$", text, re.MULTILINE) is not None


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_documented_with_a_running_example(name):
    value = PUBLIC[name]
    text = inspect.getdoc(value) or ""
    assert text, f"{name} has no docstring"
    assert text.splitlines()[0].rstrip().endswith((".", "?", ")")), "the first line is a sentence"
    if inspect.isclass(value) and issubclass(value, BaseException):
        return
    assert has_section(text, "Examples"), f"{name} has no Examples"
    assert ">>>" in text, f"{name} has no example that runs"
    signature = inspect.signature(value)
    takes = [p for p in signature.parameters if p not in ("args", "kwargs")]
    if inspect.isroutine(value) or not inspect.isclass(value):
        assert has_section(text, "Parameters") or not takes, f"{name} has no Parameters"
        returns = signature.return_annotation is not None
        assert has_section(text, "Returns") or not returns, f"{name} has no Returns"
        for parameter in takes:
            assert re.search(rf"\b{parameter}\b", text), f"{name} does not mention {parameter}"


@pytest.mark.parametrize("name", sorted(n for n, v in PUBLIC.items() if inspect.isclass(v)))
def test_the_public_methods_of_a_class_are_documented(name):
    for member, value in vars(PUBLIC[name]).items():
        if not member.startswith("_") and (
            inspect.isfunction(value) or isinstance(value, property)
        ):
            assert inspect.getdoc(value), f"{name}.{member} has no docstring"


def test_public_names_are_re_exported_under_their_own_name():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                private = (alias.asname or "").startswith("_")
                assert private or alias.asname == alias.name, (
                    f"write `{alias.name} as {alias.name}`"
                )
        elif isinstance(node, ast.FunctionDef):
            late = {"__getattr__", "__dir__", "_draw"}
            assert node.name in late, "the namespace re-exports, and loads plotting late"
        else:
            assert isinstance(node, ast.Assign | ast.Expr), "the namespace only re-exports"


@pytest.mark.parametrize("path", FILES + sorted(Path(__file__).parent.rglob("*.py")), ids=str)
def test_a_file_is_short_enough_to_be_read(path):
    assert len(path.read_text().splitlines()) <= 420, f"{path.name} should be split"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_is_suppressed_in_silence(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            names = (
                {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
                if node.type
                else {""}
            )
            silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert not (names & {"", "Exception", "BaseException", "ImportError"} and silent), (
                f"line {node.lineno} hides errors"
            )


_LAPACK = re.compile(r"(jnp|jsp|jax\.numpy|jax\.scipy|lax|jax\.lax)\.(linalg\.(?!norm)|fft)\w*")
_MAY_CALL_LAPACK = {
    "interop/_aten",  # what a user's module calls; such programs never run side by side
    "models/gaussian_process.py",  # one matrix of the size of the data, outside of any batch
}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_small_systems_are_not_given_to_lapack(path):
    """Batched LAPACK waits inside XLA's pool of workers, for ever where no worker is left."""
    if any(relative(path).startswith(name) for name in _MAY_CALL_LAPACK):
        return
    calls = [m for m in _LAPACK.finditer(path.read_text()) if "block_diag" not in m.group()]
    assert not calls, f"use solve_spd, cholesky or logdet_spd in place of {calls[0].group()}"


def test_new_data_of_one_shape_does_not_trace_the_metric_again():
    traces = []

    class Counting(lf.AbstractMetric):
        scale: jax.Array

        def __call__(self, x):
            traces.append(x)
            return self.scale * jax.numpy.eye(2)

    x = np.zeros((3, 2))
    lf.metric_tensor(Counting(jax.numpy.asarray(1.0)), x)
    first = len(traces)
    lf.metric_tensor(Counting(jax.numpy.asarray(2.0)), x + 1)
    assert 0 < first == len(traces)


def test_reductions_of_large_batches_are_right():
    """jaxlib 0.10.2 cut matrix-vector products under a reduction (jax issue 39103)."""
    import jax
    import jax.numpy as jnp

    rows = jnp.stack([jnp.arange(16_385.0), jnp.zeros(16_385), jnp.zeros(16_385)], axis=1)
    matrix = jnp.eye(3)
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(rows)
    assert float(squares[-1]) == 16_384.0**2


@pytest.mark.parametrize(
    "call",
    [
        lambda n: lf.Euclidean(n),
        lambda n: lf.geodesic(lf.Euclidean(1), [0.0], [1.0], num_points=n),
        lambda n: lf.kmedoids(np.zeros((3, 3)), n),
        lambda n: lf.fit_land(lf.Euclidean(1), [[0.0], [1.0], [3.0]], max_iter=n),
        lambda n: lf.brownian_motion(
            lf.Euclidean(1), [0.0], key=jax.random.key(0), time=1.0, num_steps=n
        ),
        lambda n: lf.families.Multinomial(n),
        lambda n: lf.datasets.two_moons(n),
    ],
)
@pytest.mark.parametrize(("value", "error"), [(2.5, TypeError), (True, TypeError), (0, ValueError)])
def test_counts_are_checked_alike_everywhere(call, value, error):
    with pytest.raises(error, match=r"\w+ must be an integer of at least \d, got"):
        call(value)


TESTS = Path(__file__).parent


def private_imports(path: Path) -> list[tuple[tuple[str, ...], str]]:
    """What a test file imports with an underscore in its name: the module, and the private part."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("landform."):
            module = tuple(node.module.split(".")[1:])
            parts = [*module[1:], *(alias.name for alias in node.names)]
            found += [(module, part) for part in parts if part.startswith("_")]
    return found


def test_tests_reach_into_few_modules_and_only_of_the_folder_that_they_mirror():
    definitions = 0
    for path in TESTS.rglob("*.py"):
        folder = path.relative_to(TESTS).parent.parts
        for module, part in private_imports(path):
            definitions += part not in module
            # The fit of a LAND is the only place where chunks of logarithms can be counted.
            allowed = path.name == "test_fit.py" and part == "_logarithms"
            assert allowed or module[: len(folder)] == folder, f"{path.name} imports {part}"
    assert definitions < 10, "reach behaviour by public names: an underscore may change any day"
