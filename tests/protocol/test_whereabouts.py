"""Whereabouts: every place where the peer may be, and every pair of one family."""

from types import SimpleNamespace

from simulation import endpoint

from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.hygiene import Hygiene
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.whereabouts import Whereabouts

A4, B4, C4 = endpoint("192.0.2.1"), endpoint("192.0.2.2"), endpoint("192.0.2.3", 999)
A6, B6 = endpoint("2001:db8::1"), endpoint("2001:db8::2")
OURS4, OURS6, OTHER4 = endpoint("10.0.0.1"), endpoint("2001:db8:f::1"), endpoint("10.0.0.2")


def whereabouts(*sources: Source, active=A4, configured=None, candidates=()) -> Whereabouts:
    path = Path(active)
    path.local = path.local.of(sources[0].endpoint if sources else None)
    told, choice = SimpleNamespace(candidates=candidates), SimpleNamespace(sources=sources)
    return Whereabouts(path, told, choice, Hygiene(lambda _address: False), configured)


def test_each_destination_is_there_once_and_the_one_in_use_first() -> None:
    where = whereabouts(configured=B4, candidates=(A4, A6, B4))
    where._path.remote = where._path.remote.added(C4)
    assert where.destinations == (A4, C4, B4, A6)


def test_of_nobody_nothing_is_known() -> None:
    where = whereabouts(active=None)
    assert where.destinations == ()
    assert where.pairs() == []


def test_destinations_are_of_the_family_of_the_source() -> None:
    where = whereabouts(configured=A6, candidates=(B4, B6))
    assert where.destinations_for(OURS4) == (A4, B4)
    assert where.destinations_for(OURS6) == (A6, B6)
    assert where.destinations_for(None) == (A4, A6, B4, B6)


def test_pairs_are_of_one_family_and_the_one_in_use_is_first() -> None:
    sources = (Source(OURS4, 2), Source(OTHER4, 3), Source(OURS6, 2))
    where = whereabouts(*sources, candidates=(B4, A6))
    pairs = where.pairs()
    assert pairs[0] == (OURS4, A4)
    assert set(pairs) == {(OURS4, A4), (OURS4, B4), (OTHER4, A4), (OTHER4, B4), (OURS6, A6)}
    assert len(pairs) == 5


def test_without_facts_the_kernel_chooses_the_source() -> None:
    assert whereabouts(candidates=(A6,)).pairs() == [(None, A4), (None, A6)]


def test_the_link_is_asked_on_the_peers_ports_and_ipv6_on_the_interface() -> None:
    where = whereabouts(Source(OURS4, 2), configured=C4, candidates=(endpoint("192.0.2.9", 1),))
    groups = where.groups_on(Source(OURS4, 2))
    assert [str(group) for group in groups] == ["224.0.0.1:51820", "224.0.0.1:999"]
    (first, *_) = where.groups_on(Source(OURS6, 7))
    assert (str(first.host), first.interface) == ("ff02::1", 7)
