"""Finds out what a failed TLS handshake was about, in the errors that libraries wrap around it."""

from __future__ import annotations

import ssl


def certificate_problem(error: BaseException | None) -> str | None:
    """Return what is wrong with a certificate, in OpenSSL's words, or None if nothing is."""
    failure = tls_failure(error)
    if isinstance(failure, ssl.SSLCertVerificationError):
        return failure.verify_message or "it cannot be verified"
    if failure is not None and "CERTIFICATE" in (failure.reason or ""):  # OpenSSL's name of an alert
        return (
            failure.reason.removeprefix("TLSV13_ALERT_")
            .removeprefix("SSLV3_ALERT_")
            .lower()
            .replace("_", " ")
        )
    return None


def tls_failure(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error at the root of `error`, if there is one."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, ssl.SSLError):
            return one
        seen.add(id(one))
        inner = [getattr(one, "reason", None), *getattr(one, "args", ()), one.__cause__, one.__context__]
        waiting += [thing for thing in inner if isinstance(thing, BaseException)]
    return None
