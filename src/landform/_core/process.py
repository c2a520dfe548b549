"""What the library needs of its process: JAX's settings while it computes, and no fork behind it.

Nothing here changes ``jax.config``: settings hold within a call, and in its thread.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import jax

# The library's own arithmetic mixes precisions and ranks, reads its arrays on the host, and turns
# NaN and infinity into statuses. A user who forbids these in code of their own gets the same
# results.
_NEEDED = {
    "jax_numpy_dtype_promotion": ("standard", jax.numpy_dtype_promotion),
    "jax_numpy_rank_promotion": ("allow", jax.numpy_rank_promotion),
    "jax_debug_nans": (False, jax.debug_nans),
    "jax_debug_infs": (False, jax.debug_infs),
}
_GUARDS = ("host_to_device", "device_to_host", "device_to_device")

_FORKED = (
    "landform cannot compute here: this process was forked from one in which JAX had already "
    "started its threads, which a fork does not copy, and it would wait for them for ever. Start "
    'processes by multiprocessing.get_context("spawn") or "forkserver" (for joblib, its default '
    "loky), or fork before anything computes"
)

_started = _forked = False


def _look_at_parent() -> None:
    """Note whether JAX has started its threads, which no public function of JAX says."""
    global _started
    bridge = sys.modules.get("jax._src.xla_bridge")
    _started = getattr(bridge, "backends_are_initialized", lambda: True)()


def _mark_child() -> None:
    global _forked
    _forked = _forked or _started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_look_at_parent, after_in_child=_mark_child)


def check_not_forked() -> None:
    """Raise `RuntimeError` in a process where JAX would wait for ever."""
    if _forked:
        raise RuntimeError(_FORKED)


def is_wide() -> bool:
    """Whether JAX computes with 64 bits here, by its flag or by a scope."""
    return bool(jax.config.read("jax_enable_x64"))


@contextlib.contextmanager
def needed_settings(wide: bool | None = None) -> Iterator[None]:
    """The settings of JAX that the library needs, within a `with`; 64 bits as `wide` says.

    Settings that are so already are left alone: entering one is not free, and takes part in the
    keys of compiled programs.
    """
    config = jax.config
    with contextlib.ExitStack() as scopes:
        if wide is not None:
            scopes.enter_context(jax.enable_x64(wide))
        for name, (value, scope) in _NEEDED.items():
            if getattr(config, name) != value:
                scopes.enter_context(scope(value))
        guards = [getattr(config, f"jax_transfer_guard_{way}") for way in _GUARDS]
        if any(guard not in (None, "allow") for guard in guards):
            scopes.enter_context(jax.transfer_guard("allow"))
        yield
