"""python3 -m images [--paths] [NAME ...]: build what is outdated, or say where the archives are."""

from __future__ import annotations

import argparse
import sys

import images


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m images", description=images.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(images.paths()))
    parser.add_argument("--paths", action="store_true", help="print the archives' paths and stop")
    given = parser.parse_args()
    for name in given.names:
        if name not in images.paths():
            parser.error(f"no image is called {name!r}; there are {', '.join(images.paths())}")
    if given.paths:
        print(
            "\n".join(
                path
                for name, path in images.paths().items()
                if name in (given.names or images.paths())
            )
        )
        return 0
    try:
        images.build(given.names)
    except images.ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
