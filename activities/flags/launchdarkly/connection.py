"""Where LaunchDarkly is, as the worker's settings say it.

Neither key is ever in here: both are in files that are read when they are needed, so that they may rotate, and whatever
is in such a file may be a secret, also when it is no key.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from rollout.base import Written

_URL = r"^https?://[^@\s?#]+$"


class LaunchDarklyConnection(Written):
    """Where LaunchDarkly is.

    Attributes:
        kind: always "launchdarkly".
        url: of the REST API; another one for LaunchDarkly's EU and federal instances.
        token_file: file with an API access token, read for every request. It needs the actions `viewProject`,
            `updateOn`, `updateFallthrough` and `updateFlagCustomProperties` on the flags that Sluice moves, of which
            `updateOn` is enough for those that it only switches off.
        sdk_key_file: file with a server-side SDK key. With it a percent is believed when LaunchDarkly's own SDK gives
            it; without, when the REST API shows it, which says nothing about applications. A key is for one
            environment, so environments need connections of their own.
        stream_url: where the SDK gets changes from; LaunchDarkly's own address by default, or that of a relay.
        base_url: where the SDK polls if it must; likewise.
        timeout_s: for one request as a whole, seconds.
    """

    kind: Literal["launchdarkly"] = "launchdarkly"
    url: str = Field(default="https://app.launchdarkly.com", pattern=_URL)
    token_file: Path
    sdk_key_file: Path | None = None
    stream_url: str | None = Field(default=None, pattern=_URL)
    base_url: str | None = Field(default=None, pattern=_URL)
    timeout_s: float = Field(default=5, gt=0)
