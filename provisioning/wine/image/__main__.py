"""`python -m provisioning.wine.image --cache DIR`: builds the image of real terminals and prints its name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from provisioning.wine.image.base import import_base
from provisioning.wine.image.build import BASE, build_image, image_name
from provisioning.wine.tools import WineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the image as one line of JSON. Exit code 2 when it cannot be built, with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m provisioning.wine.image", description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(".cache/wine"), help="folder for the Windows Python")
    parser.add_argument("--base", default=BASE, help="image of Debian 12 to build on")
    parser.add_argument(
        "--make-base",
        action="store_true",
        help="make the base image with debootstrap; needs root and no image registry",
    )
    parser.add_argument("--name-only", action="store_true", help="do not build")
    options = parser.parse_args(arguments)
    try:
        if not options.name_only:
            if options.make_base:
                import_base(options.base, _progress)
            build_image(options.cache, _progress, options.base)
        sys.stdout.write(json.dumps({"image": image_name()}) + "\n")
    except (WineError, OSError) as error:
        sys.stderr.write(f"python -m provisioning.wine.image: {error}\n")
        return 2
    return 0


def _progress(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
