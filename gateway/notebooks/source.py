"""Where a project's files come from: a folder of the host, or a git repository.

Only the value and its syntax; spaces/ reads what it points to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.errors import InvalidInput

_URL = re.compile(r"(https|ssh|file|git)://[^\s\x00-\x1f#]+")
_SCP = re.compile(
    r"[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\s\x00-\x1f#-][^\s\x00-\x1f#]*"
)
# With ssh all but the user's name; else that too, which may be a token.
_CREDENTIALS = re.compile(r"^(ssh://[^/:@]*):[^/]*(?=@)|^((?:https|git|file)://)[^/]*@")
_PASSWORD = re.compile(r"(//[^/:@\s]*):[^/\s]*@")
_TOKEN = re.compile(r"(?<!ssh:)//[^/:@\s]+@")
# A subset of git-check-ref-format(1): what cannot be taken for an option or for two arguments.
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """A folder or a git repository; exactly one of `folder` and `url` is set.

    Its text leaves passwords and tokens out.

    Attributes:
        folder: absolute path; None for a repository.
        url: git URL; None for a folder.
        ref: branch or tag of the repository; None means its default branch.
    """

    folder: Path | None = None
    url: str | None = None
    ref: str | None = None

    def __str__(self) -> str:
        if self.folder is not None:
            return str(self.folder)
        url = without_credentials(self.url or "")
        if url.startswith("https:"):
            url = re.sub(r"\?.*", "?***", url)
        return f"{url}#{self.ref}" if self.ref else url

    @property
    def address(self) -> str:
        """The repository's URL as students may have it: without credentials; "" for a folder.

        A query may be a token, so it has none.
        """
        url = _CREDENTIALS.sub(r"\1\2", self.url or "")
        return url.partition("?")[0] if url.startswith("https:") else url

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the source that `text` names: a folder, or `<git URL>` or `<git URL>#<ref>`.

        None stands for none: notebooks start with an empty space.

        Raises:
            InvalidInput: it is neither an absolute folder nor a git URL.
        """
        if text is None:
            return None
        if text.startswith("/") and "\0" not in text:
            return cls(folder=Path(text))
        url, hash_sign, ref = text.partition("#")
        if not (_URL.fullmatch(url) or _SCP.fullmatch(url)):
            raise InvalidInput(
                f"source {without_credentials(text)!r} is neither an absolute folder nor a git URL "
                f"(https://…, ssh://…, git://…, file://… or git@host:path)"
            )
        if hash_sign and (not _REF.fullmatch(ref) or ".." in ref):
            raise InvalidInput(f"source: {ref!r} after # is not a branch or tag")
        return cls(url=url, ref=ref or None)


def without_credentials(text: str) -> str:
    """Return a text without the passwords and tokens that URLs in it have before the host."""
    return _PASSWORD.sub(r"\1:***@", _TOKEN.sub("//***@", text))
