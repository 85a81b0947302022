"""The four processes of a control plane, each a part with the flags that were measured to work on loopback.

No scheduler: an admission policy pins pods to the one fake node (see `control_plane`). No kubelet: kwok plays it.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import httpx

from testbed.kubernetes.api import Api, ApiRefused
from testbed.part import Part, answers
from testbed.parts import binary
from testbed.processes import LOOPBACK, free_ports

STAGES = Path(__file__).with_name("stages.yaml")
# All that moves workloads and services; nothing of clouds, volumes, certificates and nodes.
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "endpointslice-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "disruption-controller",
)


class Etcd(Part):
    """The store.

    Attributes:
        url: Where the API server finds it.
    """

    ready_within_s: ClassVar[float] = 60.0

    def __init__(self, directory: Path) -> None:
        super().__init__("etcd", directory)
        client, peer = free_ports(2)
        self.url = f"http://{LOOPBACK}:{client}"
        self._peer = f"http://{LOOPBACK}:{peer}"

    def command(self) -> list[str | Path]:
        """Etcd's command line. Nothing is synced to the disk: the data need not outlive the machine."""
        return [
            binary("etcd"),
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self._peer}",
            f"--initial-advertise-peer-urls={self._peer}",
            f"--initial-cluster=default={self._peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def ready(self) -> bool:
        """Whether it has a leader, itself."""
        return answers(f"{self.url}/health")


class ApiServer(Part):
    """The API server.

    Attributes:
        url: Its address, without a slash at the end.
        ca_file: The certificate to trust; it exists once the server has started.
    """

    ready_within_s: ClassVar[float] = 90.0
    # It drains connections for up to a minute, and without its store it never ends.
    stops_within_s: ClassVar[float] = 3.0

    def __init__(self, directory: Path, *, etcd: Etcd, tokens: Path, admin_token: str) -> None:
        """Choose a port; nothing is started.

        Args:
            directory: Where certificates, keys and the log are.
            etcd: The store.
            tokens: File of static tokens.
            admin_token: One of them, for asking whether it is ready.
        """
        super().__init__("kube-apiserver", directory)
        self._port = free_ports(1)[0]
        self._etcd = etcd
        self._tokens = tokens
        self._admin_token = admin_token
        self.url = f"https://{LOOPBACK}:{self._port}"
        self.ca_file = self.directory / "certs" / "apiserver.crt"

    def command(self) -> list[str | Path]:
        """The API server's command line."""
        return [
            binary("kube-apiserver"),
            f"--etcd-servers={self._etcd.url}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self._port}",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self.ca_file.parent}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._tokens}",
            "--anonymous-auth=false",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.directory / 'sa.pub'}",
            f"--service-account-signing-key-file={self.directory / 'sa.key'}",
            # It would hold back pods until their namespace has a service account, and mount tokens into them.
            "--disable-admission-plugins=ServiceAccount",
            "--enable-priority-and-fairness=false",
            "--profiling=false",
        ]

    def ready(self) -> bool:
        """Whether all its checks pass."""
        if not self.ca_file.exists():
            return False
        # SSLError: the certificate is only half written.
        with suppress(httpx.TransportError, ApiRefused, ssl.SSLError), self.client(self._admin_token) as api:
            api.request("GET", "/readyz")
            return True
        return False

    def client(self, token: str) -> Api:
        """A client of it; the caller closes it."""
        return Api(self.url, self.ca_file, token)


class ControllerManager(Part):
    """The controllers."""

    ready_within_s: ClassVar[float] = 60.0
    stops_within_s: ClassVar[float] = 2.0

    def __init__(self, directory: Path, *, kubeconfig: Path, ca_file: Path) -> None:
        super().__init__("kube-controller-manager", directory)
        self._port = free_ports(1)[0]
        self._kubeconfig = kubeconfig
        self._ca_file = ca_file
        self._certificates = self.directory / "certs-controllers"

    def command(self) -> list[str | Path]:
        """The controllers' command line."""
        return [
            binary("kube-controller-manager"),
            f"--kubeconfig={self._kubeconfig}",
            f"--service-account-private-key-file={self.directory / 'sa.key'}",
            f"--root-ca-file={self._ca_file}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self._port}",
            f"--cert-dir={self._certificates}",
            "--leader-elect=false",
            "--profiling=false",
            # By default it asks twenty times a second, and pods of many tests at once wait for their turn.
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
            f"--controllers={','.join(CONTROLLERS)}",
        ]

    def ready(self) -> bool:
        """Whether it answers; its controllers start right after."""
        certificate = self._certificates / "kube-controller-manager.crt"
        if not certificate.exists():
            return False
        # Being asked with a token that is none, it would ask the API server about it: ask with none.
        with suppress(httpx.TransportError, ssl.SSLError):
            context = ssl.create_default_context(cafile=str(certificate))
            url = f"https://{LOOPBACK}:{self._port}/healthz"
            return httpx.get(url, verify=context, trust_env=False, timeout=1).is_success
        return False


class Kwok(Part):
    """What plays the kubelet of every node; `stages.yaml` says how."""

    ready_within_s: ClassVar[float] = 60.0
    stops_within_s: ClassVar[float] = 2.0

    def __init__(self, directory: Path, *, kubeconfig: Path) -> None:
        super().__init__("kwok", directory)
        self._port = free_ports(1)[0]
        self._kubeconfig = kubeconfig

    def command(self) -> list[str | Path]:
        """Kwok's command line."""
        return [
            binary("kwok"),
            f"--kubeconfig={self._kubeconfig}",
            f"--config={STAGES}",
            "--manage-all-nodes=true",
            "--cidr=10.244.0.0/16",
            "--node-ip=10.0.0.10",
            f"--server-address={LOOPBACK}:{self._port}",
            "--node-lease-duration-seconds=0",
        ]

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"http://{LOOPBACK}:{self._port}/healthz")
