"""wg-quick's grammar: lines to entries."""

import pytest

from sacip_tun.config import ConfigError, Entry, Section
from sacip_tun.config.grammar import KEYS, entries_of

# Every key of wg(8)'s and wg-quick(8)'s manual pages.
WG_QUICK = {
    "PrivateKey", "ListenPort", "FwMark", "Address", "DNS", "MTU", "Table", "PreUp", "PostUp",
    "PreDown", "PostDown", "SaveConfig", "PublicKey", "PresharedKey", "AllowedIPs", "Endpoint",
    "PersistentKeepalive",
}  # fmt: skip


def entries(text):
    return [(entry.where, entry.key, entry.value) for entry in entries_of(text)]


def failure(text):
    with pytest.raises(ConfigError) as caught:
        list(entries_of(text, "a.conf"))
    return caught.value


OURS = {
    "Dscp",
    "EventHook",
    "ExcludeIPs",
    "HoldMegabytes",
    "KillSwitch",
    "LeakProtection",
    "Nat",
    "Offload",
    "Relay",
    "ResendMegabytes",
    "Sacip",
}


def test_every_key_of_wg_quick_is_known_and_some_of_our_own():
    names = {key.name for rows in KEYS.values() for key in rows.values()}
    assert names == WG_QUICK | OURS


def test_sections_and_keys_are_case_insensitive_and_spaces_are_dropped():
    text = "[interface]\r\n  listenPORT=7 \r\n\n\t[ PEER ]\nallowedips\t=\t10.0.0.0/8\n"
    assert entries(text) == [
        (1, "", ""),
        (2, "ListenPort", "7"),
        (4, "", ""),
        (5, "AllowedIPs", "10.0.0.0/8"),
    ]


def test_comments_end_a_line_but_not_a_hook():
    text = "#x\n[Interface] # y\nMTU = 1400 # z\nPostUp = echo a # b = %i\n"
    assert entries(text) == [(2, "", ""), (3, "MTU", "1400"), (4, "PostUp", "echo a # b = %i")]


def test_an_event_hook_keeps_what_looks_like_a_comment():
    text = "[Interface]\neventhook = moved: /bin/tell '#1' %i\n"
    assert entries(text)[1:] == [(2, "EventHook", "moved: /bin/tell '#1' %i")]


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert entries("\ufeff[Peer]\n") == [(1, "", "")]


def test_a_value_may_hold_an_equals_sign():
    key = "A" * 43 + "="
    assert entries(f"[Peer]\nPublicKey={key}") == [(1, "", ""), (2, "PublicKey", key)]


@pytest.mark.parametrize(
    ("text", "line", "cause", "fix", "nearest"),
    [
        ("[Interface]\nAdress = 1", 2, "unknown key 'Adress'", "did you mean Address?", "Address"),
        ("[Peer]\nAllowedIP = 1", 2, "unknown key 'AllowedIP'", "AllowedIPs?", "AllowedIPs"),
        ("[Peer]\n\nEndpiont = 1", 3, "unknown key 'Endpiont'", "Endpoint?", "Endpoint"),
        ("[Peer]\nzzz = 1", 2, "unknown key 'zzz'", "its keys are PublicKey, Preshared", None),
        ("[Peer]\nListenPort=1", 2, "ListenPort stands in [Peer]", "in [Interface]", "ListenPort"),
        ("[Interface]\nendpoint=1", 2, "Endpoint stands in [Interface]", "[Peer]", "Endpoint"),
        ("[Peers]", 1, "'[Peers]' is not a section", "did you mean [Peer]?", "Peer"),
        ("[x]", 1, "'[x]' is not a section", "there are [Interface] and [Peer]", None),
        ("[Interface", 1, "not a section", "[Interface]?", "Interface"),
        ("MTU = 1400", 1, "'MTU' stands before any section", "[Interface] or [Peer]", None),
        ("[Peer]\nhello", 2, "is not 'Key = value'", "'#'", None),
        ("[Peer]\n= 5", 2, "is not 'Key = value'", "'#'", None),
        ("[Peer]\nEnd\x00point = 1", 2, "control character", "plain text", None),
        ("[Peer]\nPublicKey = <B's key>", 2, "PublicKey is still a placeholder", "fill in", None),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_key(text, line, cause, fix, nearest):
    error = failure(text)
    assert (error.line, error.nearest, error.source) == (line, nearest, "a.conf")
    assert cause in error.cause
    assert fix in error.fix
    assert str(error).startswith(f"a.conf, line {line}: ")


def test_a_hook_may_hold_what_looks_like_a_placeholder():
    assert entries("[Interface]\nPostUp = cat <a >b")[1] == (2, "PostUp", "cat <a >b")


def test_an_entry_shows_no_value():
    assert "secret" not in repr(Entry(1, Section.INTERFACE, "PrivateKey", "secret"))
