"""A folder of images under the evaluation view of a run: a test set from elsewhere."""

from typing import Any

from ssl_data.loader import Loader
from ssl_data.sources import FolderSource


def loader_of_folder(template: Any, folder: str) -> tuple[Loader, list[str]]:
    """Return the loader of images in class folders, like another loader, and the names of the classes.

    Parameters
    ----------
    template : Loader
        Loader of the test or training images of a run; gives view, batch size and ranks.
    folder : str
        With a folder for each class: :class:`ssl_data.FolderSource`.

    Raises
    ------
    ValueError, FileNotFoundError
        If the folder is missing or has no class folders, or its images, 8-bit RGB, are not like those of the run.
    """
    source = FolderSource(folder, memory=0, key="folder")
    if not source.class_names:
        raise ValueError(
            f"folder={folder!r}: expected a folder for each class, found {len(source)} images without labels"
        )
    image = template.source.image(0)
    if (image.dtype, image.shape[2]) != ("uint8", 3):
        kind = f"{image.shape[2]} band{'s' * (image.shape[2] > 1)} of {image.dtype}"
        raise ValueError(f"folder={folder!r}: its images are RGB of uint8, those of the run have {kind}")
    loader = Loader(
        source, template.views, template.batch_size, shuffle=False, drop_last=False, seed=template.seed, rank=template.rank,
        world_size=template.world_size, num_workers=template.num_workers,
    )  # fmt: skip
    return loader, source.class_names
