"""Metric sources: one file for each place that knows how a service fares."""

from concurrent.futures import Executor

from activities.metrics.prometheus import PrometheusConnection, PrometheusSource
from activities.metrics.web import HttpConnection, HttpSource

MetricsConnection = PrometheusConnection
"""Every kind of connection to a metrics server; a union on `kind` as soon as there are two."""

WebConnection = HttpConnection
"""Every kind of connection to something that answers HTTP requests."""


def source_for(connection: MetricsConnection, executor: Executor) -> PrometheusSource:
    """The adapter for a connection.

    Args:
        connection: from the worker's settings.
        executor: threads in which a client that blocks may wait.
    """
    return PrometheusSource(connection, executor)


def web_for(connection: WebConnection) -> HttpSource:
    """The adapter for a connection to something that answers HTTP requests."""
    return HttpSource(connection)
