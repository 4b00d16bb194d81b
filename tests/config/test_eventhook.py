"""EventHook: its grammar, and who may command."""

import os

import pytest

from sacip_tun.agreement import TOLD
from sacip_tun.config import ConfigError, EventHook, files, parse
from sacip_tun.config.eventhook import event_hook
from sacip_tun.protocol.keys import clamped, to_base64

KEY = to_base64(clamped(bytes([7]) * 32))
TEXT = f"[Interface]\nPrivateKey = {KEY}\n"


@pytest.mark.parametrize(
    ("text", "kinds", "command"),
    [
        ("/bin/tell", TOLD, ("/bin/tell",)),
        ("/bin/tell %i 'a b' \"c\" #x", TOLD, ("/bin/tell", "%i", "a b", "c", "#x")),
        ("/bin/tell moved: x", TOLD, ("/bin/tell", "moved:", "x")),
        ("moved: /bin/tell", ("moved",), ("/bin/tell",)),
        ("moved , Peer Moved,moved:/bin/tell a:b", ("moved", "peer moved"), ("/bin/tell", "a:b")),
        ("frame-sent: /bin/tell", ("frame-sent",), ("/bin/tell",)),
        ("/bin/tell $(id) `id` | x", TOLD, ("/bin/tell", "$(id)", "`id`", "|", "x")),
    ],
)
def test_a_value_is_a_command_or_kinds_and_a_command(text, kinds, command):
    assert event_hook(text) == EventHook(kinds, command)


@pytest.mark.parametrize(
    ("text", "cause", "fix"),
    [
        ("tell", "neither a command with its whole path", "EventHook = moved: /path"),
        ("moved: tell", "whole path of its program", "/path/to/program"),
        ("moved:", "whole path of its program", "/path/to/program"),
        ("mooved: /bin/tell", "'mooved' is no kind of event", "did you mean moved?"),
        ("moved,: /bin/tell", "an empty place", "EventHook ="),
        (": /bin/tell", "an empty place", "EventHook ="),
        ("down: /bin/tell", "no hook can be run for 'down'", "moved"),
        ("/bin/tell 'secret", "no end", "close it"),
    ],
)
def test_a_mistake_is_named_and_the_command_is_not_repeated(text, cause, fix):
    with pytest.raises(ConfigError) as caught:
        event_hook(text)
    assert cause in caught.value.cause
    assert fix in caught.value.fix
    assert "secret" not in f"{caught.value} {caught.value.fix}"


def test_hooks_add_up_and_keep_out_of_the_repr():
    config = parse(f"{TEXT}EventHook = /bin/a secret\nEventHook = moved: /bin/b\n", "sacip0")
    assert [hook.command[0] for hook in config.interface.event_hooks] == ["/bin/a", "/bin/b"]
    assert "secret" not in repr(config)


def test_a_hook_without_a_value_is_a_mistake_with_its_line():
    with pytest.raises(ConfigError, match="line 3: EventHook has no value"):
        parse(f"{TEXT}EventHook =\n", "sacip0")


@pytest.mark.parametrize(
    ("owner", "mode", "why"),
    [(0, 0o600, None), (0, 0o640, None), (0, 0o660, "others can write it"), (1, 0o600, "user 1")],
)
def test_only_a_file_that_nobody_but_root_can_write_commands(
    tmp_path, monkeypatch, owner, mode, why
):
    real = os.fstat

    def owned(descriptor):
        return os.stat_result((*real(descriptor)[:4], owner, *real(descriptor)[5:]))

    path = tmp_path / "sacip0.conf"
    path.write_text(f"{TEXT}EventHook = /bin/tell\n")
    path.chmod(mode)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fstat", owned)
        config = files.load(str(path), (tmp_path,))
    refusals = [text for text in config.warnings if "EventHook is left out" in text]
    assert len(config.interface.event_hooks) == (why is None)
    assert len(refusals) == (why is not None)
    for text in refusals:
        assert why in text
        assert f"chown root {path}; chmod go-w {path}" in text
