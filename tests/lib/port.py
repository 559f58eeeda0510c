#!/usr/bin/env python3
"""A port of loopback that is free: below those that the system gives to clients, so that none of them takes it before its
server does. Run as a program it prints one."""
import random, socket


def free_port():
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


if __name__ == "__main__":
    print(free_port())
