r"""The picture of the README: curves of a run, and two views of three of its images, side by side.

stable-ssl train simclr_affine_digits && stable-ssl views simclr_affine_digits rows=3
python3 runs/bench/readme_picture.py outputs/simclr_affine_digits/curves.png \
    outputs/Views-simclr_affine_digits-rows=3.png OUT.png
"""

import sys

from PIL import Image

HEIGHT = 900  # pixels

pictures = [Image.open(path).convert("RGB") for path in sys.argv[1:3]]
parts = [each.resize((each.width * HEIGHT // each.height, HEIGHT), Image.Resampling.LANCZOS) for each in pictures]
picture = Image.new("RGB", (sum(part.width for part in parts) + 40, HEIGHT), "white")
picture.paste(parts[0], (0, 0))
picture.paste(parts[1], (parts[0].width + 40, 0))
picture.save(sys.argv[3], optimize=True)
