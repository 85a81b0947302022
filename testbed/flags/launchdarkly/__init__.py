"""A strict stand-in for LaunchDarkly, built from its published REST contract; the real SDK and relay work with it.

Why a stand-in: LaunchDarkly is a service, and nothing that it publishes for local use has its REST API. What is written
down about the API is kept to the letter (status codes, versions, headers, all-or-nothing patches); what is not written
down is either refused or can be chosen by a test, so that nothing comes to rely on a guess.
"""

from testbed.flags.launchdarkly.account import Account
from testbed.flags.launchdarkly.callers import Caller
from testbed.flags.launchdarkly.part import LaunchDarkly
from testbed.flags.launchdarkly.server import Server
from testbed.flags.launchdarkly.shapes import flag

__all__ = ["Account", "Caller", "LaunchDarkly", "Server", "flag"]
