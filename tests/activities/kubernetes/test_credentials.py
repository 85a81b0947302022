"""How a worker gets into clusters: kubeconfigs, contexts, service accounts, and what is renewed while it runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from kubernetes.config import incluster_config
from pydantic import ValidationError

from activities.kubernetes import DEPLOYMENT, Cluster, KubernetesConnection
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable
from testbed.kubernetes import ControlPlane
from testbed.processes import wait_until_async
from tests.activities.kubernetes.bed import kubeconfig_of, opened, proxy

pytestmark = pytest.mark.server


def rights(plane: ControlPlane, namespace: str, account: str) -> None:
    """Let a service account look at Deployments."""
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": account}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
    }
    plane.api.create(role, namespace)
    plane.api.create(binding, namespace)


async def allowed(cluster: Cluster, namespace: str) -> None:
    """Wait until it may look at Deployments: rules count a moment after they are made."""

    async def is_allowed() -> bool:
        try:
            return await cluster.get(DEPLOYMENT, namespace, "shop") is None
        except NotPermitted:
            return False

    await wait_until_async(is_allowed, within_s=30, what="the role counts")


@pytest.fixture
def worker(control_plane: ControlPlane, namespace: str) -> str:
    """A token of an account that may look at Deployments."""
    token = control_plane.token(namespace, "worker")
    rights(control_plane, namespace, "worker")
    return token


async def test_a_token_that_was_revoked_is_told_to_be_renewed(
    control_plane: ControlPlane, namespace: str, worker: str
) -> None:
    async with opened(control_plane.kubeconfig_for(worker)) as cluster:
        await allowed(cluster, namespace)
        control_plane.api.delete("ServiceAccount", "worker", namespace)

        async def revoked() -> bool:
            try:
                await cluster.get(DEPLOYMENT, namespace, "shop")
            except NotPermitted as error:
                return "does not accept the worker's credentials" in str(error) and "renew them" in str(error)
            return False

        await wait_until_async(revoked, within_s=60, what="the token counts no more")


async def test_a_kubeconfig_is_read_anew_when_its_token_is_refused(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    kubeconfig_of(file, control_plane.url, "outdated", control_plane.ca_file)
    async with opened(file) as cluster:
        with pytest.raises(NotPermitted, match="renew them"):
            await cluster.get(DEPLOYMENT, namespace, "shop")
        kubeconfig_of(file, control_plane.url, control_plane.admin_token, control_plane.ca_file)
        answers = await asyncio.gather(*(cluster.get(DEPLOYMENT, namespace, "shop") for _ in range(12)))
        assert answers == [None] * 12


async def test_a_certificate_that_is_not_trusted_is_told_and_read_anew(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    kubeconfig_of(file, control_plane.url, control_plane.admin_token)  # whom the machine trusts anyway
    async with opened(file) as cluster:
        with pytest.raises(RouterUnreachable, match=r"(?i)certificate.verify.failed"):
            await cluster.get(DEPLOYMENT, namespace, "shop")
        kubeconfig_of(file, control_plane.url, control_plane.admin_token, control_plane.ca_file)
        assert await cluster.get(DEPLOYMENT, namespace, "shop") is None


async def test_a_pod_uses_what_its_service_account_is_given_and_renewed(
    control_plane: ControlPlane, namespace: str, worker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("outdated")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(control_plane.ca_file))
    host, port = control_plane.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    cluster = Cluster(KubernetesConnection(in_cluster=True))
    try:
        with pytest.raises(NotPermitted, match="renew them"):
            await cluster.get(DEPLOYMENT, namespace, "shop")
        token.write_text(worker)
        await allowed(cluster, namespace)
    finally:
        await cluster.aclose()


async def test_a_worker_that_is_no_pod_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cluster = Cluster(KubernetesConnection(in_cluster=True))
    with pytest.raises(Misconfigured, match="cannot be used: Service host/port is not set"):
        await cluster.get(DEPLOYMENT, "shop", "shop")
    await cluster.aclose()


async def test_one_worker_looks_at_several_clusters_with_several_identities(
    control_plane: ControlPlane, namespace: str, worker: str, tmp_path: Path
) -> None:
    file = kubeconfig_of(tmp_path / "kubeconfig", control_plane.url, worker, control_plane.ca_file)
    written = yaml.safe_load(file.read_text())
    with proxy(200, {"kind": "Deployment", "metadata": {"name": "elsewhere"}}, "application/json") as elsewhere:
        written["clusters"].append({"name": "other", "cluster": {"server": elsewhere}})
        written["users"].append({"name": "admin", "user": {"token": control_plane.admin_token}})
        written["contexts"] += [
            {"name": "admin", "context": {"cluster": "bed", "user": "admin"}},
            {"name": "other", "context": {"cluster": "other", "user": "admin"}},
        ]
        file.write_text(yaml.safe_dump(written))
        async with opened(file) as first, opened(file, context="admin") as second, opened(file, context="other") as far:
            await allowed(first, namespace)
            with pytest.raises(NotPermitted):
                await first.every(DEPLOYMENT, namespace)
            assert await second.every(DEPLOYMENT, namespace) == []
            found = await far.get(DEPLOYMENT, namespace, "shop")
            assert found
            assert found["metadata"]["name"] == "elsewhere"


BROKEN: dict[str, Callable[[Path], object]] = {
    "no such file": lambda file: file.unlink(missing_ok=True),
    "no YAML": lambda file: file.write_text("clusters: ["),
    "empty": lambda file: file.write_text(""),
    "a list": lambda file: file.write_text("[1, 2]"),
    "no such context": lambda file: file.write_text(file.read_text().replace("current-context: bed", "x: y")),
    "no such certificate": lambda file: kubeconfig_of(file, "https://127.0.0.1:9", ca_file=file.with_name("gone")),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_kubeconfig_that_cannot_be_used_is_told(tmp_path: Path, how: str) -> None:
    file = kubeconfig_of(tmp_path / "kubeconfig", "https://127.0.0.1:9")
    BROKEN[how](file)
    async with opened(file) as cluster:
        with pytest.raises(Misconfigured, match="the connection to Kubernetes cannot be used: "):
            await cluster.get(DEPLOYMENT, "shop", "shop")


def test_a_pod_has_no_kubeconfig() -> None:
    with pytest.raises(ValidationError, match="uses its service account: drop"):
        KubernetesConnection(in_cluster=True, context="prod")
