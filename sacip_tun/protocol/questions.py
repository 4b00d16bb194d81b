"""Open questions to one peer: their tokens, and when each was asked."""

# Open questions remembered, and for how long, in seconds; then an answer tells nothing any more.
MAX_QUESTIONS = 64
MAX_QUESTION_AGE = 10.0


class Questions:
    """Tokens that wait for an answer."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}

    def ask(self, token: int, *, now: float) -> None:
        """Remember a question; the oldest is forgotten where there are too many."""
        while len(self._asked) >= MAX_QUESTIONS:
            del self._asked[next(iter(self._asked))]
        self._asked[token] = now

    def answered(self, token: int, *, now: float) -> float | None:
        """Close a question and return when it was asked; None where it is not open."""
        asked = self._asked.pop(token, None)
        return asked if asked is not None and now - asked <= MAX_QUESTION_AGE else None
