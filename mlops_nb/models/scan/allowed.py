"""Which names a pickle or a skops file of a stranger may look up: everything else is refused.

A name is allowed if it stands in a list here, or is a class of an estimator that the package itself defines: making one
stores what it is given and runs nothing. Functions are allowed by name only, for a pickle can call what it looks up.
"""

from __future__ import annotations

import functools
import importlib
import sys

_NAMES: dict[str, frozenset[str]] = {
    module: frozenset(names.split())
    for module, names in {
        "builtins": "object set frozenset bytearray complex slice range int float str bytes bool list dict tuple NoneType",
        "collections": "OrderedDict defaultdict deque",
        "copyreg": "_reconstructor __newobj__",
        "_codecs": "encode",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "uuid": "UUID",
        "numpy": "ndarray dtype matrix",
        "numpy.core.multiarray": "_reconstruct scalar",
        "numpy._core.multiarray": "_reconstruct scalar",
        "numpy.core.numeric": "_frombuffer",
        "numpy._core.numeric": "_frombuffer",
        "numpy.random._pickle": "__randomstate_ctor __bit_generator_ctor __generator_ctor",
        "numpy.random._mt19937": "MT19937",
        "numpy.random._pcg64": "PCG64",
        "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
        "numpy.random.mtrand": "RandomState",
        "pandas": "DataFrame Series Index MultiIndex RangeIndex CategoricalDtype StringDtype Timestamp",
        "pandas.core.frame": "DataFrame",
        "pandas.core.series": "Series",
        "pandas.core.internals.managers": "BlockManager SingleBlockManager",
        "pandas._libs.internals": "_unpickle_block",
        "pandas.core.indexes.base": "Index _new_Index",
        "pandas.core.indexes.range": "RangeIndex",
        "pandas.core.dtypes.dtypes": "CategoricalDtype",
        "scipy.sparse._csr": "csr_matrix csr_array",
        "scipy.sparse._csc": "csc_matrix csc_array",
        "scipy.sparse._coo": "coo_matrix coo_array",
        # These make an object of a class that they are given, which has to be an allowed one.
        "sklearn.neighbors._kd_tree": "newObj",
        "sklearn.neighbors._ball_tree": "newObj",
        "sklearn.metrics._dist_metrics": "newObj newObj32",
        "lightgbm.basic": "Booster",
        "xgboost.core": "Booster",
        "torch": "FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage ByteStorage "
        "BoolStorage Size device float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 bool",
        "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_parameter",
        "torch.storage": "UntypedStorage",
    }.items()
}
_PACKAGES = frozenset({"sklearn", "lightgbm", "xgboost", "catboost", "imblearn"})
# Classes that are parts of fitted estimators, by the modules that define them.
_PARTS = (
    "sklearn.tree._tree",
    "sklearn._loss",
    "sklearn.ensemble._hist_gradient_boosting",
    "sklearn.gaussian_process.kernels",
    "sklearn.metrics._dist_metrics",
    "sklearn.neighbors._kd_tree",
    "sklearn.neighbors._ball_tree",
    "sklearn.calibration",
    "sklearn.linear_model._sgd_fast",
    "sklearn.utils._bunch",
)
# As Python 2 called them.
_OLD = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@functools.lru_cache(maxsize=4096)
def is_allowed(module: str, name: str) -> bool:
    """Return whether a stranger's file may look up a name."""
    module = _OLD.get(module, module)
    if name in _NAMES.get(module, ()):
        return True
    package = module.partition(".")[0]
    if module == "numpy" or module == "numpy.dtypes":
        return _is_number_type(name, module)
    if package not in _PACKAGES or "." in name or "test" in module:
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    if not isinstance(found, type) or found.__module__.partition(".")[0] != package:
        return False
    base = sys.modules.get("sklearn.base")
    is_estimator = base is not None and issubclass(found, base.BaseEstimator)
    return is_estimator or found.__module__.startswith(_PARTS)


def _is_number_type(name: str, module: str) -> bool:
    import numpy

    found = getattr(numpy if module == "numpy" else numpy.dtypes, name, None)
    return isinstance(found, type) and issubclass(found, (numpy.generic, numpy.dtype))
