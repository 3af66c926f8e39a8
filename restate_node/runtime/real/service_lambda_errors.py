"""What AWS answers instead of a function, as the errors of the port.

throttled, no answer          busy or closed: asked again, it may do better
no permission, credentials    not allowed: somebody has to change something
no such function              bad address
anything of status 5xx        busy, and the function may have begun to work
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from restate_node.runtime.services import (
    EndpointAddress,
    ExchangeBroken,
    FailureCause,
    ServiceError,
    ServiceUnreachable,
)

_CREDENTIALS: Final = (
    "give this node credentials of AWS: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "worker.invoker.aws-profile, or a role of its machine"
)
_CHECK_CREDENTIALS: Final = "check the credentials of AWS that this node has"
_PERMISSION: Final = "allow lambda:InvokeFunction on it to {who}"
_ADVICE: Final = {
    "NoCredentialsError": _CREDENTIALS,
    "PartialCredentialsError": _CREDENTIALS,
    "CredentialRetrievalError": _CHECK_CREDENTIALS,
    "ProfileNotFound": "correct worker.invoker.aws-profile",
    "ConfigParseError": "correct the configuration files of AWS",
    "UnauthorizedSSOTokenError": _CHECK_CREDENTIALS,
    "SSOTokenLoadError": _CHECK_CREDENTIALS,
    "TokenRetrievalError": _CHECK_CREDENTIALS,
    "AccessDenied": _PERMISSION,
    "AccessDeniedException": _PERMISSION,
    "ExpiredToken": _CHECK_CREDENTIALS,
    "ExpiredTokenException": _CHECK_CREDENTIALS,
    "IncompleteSignature": _CHECK_CREDENTIALS,
    "InvalidClientTokenId": _CHECK_CREDENTIALS,
    "InvalidSignatureException": _CHECK_CREDENTIALS,
    "SignatureDoesNotMatch": _CHECK_CREDENTIALS,
    "UnrecognizedClientException": _CHECK_CREDENTIALS,
}
_UNSENT: Final = {
    "ConnectTimeoutError": FailureCause.TIMEOUT,
    "EndpointConnectionError": FailureCause.REFUSED,
    "ProxyConnectionError": FailureCause.REFUSED,
    "SSLError": FailureCause.TLS,
    "InvalidRegionError": FailureCause.BAD_ADDRESS,
    "UnknownRegionError": FailureCause.BAD_ADDRESS,
    "EndpointProviderError": FailureCause.BAD_ADDRESS,
    "ParamValidationError": FailureCause.BAD_ADDRESS,
}
_LIBRARIES: Final = frozenset({"aiohttp", "aiobotocore", "botocore", "urllib3"})


def mapped(error: Exception, address: EndpointAddress) -> ServiceError:
    """The error of the port for an exception of aiobotocore, botocore, aiohttp or the system;
    a bug is raised again.
    """
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, dict) and "Error" in answer:
        operation = str(getattr(error, "operation_name", ""))
        return _answered(cast("dict[str, Any]", answer), operation, address)
    name = type(error).__name__
    detail = " ".join(f"{error}".split()) or name
    if advice := _ADVICE.get(name):
        return ServiceUnreachable(address, FailureCause.DENIED, f"{detail}; {advice}")
    if name in _UNSENT:
        return ServiceUnreachable(address, _UNSENT[name], detail)
    if isinstance(error, ValueError):  # so the library says that a URL is none
        return ServiceUnreachable(address, FailureCause.BAD_ADDRESS, detail)
    if isinstance(error, asyncio.TimeoutError) or name == "ReadTimeoutError":
        return ExchangeBroken(address, FailureCause.TIMEOUT, f"no answer of AWS Lambda: {detail}")
    modules = {base.__module__.split(".")[0] for base in type(error).__mro__}
    if isinstance(error, OSError) or modules & _LIBRARIES:
        return ExchangeBroken(address, FailureCause.CLOSED, f"{name} {detail}")
    raise error


def _answered(answer: dict[str, Any], operation: str, address: EndpointAddress) -> ServiceError:
    code = str(answer["Error"].get("Code", "unknown"))
    said = str(answer["Error"].get("Message", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    detail = " ".join(f"AWS answered {operation} with {status} {code}: {said}".split())
    if status == 429 or "Throttl" in code:
        return ServiceUnreachable(address, FailureCause.BUSY, detail)
    if status >= 500:
        return ExchangeBroken(address, FailureCause.BUSY, detail)
    if code == "RequestTooLargeException":
        return ServiceUnreachable(address, FailureCause.TOO_LARGE, detail)
    if status in (401, 403) or code in _ADVICE:
        advice = _advice(code, operation, address)
        return ServiceUnreachable(address, FailureCause.DENIED, f"{detail}; {advice}")
    return ServiceUnreachable(address, FailureCause.BAD_ADDRESS, detail)


def _advice(code: str, operation: str, address: EndpointAddress) -> str:
    advice = _ADVICE.get(code, _CHECK_CREDENTIALS)
    if advice != _PERMISSION:
        return advice
    role = address.assume_role_arn
    if operation == "AssumeRole":
        return f"allow this node to assume {role}, in its policy and in the role's trust"
    return _PERMISSION.format(who=role or "the credentials of this node")
