"""What applications are given: LaunchDarkly's own SDK, one client for a connection, which gets changes as they do.

It sends nothing back (no events, no diagnostics), so probe keys are in no statistics and no bill. It blocks, so it
lives in threads. Its log lines name addresses and flags, and (by `unsaid`) never the key.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from ldclient import Context, LDClient
from ldclient.config import DEFAULT_BASE_URI, DEFAULT_STREAM_URI, Config, HTTPConfig
from ldclient.feature_store import InMemoryFeatureStore
from ldclient.versioned_data_kind import FEATURES

from activities.flags.launchdarkly.connection import LaunchDarklyConnection
from activities.flags.launchdarkly.proof import PROBES, Seen
from activities.flags.launchdarkly.shape import WHOLE
from activities.flags.launchdarkly.unsaid import Unsaid
from activities.secret_file import secret
from rollout.errors import RouterUnreachable

_START_S = 2.0
_CATCH_UP_S = 1.0  # a stream is faster than the next question to the REST API, which is rationed
_LOOK_S = 0.01


class Evaluator:
    """One SDK."""

    def __init__(self, connection: LaunchDarklyConnection, threads: ThreadPoolExecutor) -> None:
        """Take the connection; nothing is opened before the first look."""
        self._connection, self._threads = connection, threads
        self._key: str | None = None
        self._store = _new_store()
        self._making: asyncio.Future[LDClient] | None = None
        self._unsaid: Unsaid | None = None
        self._starting = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the stream."""
        making, self._making = self._making, None
        if making is not None:
            await asyncio.to_thread((await making).close)
        if self._unsaid is not None:
            self._unsaid.end()
            self._unsaid = None

    async def look(self, key: str, context_kind: str, version: int) -> Seen | str:
        """What the SDK holds and gives of a flag; it is given a moment to get at least this version.

        Args:
            key: of the flag.
            context_kind: of the probe keys.
            version: of the flag's configuration.

        Returns:
            What was seen, or why nothing could be, as a sentence.
        """
        try:
            client = await self._started()
        except RouterUnreachable as error:
            return str(error)
        deadline = time.monotonic() + _CATCH_UP_S
        while (held := self._version(key)) is None or held < version:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK_S)
        if held is None:
            said = client.data_source_status_provider.status
            why = said.error.kind.value if said.error else "no flag of that key"
            return f"the SDK does not have the flag: its stream is {said.state.value} ({why}); check sdk_key_file"
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._seen, client, key, context_kind)

    async def _started(self) -> LDClient:
        """The client; a new one if the key was changed.

        Raises:
            RouterUnreachable: there is no key.
        """
        if self._connection.sdk_key_file is None:
            raise RouterUnreachable("no sdk_key_file")
        key = secret(self._connection.sdk_key_file, "SDK key")
        async with self._starting:
            if self._making is None or key != self._key:
                await self.aclose()
                self._key, self._store, self._unsaid = key, _new_store(), Unsaid(key)
                self._unsaid.begin()
                self._making = asyncio.get_running_loop().run_in_executor(self._threads, self._made, key, self._store)
            # Whoever waits may go away; a client that nobody knows would stream for ever.
            return await asyncio.shield(self._making)

    def _made(self, key: str, store: InMemoryFeatureStore) -> LDClient:
        limit_s = self._connection.timeout_s
        config = Config(
            key,
            stream_uri=self._connection.stream_url or DEFAULT_STREAM_URI,
            base_uri=self._connection.base_url or DEFAULT_BASE_URI,
            feature_store=store,
            send_events=False,
            diagnostic_opt_out=True,
            initial_reconnect_delay=0.5,
            http=HTTPConfig(connect_timeout=limit_s, read_timeout=limit_s),
        )
        return LDClient(config, start_wait=min(limit_s, _START_S))

    def _version(self, key: str) -> int | None:
        held = self._store.get(FEATURES, key, lambda flag: flag)
        return None if held is None else int(held.version)

    def _seen(self, client: LDClient, key: str, context_kind: str) -> Seen:
        while True:
            flag = self._store.get(FEATURES, key, lambda each: each)
            contexts = (Context.create(probe, context_kind) for probe in PROBES)
            details = [client.variation_detail(key, each, None) for each in contexts]
            again = self._store.get(FEATURES, key, lambda each: each)
            if again is flag and flag is not None:
                break
            if again is None:
                return Seen(0, False, None, (), ())  # noqa: FBT003 - deleted meanwhile
        return Seen(
            version=int(flag.version),
            on=bool(flag.on),
            off=flag.off_variation,
            shares=_shares(flag.fallthrough),
            given=tuple(((each.reason or {}).get("kind", "ERROR"), each.variation_index) for each in details),
        )


def _new_store() -> InMemoryFeatureStore:
    return InMemoryFeatureStore()  # type: ignore[no-untyped-call]  # typed, but only in part


def _shares(fallthrough: object) -> tuple[int, ...]:
    """Thousandths of a percent by index, of what the SDK's own model calls variation or rollout."""
    rollout, variation = getattr(fallthrough, "rollout", None), getattr(fallthrough, "variation", None)
    if rollout is None:
        return () if variation is None else (0,) * variation + (WHOLE,)
    shares = [0] * (1 + max(each.variation for each in rollout.variations))
    for each in rollout.variations:
        shares[each.variation] += each.weight
    return tuple(shares)
