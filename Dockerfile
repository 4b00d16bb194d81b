# The one image of the lab in docker-compose.yml: sacip-tun, and what a host, a router and a NAT need.
FROM debian:bookworm-slim

RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    ca-certificates inetutils-inetd inetutils-telnet inetutils-telnetd iproute2 iputils-ping nftables \
    python3 python3-venv >/dev/null \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home --shell /usr/sbin/nologin sacip

# The dependencies first: a change of the source does not load them again. python-pytun has wheels
# for x86_64 alone: elsewhere there is a compiler in this layer, and at its end no longer.
WORKDIR /src
COPY pyproject.toml ./
RUN [ "$(uname -m)" = x86_64 ] || compiler="gcc libc6-dev python3-dev" \
 && if [ "${compiler:=}" ]; then apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends $compiler >/dev/null; fi \
 && python3 -m venv /opt/sacip-tun \
 && python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    >dependencies.txt \
 && /opt/sacip-tun/bin/pip install -q --no-cache-dir -r dependencies.txt \
 && if [ "$compiler" ]; then apt-get purge -y -qq --auto-remove $compiler >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/*; fi

COPY LICENSE README.md ./
COPY sacip_tun sacip_tun
RUN /opt/sacip-tun/bin/pip install -q --no-cache-dir . \
 && ln -s /opt/sacip-tun/bin/sacip-tun /usr/local/bin/

COPY containers/bin/ /usr/local/bin/
WORKDIR /
ENTRYPOINT ["part"]
