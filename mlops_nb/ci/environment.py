"""What the process that executes a notebook sees of the environment: names on a list, and what somebody asked for.

A job of a CI holds tokens of the forge and of clouds. A notebook needs none of them, and it may be a stranger's. So nothing
is passed on but what is known to be harmless and what is named. Left in on purpose: how to reach the tracking store, with its
token, because that is where the notebook's runs go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from mlops_nb.core.harmless import SETUP
from mlops_nb.errors import InvalidInput

_PASSED = (
    *SETUP,
    *(
        # where programs and files are
        "HOME USER LOGNAME PWD TEMP TMP XDG_* VIRTUAL_ENV LD_PRELOAD DYLD_* "
        # languages and terminals
        "LC_* TERM COLUMNS LINES NO_COLOR PYTHON* PYDEVD_* "
        "CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_EXE CONDA_PYTHON_EXE CONDA_SHLVL CONDA_ROOT MAMBA_ROOT_PREFIX "
        # Jupyter, without its token
        "JUPYTER_PATH JUPYTER_DATA_DIR JUPYTER_CONFIG_DIR JUPYTER_CONFIG_PATH JUPYTER_RUNTIME_DIR JUPYTER_PLATFORM_DIRS "
        "JUPYTER_PREFER_ENV_PATH JUPYTER_ALLOW_INSECURE_WRITES IPYTHONDIR MPLBACKEND MPLCONFIGDIR "
        # threads, processors and caches
        "OMP_* MKL_* OPENBLAS_* NUMEXPR_* VECLIB_* BLIS_* GOTO_* TBB_* JOBLIB_* LOKY_* CUDA_* CUBLAS_* NVIDIA_VISIBLE_DEVICES HIP_* "
        "ROCR_VISIBLE_DEVICES TF_* XLA_* KERAS_BACKEND KERAS_HOME TORCH_HOME PYTORCH_* HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE "
        "HF_DATASETS_CACHE HF_DATASETS_OFFLINE TRANSFORMERS_CACHE TRANSFORMERS_OFFLINE TOKENIZERS_PARALLELISM NUMBA_* "
        "SCIKIT_LEARN_DATA JAVA_HOME SPARK_HOME "
        # that this is a CI
        "CI SOURCE_DATE_EPOCH "
        # the tracking store
        "MLOPS_NB_TRACKING_URI MLOPS_NB_TRACKING_TOKEN MLOPS_NB_ARTIFACT_ROOT MLOPS_NB_EXPERIMENT MLOPS_NB_CAPTURE "
        "MLOPS_NB_SYSTEM_METRICS MLOPS_NB_SYSTEM_METRICS_INTERVAL MLFLOW_TRACKING_URI MLFLOW_TRACKING_TOKEN MLFLOW_EXPERIMENT_NAME "
        "MLFLOW_EXPERIMENT_ID MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
    ).split(),
)
# Of the families above, what is a secret by its name stays behind all the same.
_SECRET = re.compile(r"(^|_)(PASS(WORD|WD)?|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?|AUTH|COOKIE|DSN)S?($|_)")
_NOT_SECRET = frozenset({"MLOPS_NB_TRACKING_TOKEN", "MLFLOW_TRACKING_TOKEN"})
_USER_INFO = re.compile(r"://[^/@\s]*@")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")


def kernel_environment(environment: Mapping[str, str], extra: Sequence[str] = ()) -> dict[str, str]:
    """Return the variables that a notebook's process gets.

    A variable of the list is left out where its value is an address with a password in it, such as that of a proxy.

    Args:
        environment: That of this process.
        extra: Names to pass as well, or beginnings of names such as `AWS_*`.

    Raises:
        InvalidInput: If one of these is no name.
    """
    for name in extra:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"'{name[:60]}' is no name of an environment variable.", hint="Give a name, or its beginning and a star: AWS_*"
            )

    def is_passed(name: str, value: str) -> bool:
        if any(fnmatchcase(name, wanted) for wanted in extra):
            return True
        return any(fnmatchcase(name, known) for known in _PASSED) and not _is_secret(name, value)

    return {name: value for name, value in environment.items() if is_passed(name, value)}


def _is_secret(name: str, value: str) -> bool:
    if name in _NOT_SECRET or name.endswith("TRACKING_URI"):
        return False
    return _SECRET.search(name.upper()) is not None or _USER_INFO.search(value) is not None


def asked_for(environment: Mapping[str, str], extra: Sequence[str]) -> list[str]:
    """Return the names of the variables that are passed because somebody asked for them."""
    return sorted(name for name in environment if any(fnmatchcase(name, wanted) for wanted in extra))
