"""The certified package: what a certificate needs, beside a model package or alone.

``certification.json`` names the method, its settings and the graphs, with a sha256 over all of it: whoever reads a
verdict with this hash knows what was assumed. The file format is described in docs/certification.md.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.linear_head import LinearHead
from l4edge_compression.defense.masking import DoubleMask, MaskSettings, OneMask
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.defense.windows import Pair, pixel_windows
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_bytes, write_text
from l4edge_perception.graphs import graph_signature
from l4edge_perception.json_records import from_json
from l4edge_perception.packages import MANIFEST, load_package

FORMAT = "l4edge-certification"
VERSION = 1
FILE = "certification.json"

GRAPHS = {
    "scalecert": ("stem", "head"),
    "linear_head": ("stem", "head"),
    "one_mask": ("classifier",),
    "double_mask": ("classifier",),
}
"""Method: the parts it needs. All are ONNX graphs but the head of linear_head, an .npz with weight and bias."""


Settings = Union[ScaleCertSettings, MaskSettings]


@dataclass(frozen=True)
class PartFile:
    """A file of the package: its name inside the folder and its sha256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class CertifiedPackage:
    """What a certificate needs; everything in it has been checked.

    Attributes:
        path: the folder.
        method: a key of ``GRAPHS``.
        settings: ScaleCertSettings, or MaskSettings for the methods that mask pixels.
        classes: names of the logits.
        parts: part and its file.
        hash: sha256 over method, settings, classes, level and the hashes of all parts.
        level: the level of the model package in the same folder that was made from the same network, or None.
        level_sha256: of that level's graph.
        measured: what was measured of it, such as rates and how.
        provenance: how it was made.
    """

    path: Path
    method: str
    settings: Any
    classes: Tuple[str, ...]
    parts: Mapping[str, PartFile]
    hash: str = ""
    level: Optional[str] = None
    level_sha256: Optional[str] = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def patch(self) -> Pair:
        """Largest patch, (h, w) in pixels of the network's input."""
        return self.settings.patch

    def read(self, part: str) -> bytes:
        """The content of a part. Raises InputError if it is missing or not the one that was certified."""
        entry = self.parts[part]
        path = self.path / entry.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {part} cannot be read ({error}); copy the package again") from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise InputError(f"{path}: sha256 differs from parts.{part}.sha256 in {FILE}; copy the package again")
        return content

    def verify(self) -> bool:
        """Whether the files on the disk are still those that were loaded. Reads and hashes; no session is made."""
        try:
            content = json.loads((self.path / FILE).read_text(encoding="utf-8"))
            for part in self.parts:
                self.read(part)
        except (InputError, OSError, ValueError):
            return False
        return isinstance(content, dict) and content.get("hash") == self.hash == _hash(content)

    def certifier(self, threads: int = 1, batch: int = 8) -> Certifier:
        """The certification, on onnxruntime sessions, ready to be used by one thread.

        Args:
            threads: of the CPU provider inside one operator.
            batch: most views of one call; smaller ones can be ended sooner.
        """
        settings = self.settings
        if self.method in ("one_mask", "double_mask"):
            kind = OneMask if self.method == "one_mask" else DoubleMask
            fill = settings.fill if len(settings.fill) > 1 else settings.fill[0]
            covering = pixel_windows(settings.input_size, settings.patch, settings.counts)
            classify = graph_runner(self.read("classifier"), threads, str(self.path))
            return kind(classify, covering, fill, settings.confidence, settings.margin, settings.layout, batch)
        stem = graph_runner(self.read("stem"), threads, str(self.path))
        if self.method == "linear_head":
            weight, bias = _linear(self.read("head"), str(self.path / self.parts["head"].name))
            return LinearHead(stem, weight, bias, settings)
        return ScaleCert(stem, graph_runner(self.read("head"), threads, str(self.path)), settings, batch)


def load_certified(folder: Union[str, Path]) -> CertifiedPackage:
    """Read and check a certified package.

    Raises:
        InputError: naming file and field, for anything that cannot be trusted: a missing or malformed file, an unknown
            version or method, settings out of range, a part that is missing or altered, a hash that does not fit.
    """
    folder = Path(folder)
    file = folder / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; name the folder of a certified package") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not readable JSON ({error}); copy the package again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(f"{file}: fields format and version: must be {FORMAT!r} and {VERSION}")
    known = {name: value for name, value in content.items() if name not in ("format", "version", "path")}
    package = from_json(CertifiedPackage, dict(known, path=folder), str(file))
    if package.method not in GRAPHS or set(package.parts) != set(GRAPHS[package.method]):
        raise InputError(f"{file}: field method: {package.method!r} with parts {sorted(package.parts)} is unknown here")
    if package.hash != _hash(content):
        raise InputError(f"{file}: field hash: does not fit the rest of the file; copy the package again")
    if any(Path(entry.name).name != entry.name for entry in package.parts.values()):
        raise InputError(f"{file}: field parts: must be names of files inside the package")
    kind = MaskSettings if package.method in ("one_mask", "double_mask") else ScaleCertSettings
    try:
        package = _with(package, settings=from_json(kind, package.settings, str(file), "settings"))
    except InputError as error:
        raise InputError(str(error) if str(file) in str(error) else f"{file}: settings: {error}") from error
    _check_parts(package)
    _check_level(package, str(file))
    return package


def write_certified(
    folder: Union[str, Path],
    method: str,
    settings: Settings,
    parts: Mapping[str, bytes],
    classes: Tuple[str, ...],
    level: Optional[str] = None,
    measured: Optional[Mapping[str, Any]] = None,
    provenance: Optional[Mapping[str, Any]] = None,
) -> CertifiedPackage:
    """Write a certified package into a folder, a model package's or any, and return it as it was read back.

    The graphs are checked first (needs ``onnx``): a stem must be local, with no larger receptive field than the
    settings say, and no image of a batch may reach another. An interrupted writing leaves a package that
    :func:`load_certified` refuses.

    Args:
        folder: where; replaces a certification that is there.
        method: a key of ``GRAPHS``.
        settings: see there.
        parts: content of each of the method's files; the head of linear_head as of :func:`linear_part`.
        classes: names of the logits.
        level: of the model package in the folder that shares the network, or None.
        measured, provenance: kept as they are.

    Raises:
        InputError: a graph that is refused, or a package that would not be readable.
    """
    from l4edge_compression.defense.locality import check_head

    folder = Path(folder)
    if method not in GRAPHS or set(parts) != set(GRAPHS[method]):
        raise InputError(f"method {method!r} with parts {sorted(parts)}: known are {GRAPHS}")
    if isinstance(settings, ScaleCertSettings):
        check_stem(parts["stem"], settings)
    endings = {part: "npz" if (method, part) == ("linear_head", "head") else "onnx" for part in parts}
    for part, graph in parts.items():
        if endings[part] == "onnx":
            check_head(graph)
    names = {part: f"certified_{part}.{ending}" for part, ending in endings.items()}
    content: Dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "method": method,
        "settings": asdict(settings),
        "classes": list(classes),
        "parts": {
            part: {"name": names[part], "sha256": hashlib.sha256(graph).hexdigest()} for part, graph in parts.items()
        },
        "level": level,
        "level_sha256": None if level is None else load_package(folder).level(level).sha256,
        "measured": dict(measured or {}),
        "provenance": dict(provenance or {}),
    }
    content = json.loads(json.dumps(content))
    content["hash"] = _hash(content)
    for part, graph in parts.items():
        write_bytes(folder / names[part], graph)
    write_text(folder / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return load_certified(folder)


def check_stem(graph: bytes, settings: ScaleCertSettings) -> None:
    """Raise InputError unless a stem is local and sees no more than its settings say. Needs ``onnx``."""
    from l4edge_compression.defense.locality import stem_locality

    found = stem_locality(graph, settings.input_size)
    for name in ("receptive_field", "stride", "offset", "map_size", "layout"):
        if getattr(found, name) != getattr(settings, name):
            raise InputError(
                f"stem: field {name} of the settings is {getattr(settings, name)}, the graph has {getattr(found, name)}"
            )


def linear_part(weight: np.ndarray, bias: np.ndarray) -> bytes:
    """The head of linear_head as the content of a file: (classes, C) weight and (classes,) bias."""
    stream = io.BytesIO()
    np.savez(stream, weight=np.asarray(weight, np.float32), bias=np.asarray(bias, np.float32))
    return stream.getvalue()


def _linear(content: bytes, file: str) -> Tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return arrays["weight"], arrays["bias"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{file}: no arrays weight and bias ({error}); write the package again") from error


def _hash(content: Mapping[str, Any]) -> str:
    """sha256 over what decides about verdicts; not over what was measured or told."""
    decisive = {name: content.get(name) for name in ("version", "method", "settings", "classes", "parts", "level",
                                                     "level_sha256")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _with(package: CertifiedPackage, **changed: Any) -> CertifiedPackage:
    return CertifiedPackage(**{**{entry.name: getattr(package, entry.name) for entry in fields(package)}, **changed})


def _check_parts(package: CertifiedPackage) -> None:
    """Raise InputError unless every part is there and the graphs take what the settings say."""
    for part, entry in package.parts.items():
        content = package.read(part)
        if part == "head":
            continue
        file = str(package.path / entry.name)
        inputs, _ = graph_signature(content, file)
        y = 1 if package.settings.layout == "HWC" else 2
        size = inputs[0].shape[y : y + 2] if len(inputs) == 1 and len(inputs[0].shape) == 4 else None
        if size is None or any(given not in (-1, wanted) for given, wanted in zip(size, package.settings.input_size)):
            raise InputError(
                f"{file}: input must be one image tensor of {package.settings.input_size} pixels "
                f"({package.settings.layout}), as field settings.input_size says"
            )


def _check_level(package: CertifiedPackage, file: str) -> None:
    if package.level is None:
        return
    if not (package.path / MANIFEST).exists():
        raise InputError(f"{file}: field level: {package.level!r}, but there is no {MANIFEST} beside it")
    if load_package(package.path).level(package.level).sha256 != package.level_sha256:
        raise InputError(f"{file}: field level_sha256: level {package.level!r} is another graph; certify it again")
