"""`python -m baseward_emulator --port 0`: serve until standard input ends."""

import argparse
import os
import sys
import threading

# Before moto is imported: any region name will do, and no account needs 1,300 images and snapshots.
os.environ["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"

from . import mends  # noqa: E402
from .emulator import Emulator  # noqa: E402
from .server import Server  # noqa: E402
from .warmup import warm_up  # noqa: E402


def main() -> None:
    """Listen, say where on one line, and end with the parent."""
    parser = argparse.ArgumentParser(prog="baseward_emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    mends.install()
    warm_up()
    server = Server(arguments.port, Emulator())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
