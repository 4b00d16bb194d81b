"""Peers in a file's text: what is added or removed, and that nothing else is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.config import ConfigError, editing, parse
from sacip_tun.protocol.keys import clamped, to_base64

KEYS = [to_base64(clamped(bytes([number]) * 32)) for number in range(1, 9)]
OWN, *OTHERS = KEYS
HEAD = f"# The hub at home.\n\n[Interface] # us\nPrivateKey = {OWN}\nAddress=10.9.0.1/24\n"
SECTION = ["[Peer]", "# Name = phone", f"PublicKey = {OTHERS[0]}", "AllowedIPs = 10.9.0.7/32"]
HOOK = "PostUp = echo [Peer] # PublicKey = x\n"


def peer(key: str, *more: str) -> str:
    return "".join(f"{line}\n" for line in ("[Peer]", f"PublicKey = {key}", *more))


def kept(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def test_a_peer_is_added_at_the_end_with_a_gap_and_nothing_else_changes():
    text = editing.with_peer(HEAD, SECTION)
    assert text == HEAD + "\n" + "".join(f"{line}\n" for line in SECTION)
    (place,) = editing.places(text)
    assert (place.name, place.allowed) == ("phone", ("10.9.0.7/32",))
    assert editing.without_peer(text, place) == HEAD


def test_a_file_without_a_last_end_of_line_and_one_of_windows():
    assert editing.with_peer("[Interface]", ["[Peer]"]) == "[Interface]\n\n[Peer]\n"
    text = editing.with_peer(HEAD.replace("\n", "\r\n"), SECTION)
    assert text.count("\n") == text.count("\r\n")
    assert len(parse(text, "hub").peers) == 1


def test_names_are_comments_of_two_kinds_and_a_hooks_text_is_no_section():
    text = HEAD + HOOK + "\n# friendly_name=tablet\n" + peer(OTHERS[0]) + "\n"
    text += peer(OTHERS[1], "#name =  big box  ") + peer(OTHERS[2])
    assert [place.name for place in editing.places(text)] == ["tablet", "big box", ""]
    assert editing.named(text, "big box").key == editing.named(text, OTHERS[1]).key
    with pytest.raises(ConfigError, match="no peer") as caught:
        editing.named(text, "phone")
    assert "tablet, big box" in caught.value.fix


def test_a_name_that_two_have_is_not_guessed():
    text = HEAD + peer(OTHERS[0], "# Name = a") + peer(OTHERS[1], "# Name = a")
    with pytest.raises(ConfigError, match="2 peers"):
        editing.named(text, "a")
    assert editing.named(text, OTHERS[1]).name == "a"


def test_comments_belong_to_the_section_below_unless_they_follow_a_setting():
    text = HEAD + "\n# the phone\n" + peer(OTHERS[0], "# its end") + "\n# the laptop\n"
    text += peer(OTHERS[1])
    after = editing.without_peer(text, editing.named(text, OTHERS[0]))
    assert after == HEAD + "\n# the laptop\n" + peer(OTHERS[1])


sections = st.lists(
    st.tuples(
        st.sampled_from(OTHERS),
        st.lists(st.sampled_from(["# a word", "", "AllowedIPs = 10.9.0.0/28", "Endpoint=a:1"])),
        st.sampled_from(["", "\n", "# above\n", "\n# above\n"]),
    ),
    unique_by=lambda made: made[0],
    max_size=6,
)


@given(sections, st.data())
def test_removing_takes_one_peer_and_leaves_every_other_line(made, data):
    text = HEAD + "".join(above + peer(key, *lines) for key, lines, above in made)
    places = editing.places(text)
    assert [to_base64(place.key) for place in places] == [key for key, _, _ in made]
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    after = editing.without_peer(text, place)
    gone, whole = parse(after, "hub"), parse(text, "hub")
    assert gone.interface == whole.interface
    assert gone.peers == tuple(peer for peer in whole.peers if peer.public_key != place.key)
    cut = text.split("\n")
    assert kept(after) == [line for line in cut[: place.first] + cut[place.end :] if line.strip()]


@given(sections)
def test_adding_leaves_every_line_and_every_peer(made):
    text = HEAD + "".join(above + peer(key, *lines) for key, lines, above in made)
    key = to_base64(clamped(bytes([99]) * 32))
    section = ["[Peer]", "# Name = new", f"PublicKey = {key}"]
    after = editing.with_peer(text, section)
    assert after.startswith(text)
    assert parse(after, "hub").peers[:-1] == parse(text, "hub").peers
    assert editing.without_peer(after, editing.named(after, "new")).rstrip() == text.rstrip()
