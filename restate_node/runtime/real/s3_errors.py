"""What an S3 service answers, as the errors of the port.

404 of a key                              ObjectMissing, or PreconditionFailed for If-Match
412                                       PreconditionFailed
409, 429, 5xx, no answer, half an answer  ObjectStoreUnavailable: try again
everything else                           ObjectStoreDenied: no attempt will change it
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from restate_node.runtime.ports import (
    ObjectMissing,
    ObjectStoreDenied,
    ObjectStoreError,
    ObjectStoreUnavailable,
    PreconditionFailed,
)

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchUpload"})
_AGAIN: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "InternalError",
        "ServiceUnavailable",
        "BadDigest",
    }
)
_ADVICE: Final = {
    "NoSuchBucket": "create the bucket, or correct worker.snapshots.destination",
    "AccessDenied": "let these credentials get, put, delete and list objects there",
    "InvalidAccessKeyId": "correct aws-access-key-id in worker.snapshots",
    "SignatureDoesNotMatch": "correct aws-secret-access-key in worker.snapshots",
    "ExpiredToken": "renew aws-session-token in worker.snapshots",
    "InvalidToken": "correct aws-session-token in worker.snapshots",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "PermanentRedirect": "correct aws-region in worker.snapshots",
    "AuthorizationHeaderMalformed": "correct aws-region in worker.snapshots",
    "NoCredentialsError": "set aws-access-key-id and aws-secret-access-key, or aws-profile",
    "PartialCredentialsError": "set both aws-access-key-id and aws-secret-access-key",
    "ProfileNotFound": "correct aws-profile in worker.snapshots",
}
_FINAL_FAILURES: Final = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "CredentialRetrievalError",
        "ConfigParseError",
        "NoRegionError",
        "InvalidRegionError",
        "InvalidEndpointURLError",
        "ParamValidationError",
        "ParamValidation",
        "UnauthorizedSSOTokenError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
    }
)
_DEFAULT_ADVICE = "check worker.snapshots"


def mapped(error: Exception, doing: str) -> ObjectStoreError:
    """The error of the port for an exception of aiobotocore, botocore, aiohttp or the system."""
    if isinstance(error, ObjectStoreError):
        return error
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, dict) and "Error" in answer:
        return _answered(answer, doing)  # pyright: ignore[reportUnknownArgumentType]
    name = type(error).__name__
    if name in _FINAL_FAILURES:
        return ObjectStoreDenied(f"cannot {doing}: {error}; {_advice(name)}")
    if isinstance(error, ValueError):  # botocore's answer to an endpoint that is no URL
        return ObjectStoreDenied(f"cannot {doing}: {error}; {_DEFAULT_ADVICE}")
    if isinstance(error, asyncio.TimeoutError | OSError) or _is_of_the_network(error):
        return ObjectStoreUnavailable(f"cannot {doing}: {name} {error}; retry")
    raise error


def _answered(answer: dict[str, Any], doing: str) -> ObjectStoreError:
    code = str(answer["Error"].get("Code", "unknown"))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"cannot {doing}: {code} {answer['Error'].get('Message', '')}".rstrip(". ")
    if status == 412 or code == "PreconditionFailed":
        return PreconditionFailed(f"{text}; read it again")
    if code in _ABSENT:
        return ObjectMissing(text)
    if code in _AGAIN or status == 429 or status >= 500:
        return ObjectStoreUnavailable(f"{text}; retry")
    return ObjectStoreDenied(f"{text}; {_advice(code)}")


def _advice(code: str) -> str:
    return _ADVICE.get(code, _DEFAULT_ADVICE)


def _is_of_the_network(error: Exception) -> bool:
    """Whether one of the libraries for the network raised it; ours and Python's own are bugs."""
    modules = {base.__module__.split(".")[0] for base in type(error).__mro__}
    return bool(modules & {"aiohttp", "aiobotocore", "botocore", "urllib3"})
