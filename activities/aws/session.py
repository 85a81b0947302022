"""Credentials and clients of boto3: made when first needed, with timeouts everywhere and retries nowhere."""

import threading
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError

from activities.aws.connection import AwsConnection

_CONNECTIONS = 50  # kept open for each service; as many as there are threads


class AwsSession:
    """The clients of one connection. They block, so they belong into threads."""

    def __init__(self, connection: AwsConnection) -> None:
        """Take the settings; nothing is opened yet."""
        self._connection = connection
        self._session: botocore.session.Session | None = None
        self._clients: dict[str, Any] = {}
        self._opening = threading.Lock()  # making a client is not thread-safe, using one is

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients while it runs
        """The client of a service, as boto3 calls it.

        Raises:
            BotoCoreError: the profile is not there.
        """
        with self._opening:
            if service not in self._clients:
                session = boto3.Session(botocore_session=self._opened(), region_name=self._connection.region)
                make: Any = session.client
                config = config_of(self._connection)
                self._clients[service] = make(service, endpoint_url=self._connection.endpoint_url, config=config)
            return self._clients[service]

    def paging(self, service: str, operation: str) -> dict[str, Any]:
        """How the pages of an operation are told, as botocore's model has it."""
        client = self.client(service)
        api_name = client.meta.method_to_api_mapping[operation]
        return dict(self._opened().get_paginator_model(service).get_paginator(api_name))

    def close(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _opened(self) -> botocore.session.Session:
        if self._session is None:
            session = botocore.session.Session(profile=self._connection.profile)
            if self._connection.role_arn:
                assumed = _AssumedRole(session, self._connection, self._connection.role_arn)
                session = botocore.session.Session(profile=self._connection.profile)
                session.register_component("credential_provider", CredentialResolver([assumed]))
            self._session = session
        return self._session


def config_of(connection: AwsConnection) -> Config:
    """Timeouts of the connection and no retries, because Temporal and the pace of `AwsClients` retry."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=connection.timeout_s,
        read_timeout=connection.timeout_s,
        max_pool_connections=_CONNECTIONS,
    )


class _AssumedRole(CredentialProvider):
    """Credentials of a role, fetched when first needed and renewed before they end.

    They are renewed inside whichever call needs them, so STS must not take longer than any other call.
    """

    METHOD = "assume-role"

    def __init__(self, source: botocore.session.Session, connection: AwsConnection, role_arn: str) -> None:
        super().__init__()
        self._source, self._connection, self._role_arn = source, connection, role_arn

    def load(self) -> Any:  # noqa: ANN401 - botocore's signature
        """Credentials that fetch themselves."""
        own = self._source.get_credentials()
        if own is None:
            raise NoCredentialsError
        extra_args = {"RoleSessionName": "sluice"}
        if self._connection.external_id:
            extra_args["ExternalId"] = self._connection.external_id
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=self._sts,
            source_credentials=own,
            role_arn=self._role_arn,
            extra_args=extra_args,
        )
        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=fetcher.fetch_credentials)

    def _sts(self, service: str, **credentials: Any) -> Any:  # noqa: ANN401 - botocore's signature
        make: Any = self._source.create_client
        place = {"region_name": self._connection.region, "endpoint_url": self._connection.sts_endpoint_url}
        return make(service, **place, config=config_of(self._connection), **credentials)
