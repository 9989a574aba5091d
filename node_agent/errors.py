"""What can go wrong in the agent, each with a sentence that is safe to show.

AgentError
├── ConfigurationError   the data folder, an option or a file is not usable; exit code 2
├── AlreadyRunningError       another agent owns the data folder; exit code 2
├── EnrolmentError       the control plane refused the enrolment; exit code 2
└── StorageError         the agent's own disk state cannot be read or written
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of all errors the agent explains to its operator."""


class ConfigurationError(AgentError):
    """The data folder, an option or a file is not usable."""


class AlreadyRunningError(AgentError):
    """Another agent process owns the data folder."""


class EnrolmentError(AgentError):
    """The control plane refused the enrolment."""


class StorageError(AgentError):
    """The agent's database cannot be read or written, for example because the disk is full."""
