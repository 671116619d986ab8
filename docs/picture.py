"""Write docs/demo.webp, the README's picture, from a demo.

convscope demo
python docs/picture.py [runs/demo]
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).with_name("demo.webp")
WIDTH = 1500  # pixels
QUALITY = 82  # keeps it below 400 kB


def main() -> None:
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    with Image.open(demo / "pictures" / "maps.png") as maps:
        height = round(maps.height * WIDTH / maps.width)
        picture = maps.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    picture.save(TARGET, quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
