"""The picture of the README: curves of a run, and two views of three of its images, side by side.

stable-ssl train simclr_affine_digits && stable-ssl views simclr_affine_digits
python3 runs/bench/readme_picture.py outputs/simclr_affine_digits/curves.png outputs/Views-simclr_affine_digits.png OUT.png
"""

import sys

from PIL import Image

ROWS = 3  # of the six on the sheet of views

curves, sheet = (Image.open(path).convert("RGB") for path in sys.argv[1:3])
views = sheet.crop((0, 0, sheet.width, sheet.height * ROWS // 6))
height = 900
parts = [
    part.resize((part.width * height // part.height, height), Image.Resampling.LANCZOS) for part in (curves, views)
]
picture = Image.new("RGB", (sum(part.width for part in parts) + 40, height), "white")
picture.paste(parts[0], (0, 0))
picture.paste(parts[1], (parts[0].width + 40, 0))
picture.save(sys.argv[3], optimize=True)
