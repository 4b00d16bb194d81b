"""What is wrong with a file, as every command says it."""

from sacip_tun.config.errors import ConfigError, UnreadableError
from sacip_tun.outcome import Exit, Failure


def refusal(error: ConfigError) -> Failure:
    """Return what a command ends with."""
    denied = isinstance(error, UnreadableError)
    code = Exit.NO_PRIVILEGE if denied else Exit.BAD_CONFIGURATION
    return Failure(str(error), error.fix, code)
