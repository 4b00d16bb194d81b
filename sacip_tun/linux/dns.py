"""The tunnel's name servers: told to whoever resolves names on this host.

In this order: systemd-resolved, resolvconf, /etc/resolv.conf itself. Where none can be told, names
are resolved as before, and the caller says so.
"""

from dataclasses import dataclass

from sacip_tun.linux import resolv_conf, resolvconf, resolved
from sacip_tun.linux.undo import UndoLog
from sacip_tun.protocol.address import Host


@dataclass(frozen=True, slots=True)
class Names:
    """Servers and search domains; `exclusive`: nobody else is asked for anything."""

    servers: tuple[Host, ...]
    search: tuple[str, ...] = ()
    exclusive: bool = True

    @property
    def text(self) -> str:
        """The same in the grammar of resolv.conf(5)."""
        lines = [f"nameserver {server}\n" for server in self.servers]
        lines += [f"search {' '.join(self.search)}\n"] if self.search else []
        return "".join(lines)


def tell(interface: str, index: int, names: Names, log: UndoLog) -> str:
    """Tell the first who takes it, and return who that is.

    Raises OSError with what each of them said.
    """
    said = list[str]()
    for way in (_resolved, _resolvconf, _resolv_conf):
        try:
            told = way(interface, index, names, log)
        except OSError as error:
            said.append(str(error))
        else:
            if told:
                return told
    raise OSError("; ".join(said))


def _resolved(_interface: str, index: int, names: Names, _log: UndoLog) -> str:
    if not resolved.is_asked():
        return ""
    resolved.set_link(index, names.servers, names.search, exclusive=names.exclusive)
    return resolved.NAME


def _resolvconf(interface: str, _index: int, names: Names, log: UndoLog) -> str:
    if not resolvconf.is_there():
        return ""
    name = resolvconf.record_name(interface)
    log.remember("resolvconf", name=name)
    resolvconf.add(name, names.text)
    return "resolvconf"


def _resolv_conf(interface: str, _index: int, names: Names, log: UndoLog) -> str:
    return write_file(interface, names, log)


def write_file(interface: str, names: Names, log: UndoLog) -> str:
    """Write resolv.conf itself, and return its path. Raises OSError."""
    path, mark = resolv_conf.PATH, resolv_conf.marker(interface)
    if resolv_conf.is_ours(path, mark):
        log.confirm("resolv.conf")
    else:
        before = resolv_conf.state(path)
        log.remember("resolv.conf", resource=str(path), before=before, marker=mark)
        resolv_conf.keep(path, before)
    resolv_conf.write(path, mark + names.text)
    return str(path)
