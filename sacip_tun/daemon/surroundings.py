"""The surroundings: what a tunnel needs of its host beside its own interface.

Rules and a firewall for a full tunnel, a sysctl, name servers. None of it goes with the process, so
each step is written into the undo log first, and every start undoes what a killed one left.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sacip_tun.config import Config
from sacip_tun.daemon.due import COMMANDS, Due
from sacip_tun.daemon.leftovers import index_of, leftovers, recover_names
from sacip_tun.daemon.setup import leads_on, routes_of
from sacip_tun.daemon.wanted import described, firewall_of, names_of, policy_of
from sacip_tun.linux import (
    dns,
    dns_query,
    firewall,
    interface,
    policy,
    resolv_conf,
    resolved,
    sysctl,
)
from sacip_tun.linux.errors import InterfaceError
from sacip_tun.linux.firewall import Firewall
from sacip_tun.linux.policy import Policy
from sacip_tun.linux.routes import Network, Rule
from sacip_tun.linux.snapshot import Snapshot
from sacip_tun.linux.undo import UNDO, UndoLog, locked, logs
from sacip_tun.protocol.address import Host

# The step that stays when a tunnel was killed: what it shut stays shut until somebody opens it.
KILL_SWITCH = "kill-switch"
KEPT = frozenset({KILL_SWITCH})
# The step that only has to be known: which table is whose.
TABLE = "table"
# What is undone when other name servers come.
NAMES = frozenset({"resolv.conf", "resolvconf"})
# What stays of another one that was killed, for its own start and for `cleanup`.
STAYS = (
    (KILL_SWITCH, "the kill switch", "is still on"),
    (COMMANDS, "PostDown", "is still to be run"),
)
# What stays for the process that comes next, when that one shall find this host shut.
SHUT = frozenset(UNDO) - NAMES


class Surroundings:
    """Those of one interface. `trace` is told each step as the command that does the same."""

    def __init__(self, interface: str, directory: Path, trace: Callable[[str], None]) -> None:
        self._interface = interface
        self._directory = directory
        self._trace = trace
        self._log = UndoLog(directory, interface)
        self.policy: Policy | None = None
        self.firewall: Firewall | None = None
        """What it should be."""
        self._laid: Firewall | None = None
        """What it was when it was laid last."""
        self.resolver: str | None = None
        """Who was told the name servers."""
        self.warnings: list[str] = []
        self.names: dns.Names | None = None
        """Those that the file wants, told to `resolver`, or to nobody where that is None."""
        self._routes: tuple[Network, ...] = ()
        self.adopted = False
        """Whether all that an earlier process did is still there, and its interface too."""
        self.held = False
        """Whether an earlier process left the kill switch on."""
        self.commands_were_run = False
        """Whether PreUp and PostUp of an earlier process were, and nothing undid them."""
        self.due = Due(interface)
        """What an earlier process that was killed, and its interface with it, left to be run."""
        self._expected: tuple[Rule, ...] = ()
        self._before = ""
        """What resolv.conf said before anybody was told of ours."""

    def begin(self, config: Config, *, kept: bool) -> Policy | None:
        """Sweep, and choose what `plan` returns; nobody else does either meanwhile.

        `kept` says that the interface of an earlier process is there and taken back.
        """
        with locked(self._directory):
            self.sweep(kept=kept)
            self.policy = self.plan(config)
            self._promise()
        return self.policy

    def plan(self, config: Config) -> Policy | None:
        """Choose the table and the mark of a full tunnel; None where it is none. Raises OSError.

        A full tunnel that is up keeps its table, and so does one that was killed and kept.
        """
        if not config.full_versions:
            return None
        mark = config.interface.fwmark
        table = self.policy.table if self.policy else self._free_table(mark)
        return policy_of(config, table, mark or table)

    def _free_table(self, mark: int) -> int:
        others = [log for log in logs(self._directory) if log.interface != self._interface]
        return policy.free_table(
            Snapshot.taken(),
            mark,
            own=index_of(self._interface),
            before=next(iter(_tables(self._log)), 0) if self.adopted else 0,
            promised=[table for log in others if log.is_here for table in _tables(log)],
        )

    def _promise(self) -> None:
        if self.policy is not None:
            self._log.remember(TABLE, table=self.policy.table)

    def sweep(self, *, kept: bool = False) -> None:
        """Undo what was left by those that were killed, this interface before all others.

        A kill switch of ours stays until we are up. Where the interface was `kept`, all stays that
        belongs to it: without it packets would leave in clear until we are up.
        """
        steps = self._log.kinds
        if self._log.is_here:
            self.adopted, self.held = kept, KILL_SWITCH in steps
            self.commands_were_run = kept and COMMANDS in steps
            self.due = self.due if kept else Due.of(self._log)
            ours = resolv_conf.is_ours(resolv_conf.PATH, resolv_conf.marker(self._interface))
            stays = frozenset(UNDO) - (frozenset() if ours else {"resolv.conf"})
            self.warnings += self._log.undo(keep=stays if kept else KEPT)
        else:
            # Rules of another network namespace are nobody's here, but files may be the same.
            self._log.undo_only(NAMES)
            self._log.write([])
        for log in leftovers(self._directory):
            # One whose interface is there is kept by a service manager, which starts it again.
            if log.interface == self._interface or index_of(log.interface):
                continue
            self.warnings += log.undo(keep=KEPT | {COMMANDS})
            left = log.kinds
            self.warnings += [
                f"{what} of {log.interface}, which was killed, {how}: "
                f"sacip-tun cleanup {log.interface}"
                for kind, what, how in STAYS
                if kind in left
            ]
        recover_names(self._directory)

    def put_up(self, config: Config, index: int, port: int) -> None:
        """Do it all. Raises InterfaceError, OSError."""
        if self.policy is not None:
            self._routes = tuple(routes_of(config, self.policy)[self.policy.table])
            self._shut(config, self.policy, port)
            self._heed_marks()
            self.change_rules(None, self.policy)
        self.tell_names(config, index)
        self.warnings += self._log.undo_stale()

    @property
    def is_shut(self) -> bool:
        """Whether the kill switch is on."""
        return KILL_SWITCH in self._log.kinds

    @property
    def is_left(self) -> bool:
        """Whether anything is there that is still to be undone."""
        return bool(self._log.steps())

    def commands_run(self, config: Config) -> None:
        """Write down that PreUp and PostUp were run, and what is to be run in the end."""
        Due.by(config).remember(self._log)

    def commands_over(self) -> None:
        """Forget it: it is being done."""
        self._log.drop(COMMANDS)

    def take_down(self, keep: frozenset[str] = frozenset()) -> list[str]:
        """Undo all that was done but kinds to `keep`; returns what could not be undone.

        Nothing is put back then.
        """
        self.policy = self.firewall = self._laid = self.resolver = self.names = None
        return self._log.undo(keep=keep)

    def follow(self, config: Config, port: int, mark: int) -> None:
        """Let the firewall and the rules be about another port and mark. Raises as `put_up`."""
        if self.policy is None:
            return
        old, self.policy = self.policy, policy_of(config, self.policy.table, mark)
        self.change_rules(old, self.policy)
        self._expect_no_more()
        self._shut(config, self.policy, port)

    def _expect_no_more(self) -> None:
        for rule in self._expected:
            self._delete_rule(rule)
        self._expected = ()

    def expect(self, mark: int) -> None:
        """Let our datagrams with another mark leave too, until `follow`. Raises as `put_up`.

        Without that they would enter the tunnel, or be dropped by the kill switch. Where it fails,
        nothing is changed.
        """
        if self.policy is None:
            return
        self._expected = self.policy.passing(mark)
        try:
            for rule in self._expected:
                self._add_rule(rule)
            if self.firewall is not None and self.firewall.kill_switch:
                self._lay(replace(self.firewall, also=mark))
        except (InterfaceError, OSError):
            self._expect_no_more()
            raise

    def change(self, config: Config, wanted: Policy | None, index: int, port: int) -> None:
        """Go over to another configuration while the tunnel runs. Raises as `put_up`."""
        old, self.policy = self.policy, wanted
        self._routes = tuple(routes_of(config, wanted)[wanted.table]) if wanted else ()
        if wanted is not None:
            self._promise()
            self._shut(config, wanted, port)
        if wanted is not None and old is None:
            self._heed_marks()
        self.change_rules(old, wanted)
        if wanted is None:
            self._log.undo_only(frozenset({"sysctl", TABLE}))
        if old is not None:
            gone = set(old.dead_ends) - set(wanted.dead_ends if wanted else ())
            for network in gone:
                policy.delete_dead_end(network, old.table)
                self._log.forget("dead-end", network=str(network), table=old.table)
        if wanted is None and self.firewall is not None:
            firewall.remove(self._interface)
            self.firewall = self._laid = None
            self._log.drop("firewall")
            self._log.drop(KILL_SWITCH)
        if names_of(config) != self.names:
            self._forget_names(index)
            self.tell_names(config, index)

    def _forget_names(self, index: int) -> None:
        if self.names is not None and self.resolver == resolved.NAME:
            resolved.revert_link(index)
        self._log.undo_only(NAMES)
        self.names = self.resolver = None

    def change_rules(self, old: Policy | None, new: Policy | None) -> None:
        """Go from the rules of one policy to those of another, the new ones first."""
        before = old.rules if old else ()
        after = new.rules if new else ()
        for rule in policy.missing(after, before):
            self._add_rule(rule)
        for rule in policy.missing(before, after):
            self._delete_rule(rule)

    def missing_routes(self, snapshot: Snapshot, index: int) -> list[Network]:
        """Return what is not in the tunnel's own table any more."""
        if self.policy is None or not (index in snapshot.links and snapshot.links[index].up):
            return []
        there = {
            route.destination
            for route in snapshot.routes
            if route.table == self.policy.table and route.interface == index
        }
        missing = [network for network in self._routes if network not in there]
        return interface.carried(index, missing)

    def put_back(self, snapshot: Snapshot, index: int) -> list[str]:
        """Add what others took away; returns what that was. Raises InterfaceError, OSError."""
        if self.policy is None:
            return []
        rules = policy.missing(self.policy.rules, snapshot.rules)
        for rule in rules:
            policy.add_rule(rule)
        routes = self.missing_routes(snapshot, index)
        interface.add_routes(index, routes, self.policy.table, gateways=leads_on(self.policy))
        for network in self.policy.dead_ends:
            policy.add_dead_end(network, self.policy.table)
        return (["rules"] if rules else []) + (["routes"] if routes else [])

    def names_are_gone(self) -> bool:
        """Tell whether another program wrote a resolv.conf over ours."""
        path = resolv_conf.PATH
        # Not where another tunnel wrote it: the last one that came up is right.
        return self.resolver == str(path) and not resolv_conf.is_ours(path, resolv_conf.SIGN)

    def tell_again(self) -> None:
        """What somebody wrote meanwhile is what comes back when the tunnel goes."""
        if self.names is not None:
            self._log.drop("resolv.conf")
            dns.write_file(self._interface, self.names, self._log)

    def outside(self) -> Callable[[str], list[Host]] | None:
        """Return what looks a name up outside of the full tunnel, in a thread; None without one."""
        if self.policy is None:
            return None
        mark = self.policy.mark
        return lambda name: dns_query.look_up(name, self._outer_servers(), mark)

    def _outer_servers(self) -> list[Host]:
        """Return the name servers of the network outside, as of now."""
        text = ""
        before = [step["before"] for step in self._log.of("resolv.conf")]
        if before:
            text = dns_query.text_of(before[0])
        elif resolved.is_asked():
            text = resolved.UPLINKS.read_text(errors="replace")
        elif self.resolver is None:
            text = resolv_conf.PATH.read_text(errors="replace")
        ours = set(self.names.servers) if self.names else set[Host]()
        return [host for host in dns_query.servers_of(text or self._before) if host not in ours]

    def tell_names(self, config: Config, index: int) -> None:
        """Tell this host the tunnel's name servers; where nobody takes them, warn."""
        names = self.names = names_of(config)
        if names is None:
            return
        with suppress(OSError):
            self._before = resolv_conf.PATH.read_text(errors="replace")
        try:
            self.resolver = dns.tell(self._interface, index, names, self._log)
        except OSError as error:
            self.warnings.append(
                f"DNS is not set, names are resolved as before: {error}; "
                "install systemd-resolved or openresolv, or leave DNS out"
            )
        else:
            self._trace(f"{self.resolver} <- {names.text.strip().replace(chr(10), '; ')}")

    def _shut(self, config: Config, wanted: Policy, port: int) -> None:
        """Put the firewall in. With the kill switch it must be; without, its lack is a warning.

        Where there is one already it is changed or stays as it is, and `firewall` says what it
        should be.
        """
        before, self.firewall = self.firewall, firewall_of(config, wanted, port)
        kind, other = KILL_SWITCH, "firewall"
        if not self.firewall.kill_switch:
            kind, other = other, kind
        is_new = kind not in self._log.kinds
        self._log.remember(kind, interface=self._interface)
        self._trace(f"nft -f - # table inet {firewall.table_name(self._interface)}")
        try:
            if self.firewall != self._laid:
                self._lay(self.firewall)
        except InterfaceError as error:
            if is_new:
                self._log.drop(kind)  # nft does all or nothing
            if self.firewall.kill_switch or before is not None:
                raise
            self.firewall = None
            self.warnings.append(
                f"{error.cause}: packets to the tunnel's address that come by other interfaces "
                f"are not dropped; {error.fix}"
            )
        else:
            self._log.drop(other)
        for network in wanted.dead_ends:
            self._log.remember("dead-end", network=str(network), table=wanted.table)
            policy.add_dead_end(network, wanted.table)

    def lay_firewall(self) -> None:
        """Lay what should be there again. Raises InterfaceError."""
        if self.firewall is not None:
            self._lay(self.firewall)

    def _lay(self, wanted: Firewall) -> None:
        firewall.install(wanted)
        self._laid = wanted

    def _heed_marks(self) -> None:
        """Let a strict reverse path filter see marks; where that cannot be set, go on."""
        name = sysctl.SRC_VALID_MARK
        try:
            before = sysctl.read(name)
            self._log.remember("sysctl", resource=name, before=before)
            if before != "1":
                self._trace(f"sysctl -q net.{name.replace('/', '.')}=1")
                sysctl.write(name, "1")
        except OSError as error:
            self.warnings.append(
                f"net.{name.replace('/', '.')} cannot be set ({error.strerror}): where rp_filter "
                "is 1, set it to 2, or nothing comes back"
            )

    def _delete_rule(self, rule: Rule) -> None:
        policy.delete_rule(rule)
        self._log.forget_rule(rule)

    def _add_rule(self, rule: Rule) -> None:
        self._log.rule(rule)
        self._trace(described(rule))
        try:
            policy.add_rule(rule)
        except OSError as error:
            raise InterfaceError(
                f"the rule cannot be added: {described(rule)}: {error.strerror}", "see `ip rule`"
            ) from error


def _tables(log: UndoLog) -> list[int]:
    return [step["table"] for step in log.of(TABLE)]
