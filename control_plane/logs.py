"""Structured logs: one JSON object a line, on standard output."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


def present_request() -> str:
    """Id of the request that is being answered, also by the job that it has set off; empty where there is none."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def configure_logs(stream: TextIO | None = None) -> None:
    """Before anything logs; to stdout unless said."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stdout),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
