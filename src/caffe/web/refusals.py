"""Answers other than 200: a code for programs, a sentence for people, nothing of the inside."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse

from ..errors import CaffeError


class Refusal(CaffeError):
    """A request that is not answered, and why.

    Parameters
    ----------
    status : int
        The HTTP status.
    code : str
        A short name of the reason, which does not change.
    message : str
        The reason in a sentence, and what to do.
    retry_after : float, optional
        After how many seconds to try again.
    closes : bool
        Whether the connection is closed at once, and not read on.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        retry_after: float | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.closes = closes

    def response(self) -> JSONResponse:
        """The answer that says so."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.closes:
            headers["Connection"] = "close"
        body = {"error": {"code": self.code, "message": str(self)}}
        return JSONResponse(body, self.status, headers)


def stopping() -> Refusal:
    """What is said to those who wait, or come, while the server ends."""
    return Refusal(503, "stopping", "the server is being stopped", retry_after=10)
