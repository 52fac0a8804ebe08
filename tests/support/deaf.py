"""Runs a program deaf to changes of the machine's network: `python deaf.py PROGRAM FLAGS…`.

Chromium gives up connections that are being made (ERR_NETWORK_CHANGED) when the machine gets or
loses an address, as with every network of an engine. Where it gets no netlink socket it hears of
none, and takes itself for online.
"""

from __future__ import annotations

import errno
import os
import socket
import sys

import pyseccomp

rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
refused = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
rules.add_rule(refused, "socket", pyseccomp.Arg(0, pyseccomp.EQ, socket.AF_NETLINK))
rules.load()
os.execv(sys.argv[1], sys.argv[1:])
