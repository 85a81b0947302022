"""A real Kubernetes API with real controllers on loopback, whose pods are played by kwok.

Why real: what a rollout trips over (a status that lags behind its generation, conflicts of field managers, deadlines
that are not counted while paused, a StatefulSet stuck on a bad pod) are answers of the API server and the controllers,
and a double would have only those that its author knew.

Nothing runs in the pods: the requests of visitors go to shops outside, through `testbed.kubernetes.plane`.
"""

from __future__ import annotations

import itertools
import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from testbed.kubernetes.api import Api, ApiRefused, path_of
from testbed.kubernetes.credentials import make_signing_keys, write_kubeconfig, write_private
from testbed.kubernetes.processes import ApiServer, ControllerManager, Etcd, Kwok
from testbed.parts import REPOSITORY, PartMissing
from testbed.processes import TAIL_LINES, PartFailed, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from testbed.part import Part

NODE: Final = "kwok-0"
CRDS: Final = REPOSITORY / ".tools" / "crds"
READY_WITHIN_S: Final = 30.0
# What `install` knows: name → how the names of the files begin.
_CRDS: Final = {"gateway-api": "gateway.networking.k8s.io_", "istio": "networking.istio.io_"}
_PIN: Final = "pin-pods-to-the-fake-node"
# It does the scheduler's work, so that manifests stay as users write them and a fifth process is saved.
_POLICY: Final[dict[str, Any]] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": _PIN},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ]
        },
        "matchConditions": [{"name": "not-yet-on-a-node", "expression": "!has(object.spec.nodeName)"}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": f'Object{{spec: Object.spec{{nodeName: "{NODE}"}}}}'},
            }
        ],
    },
}
_BINDING: Final[dict[str, Any]] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicyBinding",
    "metadata": {"name": _PIN},
    "spec": {"policyName": _PIN},
}
_NODE: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "type": "kwok"}},
}
_PROBE: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "never-made"},
    "spec": {"containers": [{"name": "app", "image": "none"}]},
}


class ControlPlane:
    """Etcd, kube-apiserver, kube-controller-manager and kwok; a context manager.

    Attributes:
        url: Of the API server.
        kubeconfig: Of the administrator; its file is readable by its owner only.
        admin_token: Of the administrator.
        ca_file: The certificate to trust; it exists once started.
        etcd: The store.
        server: The API server.
        controllers: The controllers.
        kwok: The player of pods.
        parts: All four, in the order of starting.
    """

    def __init__(self, directory: Path) -> None:
        """Choose ports and secrets; nothing is started.

        Args:
            directory: Where data, keys and logs are. Not in a place that cleaners of temporary files visit: etcd
                loses its log and ends, the API server does not and answers time-outs.
        """
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.admin_token = secrets.token_hex(16)
        self.kubeconfig = self.directory / "admin.kubeconfig"
        tokens = self.directory / "tokens.csv"
        write_private(tokens, f'{self.admin_token},admin,admin,"system:masters"\n')
        make_signing_keys(self.directory / "sa.key", self.directory / "sa.pub")
        self.etcd = Etcd(self.directory)
        self.server = ApiServer(self.directory, etcd=self.etcd, tokens=tokens, admin_token=self.admin_token)
        self.url, self.ca_file = self.server.url, self.server.ca_file
        write_kubeconfig(self.kubeconfig, url=self.url, ca_file=self.ca_file, token=self.admin_token)
        self.controllers = ControllerManager(self.directory, kubeconfig=self.kubeconfig, ca_file=self.ca_file)
        self.kwok = Kwok(self.directory, kubeconfig=self.kubeconfig)
        self.parts: tuple[Part, ...] = (self.etcd, self.server, self.controllers, self.kwok)
        self._api: Api | None = None
        self._numbers = itertools.count(1)

    @property
    def api(self) -> Api:
        """The administrator's client.

        Raises:
            RuntimeError: Before the start.
        """
        if self._api is None:
            raise RuntimeError("the control plane is not running; call start() or use it in a `with` block.")
        return self._api

    def start(self) -> Self:
        """Start everything and wait until pods would run; on failure nothing is left running.

        Returns:
            Itself.

        Raises:
            PartFailed: One of the parts did not come up.
        """
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.etcd.start()
            self.server.start()
            self._api = self.server.client(self.admin_token)
            self.controllers.launch()
            self.kwok.launch()
            for manifest in (_POLICY, _BINDING, _NODE):
                self._make(manifest)
            self.controllers.await_ready()
            self.kwok.await_ready()
            self.wait(self._pins, "pods are pinned to the fake node")
            self.wait(self._has_node, "the fake node is ready")
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop everything.

        First those that watch, for whom the API server would wait; the store last, without which it never ends.
        """
        if self._api is not None:
            self._api.close()
            self._api = None
        for part in (self.controllers, self.kwok, self.server, self.etcd):
            part.stop()

    def check(self) -> None:
        """Notice a dead child at once: an API server without its store answers time-outs for minutes.

        Raises:
            PartFailed: One of the processes has ended; with the end of its log.
        """
        for part in self.parts:
            if not part.running:
                lines = part.child.output().splitlines()[-TAIL_LINES:]
                code = part.child.exit_code
                raise PartFailed(
                    f"{part.name} ended with exit code {code}. The end of {part.log}:\n" + "\n".join(lines)
                )

    def wait(self, condition: Callable[[], bool], what: str, *, within_s: float = READY_WITHIN_S) -> None:
        """Poll a condition until it holds, watching the processes.

        Args:
            condition: Asked every 20 ms.
            what: What is awaited, as it should be read in the error.
            within_s: Seconds to wait at most.

        Raises:
            PartFailed: When the time is over or a process has ended.
        """

        def checked() -> bool:
            self.check()
            return condition()

        wait_until(checked, within_s=within_s, what=what)

    def kill_api(self) -> None:
        """End the API server as a crash would; the store and the controllers stay."""
        self.server.kill()

    def start_api(self) -> None:
        """Start the API server again, on the same port and data."""
        self.server.start()

    def namespace(self, name: str | None = None) -> str:
        """Make a namespace.

        Args:
            name: Of the namespace; a fresh one by default.

        Returns:
            Its name.

        Raises:
            ApiRefused: It is there already.
        """
        name = name or f"bed-{next(self._numbers)}-{secrets.token_hex(3)}"
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def token(self, namespace: str, service_account: str, *, seconds: int = 3600) -> str:
        """Ask for a token of a service account, which is made when missing.

        Args:
            namespace: Of the account.
            service_account: Its name.
            seconds: How long the token is good for; 600 at least. To end it earlier, delete the account.

        Returns:
            The token.
        """
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": service_account}}
        self._make(account, namespace)
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return str(self.api.request("POST", path, body)["status"]["token"])

    def kubeconfig_for(self, token: str, *, namespace: str = "default") -> Path:
        """Write a kubeconfig for a token.

        Args:
            token: From `token`, or any other.
            namespace: Of its context.

        Returns:
            The path of a new file, readable by its owner only.
        """
        path = self.directory / f"{next(self._numbers)}.kubeconfig"
        return write_kubeconfig(path, url=self.url, ca_file=self.ca_file, token=token, namespace=namespace)

    def client(self, token: str) -> Api:
        """A client with another identity; the caller closes it."""
        return self.server.client(token)

    def install(self, what: str) -> None:
        """Install definitions of custom resources, unless they are there, and wait until they are served.

        Args:
            what: `gateway-api` or `istio`.

        Raises:
            KeyError: For anything else.
            PartMissing: They are not in `.tools/crds`.
        """
        files = sorted(CRDS.glob(f"{_CRDS[what]}*.yaml"))
        if not files:
            raise PartMissing(f"no definitions of {what} in {CRDS}; run `make setup`, it fetches them.")
        kinds = [kind for file in files if (kind := self._define(file.read_text(encoding="utf-8")))]
        self.wait(lambda: all(map(self._served, kinds)), f"the resources of {what} are served")

    def _define(self, definition: str) -> str | None:
        """Create a definition, in the YAML that it is published in: reading half a megabyte of it takes Python seconds.

        Returns:
            The kind that it defines, or nothing when it was there.
        """
        path = path_of("CustomResourceDefinition")
        try:
            made = self.api.request("POST", path, definition, content="application/yaml")
        except ApiRefused as refused:
            if refused.reason != "AlreadyExists":
                raise
            return None
        return str(made["spec"]["names"]["kind"])

    def _served(self, kind: str) -> bool:
        """Whether objects of the kind can be asked for: what follows from Established, and is not half a megabyte."""
        try:
            self.api.request("GET", path_of(kind), limit="1")
        except ApiRefused as refused:
            if refused.code != httpx.codes.NOT_FOUND:
                raise
            return False
        return True

    def _make(self, manifest: dict[str, Any], namespace: str | None = None) -> None:
        """Create an object unless it is there."""
        try:
            self.api.create(manifest, namespace)
        except ApiRefused as refused:
            if refused.reason != "AlreadyExists":
                raise

    def _pins(self) -> bool:
        try:
            made = self.api.create(_PROBE, "default", dry_run=True)
        except (ApiRefused, httpx.TransportError):
            return False  # the namespace `default` is made by the server a moment after it is ready
        return bool(made["spec"].get("nodeName"))

    def _has_node(self) -> bool:
        return is_true(self.api.get("Node", NODE), "Ready")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def is_true(found: dict[str, Any], condition: str) -> bool:
    """Whether a condition of an object's status is True."""
    conditions = found.get("status", {}).get("conditions") or []
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
