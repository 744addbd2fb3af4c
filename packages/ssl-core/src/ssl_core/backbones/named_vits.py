"""The ViTs by name: their sizes, the patch size that fits an image, and what their options have to be."""

from ssl_core.backbones.vit import Pool, Positions, VisionTransformer
from ssl_core.errors import ConfigError


def fitting_patch_size(height: int, width: int) -> int | None:
    """Return the largest of 16, 8, 4, 2, 1 that divides both sides and leaves at least 8 patches on the shorter one.

    4 at 32 pixels, 8 at 64 and 96, 16 at 224; 1 only up to 16 pixels, where it is cheap; None where nothing fits.
    """
    for size in (16, 8, 4, 2, 1):
        if (
            height % size == width % size == 0
            and min(height, width) >= 8 * size
            and (size > 1 or max(height, width) <= 16)
        ):
            return size
    return None


# name -> width, depth, heads, as in DeiT (Touvron et al. 2021) and ViT (Dosovitskiy et al. 2021)
SIZES = {"vit_tiny": (192, 12, 3), "vit_small": (384, 12, 6), "vit_base": (768, 12, 12), "vit_large": (1024, 24, 16)}


def vit(
    name: str,
    image_shape: tuple[int, int, int],
    *,
    patch_size: int | None = None,
    pool: Pool = "class",
    width: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
    registers: int = 0,
    drop_path: float = 0.0,
    causal: bool = False,
    checkpointing: bool = False,
    positions: Positions = "sine_cosine",
) -> VisionTransformer:
    """Return a ViT of :data:`SIZES`. The options are those of :class:`VisionTransformer`; None: the default of the size.

    Without ``patch_size``, :func:`fitting_patch_size` chooses one.

    Raises
    ------
    ConfigError
        If the patch size does not divide the image, or the number of heads the width.
    """
    _, height, widthwise = image_shape
    size = fitting_patch_size(height, widthwise) if patch_size is None else patch_size
    if size is None:
        raise ConfigError(
            f"no patch size of 16, 8, 4 or 2 pixels divides {height} x {widthwise} into at least 8 patches a side",
            key="model.backbone",
            value=name,
            expected="model.backbone_options.patch_size, or resized images",
        )
    if height % size or widthwise % size:
        raise ConfigError(
            key="model.backbone_options.patch_size",
            value=size,
            expected=f"an integer that divides both sides of the image, {height} x {widthwise}",
        )
    default_width, default_depth, default_heads = SIZES[name]
    width, num_heads = width or default_width, num_heads or default_heads
    if width % num_heads or width % 4:
        raise ConfigError(
            key="model.backbone_options.width",
            value=width,
            expected=f"a multiple of 4 and of model.backbone_options.num_heads={num_heads}",
        )
    if positions == "rotary" and width // num_heads % 4:
        raise ConfigError(
            "positions=rotary rotates a quarter of the dimensions of a head each",
            key="model.backbone_options.num_heads",
            value=num_heads,
            expected=f"a number that divides width={width} into heads of a multiple of 4 dimensions",
        )
    sizes = size, width, depth or default_depth, num_heads
    return VisionTransformer(image_shape, *sizes, pool, registers, drop_path, causal, checkpointing, positions)
