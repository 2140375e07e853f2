"""vizkit: open a convolutional network and see what it looks at, what its units look for and what it finds alike."""

from __future__ import annotations

from vizkit.datasets import Dataset, DatasetBase, DatasetOpener, ImageFolder, package_file
from vizkit.errors import BadImage, Cancelled, InvalidParameter, NotFound, NotSupported, TooLarge, VizkitError
from vizkit.hookspecs import hookimpl
from vizkit.images import Geometry
from vizkit.markers import (
    Cell,
    Channel,
    ChannelIndex,
    ClassIndex,
    ClassLabel,
    Direction,
    Extends,
    Image,
    Layer,
    LayerName,
    Position,
    QueryImage,
)
from vizkit.models import GivenModel, KerasModel, ModelAdapter
from vizkit.progress import Progress
from vizkit.registry import Registry
from vizkit.results import Result, Section
from vizkit.run import run
from vizkit.techniques import Runner, Technique, technique
from vizkit.types import Activations, ImageBatch, ImageRef, LayerInfo, Pool, Provenance, Rule, Selection, Size, Target
from vizkit.views import (
    Bars,
    Box,
    CellMap,
    Figure,
    Graph,
    GraphEdge,
    GraphNode,
    GridItem,
    Heatmap,
    ImageGrid,
    Lines,
    Link,
    Media,
    Note,
    Scatter,
    SimilarityOverlay,
    SpriteSheet,
    Table,
    Tree,
    TreeNode,
    View,
)
from vizkit.workspace import Workspace

__version__ = "0.1.0"

__all__ = [
    "Activations",
    "BadImage",
    "Bars",
    "Box",
    "Cancelled",
    "Cell",
    "CellMap",
    "Channel",
    "ChannelIndex",
    "ClassIndex",
    "ClassLabel",
    "Dataset",
    "DatasetBase",
    "DatasetOpener",
    "Direction",
    "Extends",
    "Figure",
    "Geometry",
    "GivenModel",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "GridItem",
    "Heatmap",
    "Image",
    "ImageBatch",
    "ImageFolder",
    "ImageGrid",
    "ImageRef",
    "InvalidParameter",
    "KerasModel",
    "Layer",
    "LayerInfo",
    "LayerName",
    "Lines",
    "Link",
    "Media",
    "ModelAdapter",
    "NotFound",
    "NotSupported",
    "Note",
    "Pool",
    "Position",
    "Progress",
    "Provenance",
    "QueryImage",
    "Registry",
    "Result",
    "Rule",
    "Runner",
    "Scatter",
    "Section",
    "Selection",
    "SimilarityOverlay",
    "Size",
    "SpriteSheet",
    "Table",
    "Target",
    "Technique",
    "TooLarge",
    "Tree",
    "TreeNode",
    "View",
    "VizkitError",
    "Workspace",
    "hookimpl",
    "package_file",
    "run",
    "technique",
]
