"""AWS, as every adapter needs it: credentials, pace, memory, and errors in our tree."""

from activities.aws.clients import AwsClients
from activities.aws.connection import AwsConnection
from activities.aws.errors import code_of
from activities.aws.memory import Json

__all__ = ["AwsClients", "AwsConnection", "Json", "code_of"]
