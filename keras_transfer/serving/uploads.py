"""The photos of a request, read with limits while they come, in memory."""

import asyncio
import contextlib
import typing
from collections.abc import AsyncIterator, Iterator

from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from keras_transfer.serving.limits import Limits, RefusedError, busy

FIELD = "images"
# Fields beside the photos, which are passed over.
_OTHER_FIELDS = 8
_OTHER_BYTES = 2**16
# Of a name that is told in a sentence.
_NAME = 80


class Upload(typing.NamedTuple):
    """Hold a file as it was sent."""

    name: str
    data: bytes


class _Parser(MultiPartParser):
    # Nothing is written to disk: what is held in memory is bounded.
    spool_max_size = 0


class Uploads:
    """Read uploads, of which no more bytes are held at once than are allowed."""

    def __init__(self, limits: Limits):
        self._limits, self._held = limits, 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[list[Upload]]:
        """Yield the files of a request, and hold their bytes for as long.

        Raises:
            RefusedError: If there are none, or more than is allowed.
            ClientDisconnect: If the client has gone.
        """
        _check_kind(request.headers)
        with self._share() as take:
            yield await self._files(request, take)

    @contextlib.contextmanager
    def _share(self) -> Iterator[typing.Callable[[int], None]]:
        share = 0

        def take(count: int) -> None:
            nonlocal share
            share += count
            self._held += count
            if self._held > self._limits.uploads:
                raise busy("Too many uploads at once. Try again in a second.")

        try:
            yield take
        finally:
            self._held -= share

    async def _files(self, request: Request, take) -> list[Upload]:
        async def chunks():
            async for chunk in request.stream():
                take(len(chunk))
                yield chunk

        parser = _Parser(
            request.headers,
            chunks(),
            max_files=self._limits.files,
            max_fields=_OTHER_FIELDS,
            max_part_size=_OTHER_BYTES,
        )
        try:
            async with asyncio.timeout(self._limits.read):
                form = await parser.parse()
        except TimeoutError as error:
            raise RefusedError(
                408,
                "slow upload",
                f"The upload took longer than {self._limits.read:g} s.",
                {"Connection": "close"},
            ) from error
        except (HTTPException, ClientDisconnect):
            raise
        except MultiPartException as error:
            raise self._refused(error) from error
        except Exception as error:  # Of bytes that no parser has been tried with.
            raise _damaged() from error
        files = [
            Upload(_name(value.filename), value.file.read())
            for key, value in form.multi_items()
            if key == FIELD and isinstance(value, UploadFile)
        ]
        await form.close()
        if not files:
            raise RefusedError(
                422,
                "no image",
                f"Expected one or several files in the form field {FIELD}.",
            )
        return files

    def _refused(self, error: MultiPartException) -> RefusedError:
        if "Too many files" in error.message:
            return RefusedError(
                413,
                "too many files",
                f"Expected at most {self._limits.files} photos in one request.",
            )
        if "Too many" in error.message or "exceeded" in error.message:
            return RefusedError(
                413,
                "too large",
                f"Expected photos in the form field {FIELD}, and little beside them.",
            )
        return _damaged()


def _check_kind(headers: Headers) -> None:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RefusedError(
            415,
            "no image",
            "Expected an upload that is not compressed: photos are so already.",
        )
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RefusedError(
            415,
            "no image",
            "Expected a form of the type multipart/form-data with one or several files "
            f"in the field {FIELD}.",
        )


def _damaged() -> RefusedError:
    return RefusedError(
        422, "damaged", "The upload is no whole form of the type multipart/form-data."
    )


def _name(name: str | None) -> str:
    # In an encoding that the client names, it may be no text.
    return (name or "").encode("utf-8", "replace").decode()


def called(upload: Upload) -> str:
    """Return the name of a file for a sentence."""
    name = "".join(each if each.isprintable() else "?" for each in upload.name)
    return name[:_NAME] or "The file"
