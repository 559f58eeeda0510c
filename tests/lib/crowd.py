#!/usr/bin/env python3
"""crowd.py PORT N: strangers who connect to a port of loopback, say nothing, and stay until the standard input ends. Says how many
were greeted with the eight bytes that nng begins with; the others wait, or were shut out again."""
import socket, sys, time

crowd = []
for _ in range(int(sys.argv[2])):
    s = socket.socket()
    s.settimeout(1)
    try:
        s.connect(("127.0.0.1", int(sys.argv[1])))
        crowd.append(s)
    except OSError: # nobody accepts any more
        s.close()
time.sleep(1)
n = 0
for s in crowd:
    s.setblocking(False)
    try:
        n += len(s.recv(8)) == 8
    except OSError:
        pass
print(n, flush=True)
sys.stdin.read()
