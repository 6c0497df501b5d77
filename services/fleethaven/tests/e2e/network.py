"""The network between the processes of a cluster, in the hands of a test: connections can be held up, cut, and slowed down.

A front stands before each process that others connect to, and is what they are told; it passes bytes on. Who has connected tells
the kernel (/proc), so that one address serves all and yet each pair, and each direction, can be treated apart. That needs no
rights and no tools, only Linux; nothing else of the cluster knows of it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from instance import address

CHUNK, PIECES = 1 << 16, 64
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
# With this, closing a socket sends a reset.
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Trouble:
    """What befalls the bytes from one process to another: they wait, or they end the connection, or they come late."""

    held: bool = False
    reset: bool = False
    seconds: float = 0


FINE, HELD, CUT = Trouble(), Trouble(held=True), Trouble(reset=True)


class Network:
    """Fronts, and the troubles between them. `pids` names the processes that connect."""

    def __init__(self, pids: Callable[[], dict[str, int]]):
        self._pids = pids
        self._troubles: dict[tuple[str, str], Trouble] = {}
        self._changed = asyncio.Condition()
        self._open: dict[tuple[str, str], set[Connection]] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def front(self, name: str, target: str) -> str:
        """An address that leads to `target`, where the process `name` listens, now or later."""

        async def listen():
            async def accept(reader, writer):
                await self._accept(name, target, reader, writer)

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self._servers.append(server)
            return server.sockets[0].getsockname()[1]

        return f"127.0.0.1:{self._do(listen())}"

    def trouble(self, sources: Iterable[str], targets: Iterable[str], trouble: Trouble):
        """What is sent from any of `sources` to any of `targets` meets this from now on. Answers go the other way."""
        self._set({(source, target): trouble for source in sources for target in targets if source != target})

    def part(self, one: Iterable[str], other: Iterable[str], trouble: Trouble = HELD):
        """Parts two sides from each other, in both directions."""
        one, other = list(one), list(other)
        self.trouble(one, other, trouble)
        self.trouble(other, one, trouble)

    def mend(self):
        """Ends all troubles: what was held goes on."""

        async def mend():
            async with self._changed:
                self._troubles.clear()
                self._changed.notify_all()

        self._do(mend())

    def _set(self, troubles: dict[tuple[str, str], Trouble]):
        async def take():
            async with self._changed:
                self._troubles |= troubles
                self._changed.notify_all()
            for way, trouble in troubles.items():
                if trouble.reset:
                    for connection in list(self._open.get(way, ())):
                        connection.reset()

        self._do(take())

    def close(self):
        """Ends, once the processes have."""

        async def finish():
            for server in self._servers:
                server.close()
            if left := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(left, timeout=10)

        self.mend()
        self._do(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _accept(self, name: str, target: str, reader, writer):
        source = self._name_of(writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
        connection = Connection([writer])
        ways = [(source, name), (name, source)]
        if any(self._trouble(way).reset for way in ways):
            connection.reset()
            return
        try:
            # A held connection is made at once, as if the other end were reached: what waits is what is said on it.
            back, forth = await asyncio.open_connection(*address(target))
        except OSError:
            connection.reset()
            return
        connection.writers.append(forth)
        for way in ways:
            self._open.setdefault(way, set()).add(connection)
        pumps = [*self._pumps(ways[0], reader, forth), *self._pumps(ways[1], back, writer)]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
            if any(pump.exception() for pump in done):
                connection.reset()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            connection.close()
            for way in ways:
                self._open[way].discard(connection)

    def _pumps(self, way: tuple[str, str], reader, writer) -> list[asyncio.Task]:
        """Passes on what goes one way, its end included, each piece as late as it has to be."""
        pieces = asyncio.Queue(PIECES)

        async def read():
            data = b"."
            while data:
                data = await reader.read(CHUNK)
                await pieces.put((self._loop.time(), data))

        async def write():
            data = b"."
            while data:
                came, data = await pieces.get()
                late = came + self._trouble(way).seconds - self._loop.time()
                if late > 0:
                    await asyncio.sleep(late)
                if self._trouble(way).held:
                    async with self._changed:
                        await self._changed.wait_for(lambda: not self._trouble(way).held)
                writer.write(data)
                await writer.drain()
            writer.write_eof()

        return [asyncio.create_task(read()), asyncio.create_task(write())]

    def _trouble(self, way: tuple[str, str]) -> Trouble:
        return self._troubles.get(way, FINE)

    def _name_of(self, peer: tuple[str, int], front: tuple[str, int]) -> str:
        """Whose socket `peer` is; empty when it is nobody's, such as a command's."""
        inode = inode_of(peer, front)
        for name, pid in self._pids().items():
            if inode and inode in sockets_of(pid):
                return name
        return ""


class Connection:
    """The two sockets of a connection through a front."""

    def __init__(self, writers: list[asyncio.StreamWriter]):
        self.writers = writers

    def reset(self):
        for writer in self.writers:
            tcp = writer.get_extra_info("socket")
            if tcp.fileno() >= 0:
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def close(self):
        for writer in self.writers:
            writer.close()


def inode_of(own: tuple[str, int], other: tuple[str, int]) -> str | None:
    """The inode of the socket between two IPv4 addresses that has the first of them, as the kernel's socket diagnosis tells it
    (sock_diag(7)): looking through /proc/net/tcp takes a hundred times as long."""
    addresses = [socket.inet_aton(host) + bytes(12) for host, _ in (own, other)]
    ports = struct.pack(">HH", own[1], other[1])
    asked = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    asked += ports + addresses[0] + addresses[1] + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    header = struct.pack("=IHHII", 16 + len(asked), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.sendto(header + asked, (0, 0))
        answer = netlink.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] != SOCK_DIAG_BY_FAMILY:
        return None  # an error: the socket is gone
    return str(struct.unpack_from("=I", answer, 16 + 68)[0])


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    folder, found = f"/proc/{pid}/fd", set()
    try:
        for descriptor in os.listdir(folder):
            try:
                link = os.readlink(f"{folder}/{descriptor}")
            except OSError:
                continue  # closed meanwhile
            if link.startswith("socket:["):
                found.add(link[8:-1])
    except OSError:
        pass  # the process has ended
    return found
