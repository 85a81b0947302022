"""One way to reach Temporal, for the command line and for the worker: the same profile file and variables as its CLI.

`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS…`, `TEMPORAL_PROFILE`, …
"""

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime

from workflows.converter import DATA_CONVERTER


async def connect(runtime: Runtime | None = None) -> Client:
    """Connect as the Temporal CLI would.

    Raises:
        RuntimeError: the server cannot be reached.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    return await Client.connect(**config, data_converter=DATA_CONVERTER, runtime=runtime)
