"""What AWS and botocore call a failure, in our tree. Decided by AWS's error codes: its HTTP statuses mix everything.

Throttling arrives as a plain ClientError, by several names. Whatever AWS refuses for a reason of the request is
`Misconfigured` with AWS's own sentence; `code_of` tells an adapter which refusal it was.
"""

from botocore import exceptions as aws

from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable, SluiceError, Throttled

_TOO_OFTEN = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "BandwidthLimitExceeded",
        "LimitExceededException",
    }
)
_FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
_STRANGER = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "IncompleteSignature",
    }
)
_BROKEN = frozenset({"InternalFailure", "InternalError", "ServiceUnavailable", "ServiceUnavailableException"})
_NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.UnauthorizedSSOTokenError,
    aws.SSOTokenLoadError,
    aws.TokenRetrievalError,
)
_IAM_PREFIX = {"elbv2": "elasticloadbalancing"}
_IAM_ACTION = {"Invoke": "InvokeFunction"}


def named(error: Exception, service: str, api_name: str, region: str) -> SluiceError:
    """The same failure in our tree.

    Args:
        error: what botocore raised.
        service: as boto3 calls it: `elbv2`.
        api_name: as AWS calls the operation: `ModifyRule`.
        region: where it was asked.
    """
    where = f"{service} {api_name} in {region}"
    match error:
        case aws.ClientError():
            return _answered(error, service, api_name, where)
        case aws.ParamValidationError():
            return Misconfigured(f"{where} cannot be asked: {_sentence(str(error))}")
        case aws.ProfileNotFound():
            return Misconfigured(f"{where}: {error}; name another `profile`, or leave it out")
        case _ if isinstance(error, _NO_CREDENTIALS):
            return NotPermitted(f"{where}: the worker has no usable AWS credentials: {_sentence(str(error))}")
    return RouterUnreachable(f"{where} was not answered: {type(error).__name__}: {_sentence(str(error))}")


def code_of(error: BaseException) -> str:
    """AWS's code for a failure that `named` made, such as `PriorityInUse`; empty if AWS gave none."""
    cause = error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, aws.ClientError) else ""


def _answered(error: aws.ClientError, service: str, api_name: str, where: str) -> SluiceError:
    told = error.response.get("Error", {})
    code, status = told.get("Code", ""), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{code}: {_sentence(told.get('Message', ''))}"
    if code in _TOO_OFTEN or status == 429:
        return Throttled(f"{where} was asked too often ({said})")
    if code in _STRANGER:
        return NotPermitted(f"{where}: AWS does not accept the worker's credentials ({said}); renew them")
    if code in _FORBIDDEN or status in {401, 403}:
        # The call that failed may be another one: credentials of a role are fetched in between.
        assumed = error.operation_name == "AssumeRole"
        service, action = ("sts", "AssumeRole") if assumed else (service, _IAM_ACTION.get(api_name, api_name))
        permission = f"{_IAM_PREFIX.get(service, service)}:{action}"
        return NotPermitted(f"{where} needs the permission {permission}, which the worker's credentials lack ({code})")
    if code in _BROKEN or status >= 500 or status == 408:
        return RouterUnreachable(f"{where} failed inside AWS ({status} {said})")
    return Misconfigured(f"{where} was refused: {said}")


def _sentence(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 300 else words[:300] + "…"
