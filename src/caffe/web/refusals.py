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
    """

    def __init__(
        self, status: int, code: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """The answer that says so."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        body = {"error": {"code": self.code, "message": str(self)}}
        return JSONResponse(body, self.status, headers)
