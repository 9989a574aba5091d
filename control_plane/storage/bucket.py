"""Files in an S3 bucket, through fsspec. Keys and region are found as the AWS tools find them, never in a setting."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs

from control_plane.errors import ConfigurationError

_TIMEOUT_SECONDS = 10


class BucketFiles:
    def __init__(self, filesystem: AbstractFileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.strip("/")

    @classmethod
    def open(cls, url: str, endpoint: str | None) -> BucketFiles:
        """`url` is `s3://bucket/prefix`; `endpoint` the address of an S3 server other than Amazon's.

        The bucket has to be there. Raises ConfigurationError.
        """
        address = urlsplit(url)
        if address.scheme != "s3" or not address.netloc:
            raise ConfigurationError("files can be kept in s3://BUCKET/PREFIX only")
        server = urlsplit(endpoint or "")
        store = fs.S3FileSystem(
            endpoint_override=server.netloc or None,
            scheme=server.scheme or "https",
            connect_timeout=_TIMEOUT_SECONDS,
            request_timeout=_TIMEOUT_SECONDS,
        )
        return cls(ArrowFSWrapper(store), f"{address.netloc}{address.path}")

    def put(self, name: str, content: bytes) -> None:
        self._filesystem.pipe_file(self._path(name), content)

    def read(self, name: str) -> bytes:
        content: bytes = self._filesystem.cat_file(self._path(name))
        return content

    def names(self, folder: str) -> list[str]:
        try:
            found = self._filesystem.ls(self._path(folder), detail=True, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{each['name'].rpartition('/')[2]}" for each in found if each["type"] == "file")

    def modified(self, name: str) -> datetime:
        moment: datetime | None = self._filesystem.modified(self._path(name))
        if moment is None:
            raise FileNotFoundError(name)
        return moment.astimezone(UTC)

    def delete(self, name: str) -> None:
        try:
            self._filesystem.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
