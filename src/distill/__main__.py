"""The entry point of `distill` and `python -m distill`."""

import os
import signal


def main() -> int:
    """Run one command; return its exit code. A signal that arrives during the imports ends the process at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    from distill import cli

    return cli.main()


def _exit(number: int, _: object) -> None:
    name = "Ctrl-C" if number == signal.SIGINT else f"signal {number}"
    os.write(2, f"error: stopped by {name}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main())
