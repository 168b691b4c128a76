"""The command, as `distill` or `python -m distill`."""

import os
import signal


def main() -> int:
    """Run one command; returns its exit code. While it is loaded there is nothing that a signal could break off."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from distill import cli

    return cli.main()


def _leave(number: int, _: object) -> None:
    name = "Ctrl-C" if number == signal.SIGINT else f"signal {number}"
    os.write(2, f"error: stopped by {name}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main())
