r"""The picture of the README: curves of a run, and two views of three of its images, side by side.

stable-ssl train simclr_affine_digits
python3 runs/bench/readme_picture.py outputs/simclr_affine_digits/curves.png OUT.png
"""

import sys
from io import BytesIO

from matplotlib.figure import Figure
from PIL import Image

from ssl_data import DataConfig
from ssl_eval.figures.style import paper

HEIGHT = 900  # pixels
ROWS = 3
DPI = 150

loader = DataConfig("affine_digits", views="digits", size=16).open(batch_size=256, seed=0).train
views, labels, ids = next(iter(loader))
with paper():
    figure = Figure((HEIGHT / DPI, HEIGHT / DPI), layout="constrained")
    axes = figure.subplots(ROWS, 3)
    for row, (label, index) in enumerate(zip(labels[:ROWS].tolist(), ids[:ROWS].tolist())):
        images = [loader.source.image(index)[..., 0], *(view[row, 0].float().numpy() for view in views)]
        for ax, image, title in zip(axes[row], images, ("image", "view 1", "view 2")):
            ax.imshow(image, cmap="gray")
            ax.set(xticks=[], yticks=[])
            if row == 0:
                ax.set_title(title, fontsize=14)
        axes[row][0].set_ylabel(f"digit {label}", fontsize=14)
    file = BytesIO()
    figure.savefig(file, dpi=DPI, bbox_inches=None)

pictures = [Image.open(each).convert("RGB") for each in (sys.argv[1], file)]
parts = [each.resize((each.width * HEIGHT // each.height, HEIGHT), Image.Resampling.LANCZOS) for each in pictures]
picture = Image.new("RGB", (sum(part.width for part in parts) + 40, HEIGHT), "white")
picture.paste(parts[0], (0, 0))
picture.paste(parts[1], (parts[0].width + 40, 0))
picture.save(sys.argv[2], optimize=True)
