"""`python -m testbed.flags.launchdarkly --port P --seed FILE`: the stand-in as a process of its own.

The seed says what is there: `{"tokens": {TOKEN: {"name": …}}, "sdk_keys": {KEY: [PROJECT, ENVIRONMENT]}, "flags":
[{"project": …, "key": …, "environments": […], …}]}`. It is a file, because tokens do not belong on a command line.
"""

import argparse
import asyncio
import json
import signal
from pathlib import Path

from testbed.flags.launchdarkly.account import Account
from testbed.flags.launchdarkly.callers import Caller
from testbed.flags.launchdarkly.server import Server
from testbed.flags.launchdarkly.shapes import flag


def seeded(text: str) -> Account:
    """An account with what a seed says."""
    seed, account = json.loads(text), Account()
    account.tokens = {token: Caller(**owner) for token, owner in seed["tokens"].items()}
    account.sdk_keys = {key: (place[0], place[1]) for key, place in seed["sdk_keys"].items()}
    account.flags = {(each["project"], each["key"]): flag(**each) for each in seed["flags"]}
    return account


async def _serve(port: int, account: Account) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Server(account, port):
        await stop.wait()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(_serve(options.port, seeded(options.seed.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
