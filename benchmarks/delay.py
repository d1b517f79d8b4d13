"""A proxy that makes the way to a server longer: ``python -m benchmarks.delay PORT SERVER_PORT SECONDS``.

Each piece of data is sent on SECONDS after it came, in either direction, and the next ones are read meanwhile: as on a long line, what is in flight
does not wait for what flies before it.
"""

import asyncio
import sys


async def serve(port: int, server_port: int, seconds: float) -> None:
    """Take connections on *port* of the loopback, until cancelled."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server_port)
        try:
            await asyncio.gather(_line(reader, back, seconds), _line(there, writer, seconds))
        finally:
            back.close()
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
        await server.serve_forever()


async def _line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """One direction of a connection, up to its end."""
    flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    await asyncio.gather(_taken(reader, flying, seconds), _given(writer, flying))


async def _taken(reader: asyncio.StreamReader, flying: asyncio.Queue[tuple[float, bytes]], seconds: float) -> None:
    now = asyncio.get_running_loop().time
    piece = b"any"
    while piece:
        try:
            piece = await reader.read(1 << 16)
        except ConnectionError:
            piece = b""
        # The end flies as well.
        flying.put_nowait((now() + seconds, piece))


async def _given(writer: asyncio.StreamWriter, flying: asyncio.Queue[tuple[float, bytes]]) -> None:
    now = asyncio.get_running_loop().time
    while True:
        due, piece = await flying.get()
        await asyncio.sleep(due - now())
        if not piece:
            break
        writer.write(piece)
    if not writer.is_closing():
        # The other direction may go on.
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
