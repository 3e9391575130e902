"""Replay: ordinary code, run again with the answers it got before, stops at its next question."""

from collections.abc import Callable, Hashable
from contextlib import contextmanager
from typing import Any

import psycopg

Answer = Hashable
Question = tuple[Any, ...]
LOST: Answer = ("lost",)
"""The answer that says: the connection broke, and nobody knows whether the question was heard."""


class Pending(BaseException):
    """Raised through the code at the first question that has no answer yet."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


class Io:
    """What the code under test talks to instead of the world. It stands for its connection, too."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self._answers = answers
        self._at = 0

    def ask(self, *question: Any) -> Any:
        """The world's answer. Raises OperationalError where the answer is that the connection broke."""
        if self._at == len(self._answers):
            raise Pending(question)
        answer = self._answers[self._at]
        self._at += 1
        if answer == LOST:
            raise psycopg.OperationalError("the connection is lost")
        return answer

    @contextmanager
    def transaction(self) -> Any:
        """All or nothing, as psycopg's."""
        self.ask("begin")
        try:
            yield
        except psycopg.OperationalError:
            raise
        except Exception:
            self.ask("rollback")
            raise
        self.ask("commit")


Program = Callable[[Io, Any], Any]
"""One round of an actor: from the place where it stands to its next place."""


def next_step(program: Program, place: Hashable, answers: tuple[Answer, ...]) -> tuple[str, Any]:
    """("ask", the next question) or ("done", the next place)."""
    try:
        return "done", program(Io(answers), place)
    except Pending as pending:
        return "ask", pending.question
