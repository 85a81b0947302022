"""docs/peers.md names every test of our peers once, and only tests of ours that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from testbed.parts import REPOSITORY

PAGE = REPOSITORY / "docs" / "peers.md"
HERE = Path(__file__).parent
THEIRS = {
    "Argo Rollouts: CanarySuite": """
        SetCanaryScale | RolloutScalingWhenPaused | RolloutWithMaxSurgeScalingDuringUpdate |
        RolloutScalingDuringUpdate | ReduceWeightAndHonorMaxUnavailable | EphemeralMetadata |
        CanaryProgressDeadlineExceededWithPause | CanaryScaleDownDelayWithProgressDeadline | CanaryScaleDownDelay |
        CanaryScaleDownOnAbort | CanaryScaleDownOnAbortNoTrafficRouting | CanaryWithPausedRollout |
        CanaryUnScaleDownOnAbort | CanaryDynamicStableScale | CanaryDynamicStableScaleAbortScaleDownDelay |
        CanaryDynamicStableScaleRollbackToStable | CanaryWithSpecPause
    """,
    "Argo Rollouts: FunctionalSuite": """
        RolloutAbortRetryPromote | CanaryPromoteFull | BlueGreenPromoteFull |
        BlueGreenPreviewReplicaCountPromoteFull | RolloutRestart | RolloutPDBRestart | MalformedRollout |
        GoodToBadUpdate | BadToGoodUpdate | BadToBadUpdate | BadToGoodSetWeightUpdate | BlueGreenUpdate |
        BlueGreenToCanary | FixInvalidSpec | BlueGreenScaleDownDelay | BlueGreenExceedProgressDeadlineAbort |
        BlueGreenScaleDownOnAbort | KubectlWaitForPaused | KubectlWaitForCompleted | WorkloadRef |
        WorkloadRefTemplate | ControllerMetrics | RolloutPauseDurationGreaterThanProgressDeadlineSeconds |
        ScaleDownOnSuccess | ScaleDownProgressively | ScaleDownNever | SpecAndReplicaChangeSameTime
    """,
    "Argo Rollouts: AnalysisSuite": """
        CanaryBackgroundAnalysis | CanaryInconclusiveBackgroundAnalysis | CanaryInlineAnalysis |
        CanaryInlineMultipleAnalysis | CanaryFailInlineMultipleAnalysis | BlueGreenAnalysis |
        BlueGreenPrePromotionFail | BlueGreenPostPromotionFail | BlueGreenAbortAndUpdate | BlueGreenKitchenSink |
        MultipleAnalysis | AnalysisWithSecret | AnalysisWithArgs | LongRunningJob | InvalidImageJob
    """,
    "Argo Rollouts: AWSSuite": """
        ALBCanaryUpdate | ALBCanaryUpdateMultiIngress | ALBBlueGreenUpdate | ALBPingPongUpdate |
        ALBPingPongUpdateMultiIngress | ALBMesh_PingPong_StableCanary | ALBExperimentStep |
        ALBExperimentStepNoSetWeight | ALBExperimentStepMultiIngress | AlbHeaderRoute | AlbHeaderRouteMultiIngress
    """,
    "Argo Rollouts: IstioSuite and other routers": """
        IstioHostSplit | IstioHostSplitOnlyTls | IstioSubsetSplit | IstioSubsetSplitSingleRoute | IstioAbortUpdate |
        IstioUpdateInMiddleZeroCanaryReplicas | IstioAbortUpdateDeleteAllCanaryPods | IstioHostSplitExperimentStep |
        IstioSubsetSplitExperimentStep | IstioPingPong | IstioSubsetSplitInStableDownscaleAfterCanaryAbort |
        HeaderRoute | MirrorRoute | APISIXCanary | APISIXSetHeader | SMI | AppMesh
    """,
    "Argo Rollouts: DurationSuite": """
        CanaryDuration_InitialRollout | CanaryDuration_SpecPaused | CanaryDuration_PauseStep |
        CanaryDuration_IndefinitePauseStep | CanaryDuration_FullyPromoted | CanaryDuration_Abort |
        CanaryDuration_Retry | CanaryDuration_SupersededRollout | CanaryDuration_SupersededRollback |
        CanaryDuration_RollbackOutsideWindow | CanaryDuration_RollbackInsideWindow | CanaryDuration_ScalingOnly |
        BlueGreenDuration_InitialRollout | BlueGreenDuration_SpecPaused | BlueGreenDuration_AutoPromotion |
        BlueGreenDuration_ManualPromotion | BlueGreenDuration_FullyPromoted | BlueGreenDuration_Abort |
        BlueGreenDuration_Retry | BlueGreenDuration_SupersededRollout | BlueGreenDuration_SupersededRollbackToStable |
        BlueGreenDuration_SupersededRollback | BlueGreenDuration_RollbackOutsideWindow |
        BlueGreenDuration_RollbackInsideWindow | BlueGreenDuration_ScalingOnly
    """,
    "Argo Rollouts: StepPluginSuite": """
        RolloutCompletesWhenStepSuccessful | RolloutAbortWhenStepFails | RolloutAbortStepsWhenAborted |
        RolloutCompletesWhenPromotedAndStepRunning | RolloutRetriesUntilDeadlineWhenRunning |
        RolloutRetriesUntilDeadlineWhenError | RolloutStatusIsNotUsedOnNewRollout |
        RolloutErrorWhenStepPluginNotConfigured | RolloutSkipPluginWhenDisabled | a retry after an abort
    """,
    "Argo Rollouts: RollbackSuite, ExperimentSuite, BlueGreenSuite": """
        RollbackAnalysisWithinWindow | RollbackAnalysisOutsideWindow | RolloutWithExperimentAndAnalysis |
        ExperimentWithServiceAndScaleDownDelay | ExperimentWithServiceNameAndScaleDownDelay |
        ExperimentWithMultiportServiceAndScaleDownDelay | ExperimentWithDryRunMetrics |
        ExperimentWithMeasurementRetentionMetrics | BlueGreen/EphemeralMetadata |
        BlueGreenProgressDeadlineExceededWithPause | BlueGreenProgressDeadlineExceededWithoutPause |
        BlueGreenPreviewReplicaCount
    """,
    "Flagger: scheduler tests": """
        DeploymentInit | DeploymentNewRevision | DeploymentNewRevisionReset | DeploymentRollback |
        DeploymentSkipAnalysis | DeploymentPromotion | DeploymentPromotionPrimaryNotReady |
        DeploymentPromotionFailedAfterTrafficShift | DeploymentMirroring | DeploymentABTesting | DeploymentAlerts |
        DeploymentAnalysisPhases | DeploymentBlueGreenAnalysisPhases | DeploymentPortDiscovery |
        DeploymentTargetPort | DaemonSet (all of them) | ServicePromotion | ServicePromotionMaxWeight |
        ServicePromotionWithWeightsHappyCase | ServicePromotionWithWeightsOverflow
    """,
    "Flagger: end-to-end providers": """
        istio | linkerd | kuma | contour | nginx | traefik | gloo | skipper | kubernetes | gatewayapi | keda |
        apisix | knative
    """,
    "Flagger: end-to-end situations": """
        initialization | promotion | rollback on 500s | blue/green | A/B by header |
        session affinity and cookie cleanup | skip analysis with a bad image | retry of a failed run |
        revert to the primary triggers nothing | HPA reconcile | KEDA reconcile | finalizer revert
    """,
    "What went wrong for their users, as far as it concerns Kubernetes": """
        A#4390 | A#4564, A#4639 | A#4612 | A#3020, A#3077 | A#4898, A#4900 | A#4919 | A#4973 |
        A#3078, A#3758, A#2781 | A#1292 | A#4461 | A#2064, A#587 | A#3941 | A#4128, A#3988 | A#1377, A#1774, F#639 |
        A#2522, A#3316, A#1677, A#3272, A#3354 | A#4604, A#4602 | A#3873, A#3850 | A#4221 | A#1415 | A#3474, A#3467 |
        A#4831, A#4307, A#2526 | A#4804, A#4842, A#4786 | F#1931, F#1898 | F#1202 | F#869 | F#634, F#635 | F#1801 |
        F#989 | F#1930 | F#1591, F#1247, F#523, F#1578 | F#1149 | F#1011 |
        a weight that is not in the list jumps to 100 % | one pod of stable that is not ready blocks the abort |
        a deleted canary Ingress is not noticed
    """,
}
LINK = re.compile(r"\[(?P<file>\w+\.py)::(?P<test>\w+)\]\((?P<path>[^)]+)\)")


def tables() -> dict[str, list[tuple[str, str]]]:
    """Heading → rows of the table below it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        rows = [re.split(r"\s*\|\s*", line)[1:3] for line in body.splitlines() if line.startswith("|")]
        found[title] = [(theirs, ours) for theirs, ours in rows[2:]]
    return found


def links() -> list[re.Match[str]]:
    """Every link to one of our tests."""
    return list(LINK.finditer(PAGE.read_text(encoding="utf-8")))


@cache
def written_in(path: Path) -> frozenset[str]:
    """Names of the tests that a file defines, in classes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("suite", THEIRS)
def test_every_name_of_our_peers_is_there_once(suite: str) -> None:
    wanted = [" ".join(name.split()) for name in THEIRS[suite].split("|")]
    assert [theirs for theirs, _ in tables()[suite]] == wanted


def test_no_table_is_about_anything_else() -> None:
    assert list(tables()) == list(THEIRS)


def test_every_answer_is_a_test_or_a_reason() -> None:
    answers = [ours for rows in tables().values() for _, ours in rows]
    reasons = ("not applicable, because ", "not yet: ")
    assert [ours for ours in answers if not LINK.match(ours) and not ours.startswith(reasons)] == []


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for link in links():
        path = (PAGE.parent / link["path"]).resolve()
        if path.name != link["file"] or not path.is_file() or link["test"] not in written_in(path):
            missing.append(link[0])
    assert missing == []


def test_every_test_in_here_is_named() -> None:
    named = {link["test"] for link in links()}
    written = {test for path in HERE.glob("test_*.py") if path.name != Path(__file__).name for test in written_in(path)}
    assert written - named == set()
