"""ConfigError: one mistake in what the user wrote, with its place and its remedy."""


class ConfigError(Exception):
    """The configuration cannot be used.

    `cause` says what is wrong and `fix` what to do; neither ever holds a secret. `where` is a line
    number, or the command line option that the value came from. `nearest` is the valid key or
    section that comes closest to a misspelt one.
    """

    def __init__(
        self,
        cause: str,
        fix: str = "",
        *,
        where: int | str | None = None,
        source: str = "",
        nearest: str | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix
        self.where = where
        self.source = source
        self.nearest = nearest

    @property
    def line(self) -> int | None:
        """The line number in the file, counted from 1."""
        return self.where if isinstance(self.where, int) else None

    def at(self, where: int | str | None, source: str) -> "ConfigError":
        """Return this error with its place, as far as it has none yet."""
        return type(self)(
            self.cause,
            self.fix,
            where=self.where if self.where is not None else where,
            source=self.source or source,
            nearest=self.nearest,
        )

    def __str__(self) -> str:
        return placed(self.cause, self.where, self.source)


class UnreadableError(ConfigError):
    """The file exists, and this user may not read it."""


def place_of(where: int | str | None, source: str = "") -> str:
    """Return the place as a user finds it: `/etc/sacip-tun/a.conf, line 7`, or an option."""
    place = f"line {where}" if isinstance(where, int) else where
    return ", ".join(part for part in (source, place) if part)


def placed(text: str, where: int | str | None, source: str) -> str:
    """Put the place, where there is one, in front of `text`."""
    place = place_of(where, source)
    return f"{place}: {text}" if place else text
