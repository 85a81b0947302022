"""How payloads and failures travel: pydantic's JSON, and deliberate ends without a Python stack trace.

The same converter must be given to every client, worker and replayer. The CLI prints a stack trace under each failure;
under "rolled back: errors above 5 %" ten lines of Python would only hide the sentence, so for ends that we raise on
purpose it is left out. Every other failure keeps its trace.
"""

import dataclasses
from typing import Final

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from rollout import names


class QuietFailureConverter(DefaultFailureConverter):
    """The default, without the stack trace of deliberate ends."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert an exception."""
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ApplicationError) and exception.type in names.FAILURES:
            failure.stack_trace = ""


DATA_CONVERTER: Final = dataclasses.replace(pydantic_data_converter, failure_converter_class=QuietFailureConverter)
