"""TCP relays that spoil what passes: each listens where a DataNode is advertised and hands on to where it really is.

Towards the DataNode the last byte of every larger piece is changed while `spoils` is set; the way back is left alone.
"""

import selectors
import socket
import threading

# Smaller pieces (operation headers, acks, copies of nothing) pass unspoiled.
LEAST = 1500
PIECE = 1 << 16


class Relay:
    """Relays for several DataNodes, on one thread."""

    def __init__(self, pairs):
        """`pairs`: ((host, port) to listen on, (host, port) to connect to)."""
        self.spoils = False
        self.spoiled = 0
        self.selector = selectors.DefaultSelector()
        self.stop, self.wake = socket.socketpair()
        self.selector.register(self.stop, selectors.EVENT_READ, None)
        self.sockets = []
        for here, there in pairs:
            server = socket.create_server(here)
            self.sockets.append(server)
            self.selector.register(server, selectors.EVENT_READ, ("accept", there))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                what, other = key.data
                if what == "accept":
                    self.accept(key.fileobj, other)
                else:
                    self.carry(key.fileobj, other, what == "in")

    def accept(self, server, there):
        inner, _ = server.accept()
        try:
            outer = socket.create_connection(there, timeout=5)
        except OSError:
            inner.close()
            return
        for each in (inner, outer):
            each.settimeout(20)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets += [inner, outer]
        self.selector.register(inner, selectors.EVENT_READ, ("in", outer))
        self.selector.register(outer, selectors.EVENT_READ, ("out", inner))

    def carry(self, source, target, inwards):
        try:
            piece = bytearray(source.recv(PIECE))
            if piece:
                if inwards and self.spoils and len(piece) >= LEAST:
                    # Added, not flipped: the next relay of a pipeline would flip it back.
                    piece[-1] = (piece[-1] + 85) % 256
                    self.spoiled += 1
                target.sendall(piece)
                return
        except OSError:
            pass
        for each in (source, target):
            try:
                self.selector.unregister(each)
            except (KeyError, ValueError):
                pass
            each.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wake.send(b"x")
        self.thread.join()
        for each in self.sockets:
            each.close()
        self.selector.close()
        self.stop.close()
        self.wake.close()
