"""`folder:PATH`: a person's own pictures, one subfolder a class or none."""

from __future__ import annotations

from collections.abc import Iterable

import vizkit as vk


class FolderOpener:
    """Opens `folder:PATH`; PATH may begin with `~`. The dataset is called after the folder, never by its path."""

    scheme = "folder"
    title = "A folder of pictures"
    description = (
        "The JPEG, PNG, WebP, BMP, TIFF and GIF files of a folder on this computer and of its subfolders; the first "
        "subfolder is the label. What cannot be opened is listed with its reason."
    )

    def open(self, argument: str, alias: str | None = None) -> vk.ImageFolder:
        """The folder. It is looked into when its pictures are asked for: VizkitError where it is missing or has none."""
        if not argument.strip():
            raise vk.VizkitError("folder: lacks a path. Write folder:PATH, for example folder:~/Pictures")
        return vk.ImageFolder(argument, alias or "")


@vk.hookimpl
def register_datasets() -> Iterable[vk.DatasetOpener]:
    """The opener of `folder:PATH`."""
    return [FolderOpener()]
