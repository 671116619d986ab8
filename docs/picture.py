"""Write docs/demo.webp, the README's picture, from a demo.

Above, feature maps of the demo's network: the image patches that excite them most, their
spotlights and projections. Below, a scene under the occluder: where the network's answer rests.

convscope demo
python docs/picture.py [runs/demo]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from convscope.atlas.store import open_atlas
from convscope.report.feature_grid import feature_grid_figure, feature_grid_words
from convscope.report.style import figure_bytes

TARGET = Path(__file__).with_name("demo.webp")
LAYERS = ("conv1", "conv3", "conv5")
WIDTH, SEAM = 1500, 24  # pixels
QUALITY = 82  # keeps it below 300 kB


def main() -> None:
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    atlas = open_atlas(demo / "atlas")
    words = feature_grid_words(atlas)
    plate = feature_grid_figure(
        atlas, layers=LAYERS, maps=3, title="What excites a feature map", subtitle=words
    )
    with Image.open(io.BytesIO(figure_bytes(plate))) as maps:
        above = _scaled(maps)
    with Image.open(sorted(demo.glob("pictures/occlusion-*.png"))[0]) as occlusion:
        below = _scaled(occlusion)
    picture = Image.new("RGB", (WIDTH, above.height + SEAM + below.height), "white")
    picture.paste(above, (0, 0))
    picture.paste(below, (0, above.height + SEAM))
    picture.save(TARGET, quality=QUALITY, method=6)


def _scaled(picture: Image.Image) -> Image.Image:
    height = round(picture.height * WIDTH / picture.width)
    return picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
