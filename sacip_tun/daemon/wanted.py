"""What a configuration wants of its host: rules, a firewall, name servers."""

from sacip_tun.config import Config, LeakProtection
from sacip_tun.linux import dns, interface
from sacip_tun.linux.firewall import Firewall
from sacip_tun.linux.policy import PRIVATE, Policy
from sacip_tun.linux.routes import Rule


def names_of(config: Config) -> dns.Names | None:
    """Return the name servers that a configuration brings, None where it has none."""
    servers, search = config.interface.dns_servers, config.interface.dns_search
    exclusive = bool(config.full_versions) or not search
    return dns.Names(servers, search, exclusive) if servers else None


def policy_of(config: Config, table: int, mark: int) -> Policy:
    """Return what a configuration wants of its rules."""
    settings = config.interface
    # Without IPv6 in the kernel there are no rules for it either.
    versions = config.full_versions if interface.IPV6.exists() else config.full_versions - {6}
    return Policy(
        versions,
        table,
        mark,
        strict=settings.leak_protection is LeakProtection.STRICT,
        closed=settings.kill_switch,
        excluded=settings.exclude_ips,
        local=settings.exclude_local,
    )


def firewall_of(config: Config, wanted: Policy, port: int) -> Firewall:
    """Return what a configuration wants of the firewall."""
    settings = config.interface
    excluded = settings.exclude_ips + (PRIVATE if settings.exclude_local else ())
    addresses = tuple(a for a in settings.addresses if a.version in wanted.versions)
    return Firewall(settings.name, addresses, port, wanted.mark, settings.kill_switch, excluded)


def described(rule: Rule) -> str:
    """Return the words of iproute2 that say the same as a rule."""
    words = ["ip", f"-{rule.version}", "rule", "add", "pref", str(rule.priority)]
    if rule.inverted:
        words.append("not")
    if rule.mask:
        words += ["fwmark", str(rule.mark)]
    if rule.destination is not None:
        words += ["to", str(rule.destination)]
    words += ["table", str(rule.table)]
    if rule.suppressed_length >= 0:
        words += ["suppress_prefixlength", str(rule.suppressed_length)]
    return " ".join(words)
