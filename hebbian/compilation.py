"""Compiled functions kept on disk, safe where several processes compile at once."""

from collections.abc import Callable
from typing import Any

from numba import config, njit
from numba.core.caching import IndexDataCacheFile


def cached_njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like `numba.njit(cache=True)` whose cache checks what it loads.

    Numba numbers the files of compiled code by the signatures it finds in an index. Two processes that compile for two
    signatures at the same time may use one number, and a third would be handed the code of the wrong one.

    Parameters
    ----------
    **options
        Further options of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = njit(cache=True, **options)(function)
        if config.DISABLE_JIT:
            return compiled
        cache = compiled._cache
        cache._cache_file = _CheckedFile(cache._cache_path, cache._impl.filename_base, cache._cache_file._source_stamp)
        return compiled

    return decorate


class _CheckedFile(IndexDataCacheFile):
    """Files of one function, each with the source and the signature that it was compiled from."""

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))

    def load(self, key: Any) -> Any:
        found = super().load(key)
        if found is None or found[:2] != (self._source_stamp, key):
            return None
        return found[2]
