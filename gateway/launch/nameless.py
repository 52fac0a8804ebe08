"""Who is here without a name, counted by course as they come and go: nobody is looked for."""

from __future__ import annotations

from gateway.launch.deeplinks import course_of, is_passer_by
from gateway.notebooks.model import Notebook


class Nameless:
    """People without a name; each is here as long as they have a session or a notebook."""

    def __init__(self) -> None:
        self._subjects: dict[str, str] = {}  # of whom a session or a notebook is
        self._held: dict[str, set[str]] = {}  # what of a person is here
        self._here: dict[str, int] = {}  # people, by course

    def count(self, course: str) -> int:
        """Return how many are in a course."""
        return self._here.get(course, 0)

    def begin(self, subject: str, session: str) -> None:
        """A session has begun, or goes on; of people with a name nothing is kept."""
        self._hold(subject, _session(session))

    def end(self, session: str) -> None:
        """A session has ended."""
        self._let_go(_session(session))

    def notebook_changed(self, slug: str, notebook: Notebook | None) -> None:
        """Follow a notebook; see Catalogue.subscribe."""
        if notebook is None:
            self._let_go(slug)
        elif self._subjects.get(slug, notebook.owner) != notebook.owner:
            self._let_go(slug)
            self._hold(notebook.owner, slug)
        else:
            self._hold(notebook.owner, slug)

    def _hold(self, subject: str, what: str) -> None:
        if not is_passer_by(subject):
            return
        self._subjects[what] = subject
        held = self._held.get(subject)
        if held is None:
            held = self._held[subject] = set()
            course = course_of(subject)
            self._here[course] = self._here.get(course, 0) + 1
        held.add(what)

    def _let_go(self, what: str) -> None:
        subject = self._subjects.pop(what, None)
        if subject is None:
            return
        held = self._held[subject]
        held.discard(what)
        if not held:
            del self._held[subject]
            course = course_of(subject)
            self._here[course] -= 1
            if not self._here[course]:
                del self._here[course]


def _session(session: str) -> str:
    return f"session:{session}"  # no slug has a colon
