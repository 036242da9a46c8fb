"""Draws tabletop scenes with Pillow: a pinhole camera, painter's algorithm, flat shading, soft shadows, textures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[float, float, float]
Polygon = tuple[tuple[float, float], ...]
SUPERSAMPLING = 2


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera that looks at the table's centre; an elevation of pi / 2 is straight from above.

    Attributes:
        elevation, azimuth: radians.
        distance: from the table's centre, in world units.
        focal: focal length as a multiple of what makes [-1, 1] fill the picture at that distance.
        aim: offset of the principal point, as a fraction of the picture.
    """

    elevation: float
    azimuth: float
    distance: float
    focal: float
    aim: tuple[float, float]

    def project(self, points_P3: NDArray[np.float64], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World points (P, 3) -> pixels (P, 2) of a picture of `size`, and depths (P,)."""
        ce, se, ca, sa = (
            math.cos(self.elevation),
            math.sin(self.elevation),
            math.cos(self.azimuth),
            math.sin(self.azimuth),
        )
        right = np.array([ca, sa, 0.0])
        forward = np.array([-sa * ce, ca * ce, -se])
        down = np.cross(forward, right)
        depth = np.maximum(points_P3 @ forward + self.distance, 0.2)
        scale = 0.5 * size * self.focal * self.distance / depth
        centre = size * (0.5 + np.array(self.aim))
        xy = np.stack([points_P3 @ right * scale, points_P3 @ down * scale], axis=1) + centre
        return xy, depth


@dataclass(frozen=True, kw_only=True)
class Prism:
    """An upright prism on the table: polygons in its own frame, a pose, a height (0: a flat mark) and a colour."""

    parts: tuple[Polygon, ...]
    position: tuple[float, float]
    angle: float
    height: float
    colour: Colour

    def outlines(self) -> list[NDArray[np.float64]]:
        """The parts' corners in the world, each (K, 2)."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        rotation = np.array([[c, s], [-s, c]])
        return [np.array(part) @ rotation + np.array(self.position) for part in self.parts]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours, light and sensor of a scene; strengths are fractions of full scale."""

    table: Colour
    wall: Colour
    robot: Colour
    pattern: str
    texture: float
    light: tuple[float, float, float]
    ambient: float
    shadow: float
    gradient: float
    noise: float
    blur: float
    outline: bool


class _Canvas:
    """A supersampled picture and the camera and light that draw on it."""

    def __init__(self, camera: Camera, look: Look, size: int) -> None:
        self.camera, self.look = camera, look
        self.size = SUPERSAMPLING * size
        self.image = Image.new("RGB", (self.size, self.size))
        self.pen = ImageDraw.Draw(self.image)
        light = np.array(look.light)
        self.light = light / np.linalg.norm(light)

    def pixels(self, points_P3: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.camera.project(points_P3, self.size)[0]

    def radius(self, point_3: NDArray[np.float64], thickness: float) -> float:
        depth = self.camera.project(point_3[None], self.size)[1][0]
        return max(1.0, 0.5 * self.size * self.camera.focal * self.camera.distance / float(depth) * thickness)

    def fill(self, points_K2: NDArray[np.float64], colour: Colour, shade: float, *, edge: bool = False) -> None:
        outline = _rgb(colour, 0.55 * shade) if edge else None
        self.pen.polygon(points_K2.ravel().tolist(), fill=_rgb(colour, shade), outline=outline)

    def shade(self, normal_3: NDArray[np.float64]) -> float:
        return self.look.ambient + (1.05 - self.look.ambient) * max(0.0, float(normal_3 @ self.light))


def draw(
    *, camera: Camera, look: Look, objects: tuple[Prism, ...], decals: tuple[Prism, ...], joints: NDArray[np.float64],
    thickness: float, finger: float, seed: int, size: int,
) -> NDArray[np.uint8]:  # fmt: skip
    """One picture, uint8 (size, size, 3); the same arguments give the same picture."""
    rng = np.random.default_rng(seed)
    canvas = _Canvas(camera, look, size)
    _background(canvas, rng)
    for decal in decals:
        _prism(canvas, decal)
    _shadows(canvas, objects, joints, thickness)
    ends = [np.array([*body.position, 0.0]) for body in objects] + [np.array([*joints[-1, :2], 0.0])]
    depths = camera.project(np.stack(ends), size)[1]
    for index in np.argsort(-depths, kind="stable"):
        if index < len(objects):
            _prism(canvas, objects[index])
        elif len(joints) == 1:
            _pusher(canvas, joints[0], thickness)
        else:
            _arm(canvas, joints, thickness, finger)
    return _sensor(canvas, rng, size)


def _background(canvas: _Canvas, rng: np.random.Generator) -> None:
    look, size = canvas.look, canvas.size
    canvas.image.paste(_rgb(look.wall, 1.0), (0, 0, size, size))
    far = 1.2 if canvas.camera.elevation < 1.3 else 3.0
    corners = np.array([[-9.0, -1.6, 0], [9.0, -1.6, 0], [9.0, far, 0], [-9.0, far, 0]])
    canvas.fill(canvas.pixels(corners), look.table, 1.0)
    if look.pattern == "checker":
        _checker(canvas, far, look.texture)
    if look.pattern in ("grain", "noise"):
        shape = (int(rng.integers(24, 96)), int(rng.integers(2, 6))) if look.pattern == "grain" else (24, 24)
        coarse = rng.normal(128, 255 * look.texture, shape)
        veil = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)
        tint = Image.merge("RGB", [veil] * 3)
        canvas.image.paste(Image.blend(canvas.image, tint, 0.35))


def _checker(canvas: _Canvas, far: float, strength: float) -> None:
    width = 0.4
    for row in range(-4, int(far / width)):
        for column in range(-8 + row % 2, 8, 2):
            x, y = column * width, row * width
            tile = np.array([[x, y, 0], [x + width, y, 0], [x + width, y + width, 0], [x, y + width, 0]])
            canvas.fill(canvas.pixels(tile), canvas.look.table, 1 - strength)


def _shadows(canvas: _Canvas, objects: tuple[Prism, ...], joints: NDArray[np.float64], thickness: float) -> None:
    """Blurred shadows on the table: drawn on a small mask, whose enlargement is the blur."""
    small = canvas.size // 4
    mask = Image.new("L", (small, small))
    pen = ImageDraw.Draw(mask)
    offset = -canvas.light[:2] / canvas.light[2]
    strength = int(255 * canvas.look.shadow)
    for body in objects:
        for outline in body.outlines():
            for lift in (0.0, body.height):
                ground = np.pad(outline + lift * offset, ((0, 0), (0, 1)))
                pen.polygon(canvas.camera.project(ground, small)[0].ravel().tolist(), fill=strength)
    ground = np.pad(joints[:, :2] + joints[:, 2:] * offset, ((0, 0), (0, 1)))
    xy, depth = canvas.camera.project(ground, small)
    width = small * canvas.camera.focal * canvas.camera.distance * thickness / float(depth[-1])
    if len(joints) > 1:
        pen.line(xy.ravel().tolist(), fill=strength, width=max(1, int(width)))
    x, y = xy[-1]
    pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=strength)
    canvas.image.paste((0, 0, 0), (0, 0), mask.resize(canvas.image.size, Image.Resampling.BICUBIC))


def _prism(canvas: _Canvas, body: Prism) -> None:
    top_shade = canvas.shade(np.array([0.0, 0.0, 1.0]))
    if body.height > 0:
        _sides(canvas, body)
    for outline in body.outlines():
        top = np.pad(outline, ((0, 0), (0, 1)), constant_values=body.height)
        canvas.fill(canvas.pixels(top), body.colour, top_shade, edge=canvas.look.outline and len(body.parts) == 1)


def _sides(canvas: _Canvas, body: Prism) -> None:
    faces = []
    for outline in body.outlines():
        floor, roof = np.pad(outline, ((0, 0), (0, 1))), np.pad(outline, ((0, 0), (0, 1)), constant_values=body.height)
        low, depth = canvas.camera.project(floor, canvas.size)
        high = canvas.pixels(roof)
        for i, j in zip(range(len(outline)), np.roll(np.arange(len(outline)), -1)):
            edge = outline[j] - outline[i]
            normal = np.array([edge[1], -edge[0], 0.0]) / (np.linalg.norm(edge) + 1e-9)
            faces.append((depth[i] + depth[j], np.stack([low[i], low[j], high[j], high[i]]), normal))
    for _, corners, normal in sorted(faces, key=lambda face: -face[0]):
        canvas.fill(corners, body.colour, 0.85 * canvas.shade(normal))


def _pusher(canvas: _Canvas, centre_3: NDArray[np.float64], thickness: float) -> None:
    angles = np.linspace(0, 2 * math.pi, 17)[:-1]
    ring = thickness * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    body = Prism(
        parts=(tuple(map(tuple, ring.tolist())),), position=(float(centre_3[0]), float(centre_3[1])),
        angle=0.0, height=float(centre_3[2]), colour=canvas.look.robot,
    )  # fmt: skip
    _prism(canvas, body)


def _arm(canvas: _Canvas, joints_J3: NDArray[np.float64], thickness: float, finger: float) -> None:
    xy = canvas.pixels(joints_J3)
    radii = [canvas.radius(p, thickness * w) for p, w in zip(joints_J3, np.linspace(1.3, 0.8, len(joints_J3)))]
    colour = canvas.look.robot
    dark = tuple(0.35 * c for c in colour)
    for i in range(len(xy) - 1):
        _link(canvas, xy[i], xy[i + 1], radii[i], radii[i + 1], colour)
        _disc(canvas, xy[i], 0.6 * radii[i], (dark[0], dark[1], dark[2]), 1.0)
    wrist = joints_J3[-1]
    across = np.array([math.cos(finger), math.sin(finger), 0.0])
    palm = canvas.pixels(np.stack([wrist - 1.6 * thickness * across, wrist + 1.6 * thickness * across]))
    _link(canvas, palm[0], palm[1], 0.7 * radii[-1], 0.7 * radii[-1], colour)
    for sign in (-1.0, 1.0):
        root = wrist + sign * thickness * across
        tip = root - np.array([0.0, 0.0, min(float(wrist[2]), 1.5 * thickness)])
        ends = canvas.pixels(np.stack([root, tip]))
        _link(canvas, ends[0], ends[1], 0.3 * radii[-1], 0.25 * radii[-1], (dark[0], dark[1], dark[2]))


def _link(
    canvas: _Canvas, a: NDArray[np.float64], b: NDArray[np.float64], ra: float, rb: float, colour: Colour
) -> None:
    along = b - a
    across = np.array([-along[1], along[0]]) / (np.linalg.norm(along) + 1e-6)
    for width, shade in ((1.0, 0.75), (0.55, 1.0)):  # a brighter core makes the quad look round
        quad = np.stack(
            [a + across * ra * width, b + across * rb * width, b - across * rb * width, a - across * ra * width]
        )
        _disc(canvas, a, ra * width, colour, shade)
        _disc(canvas, b, rb * width, colour, shade)
        canvas.fill(quad, colour, shade)


def _disc(canvas: _Canvas, centre: NDArray[np.float64], radius: float, colour: Colour, shade: float) -> None:
    x, y = centre
    canvas.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_rgb(colour, shade))


def _sensor(canvas: _Canvas, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Downsampling, blur, a brightness gradient and noise."""
    picture = canvas.image.reduce(SUPERSAMPLING)
    look = canvas.look
    if look.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(look.blur * size / 128))
    pixels = np.asarray(picture)
    if look.gradient == 0 and look.noise == 0:
        return pixels
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    gain = 1 + look.gradient * (canvas.light[0] * ramp[None, :] + canvas.light[1] * ramp[:, None])
    value = pixels * gain[..., None].astype(np.float32)
    if look.noise:
        value += rng.normal(0, 255 * look.noise, (size, size, 1)).astype(np.float32)
    return np.clip(value, 0, 255).astype(np.uint8)


def _rgb(colour: Colour, shade: float) -> tuple[int, int, int]:
    r, g, b = (int(255 * min(1.0, max(0.0, c * shade))) for c in colour)
    return r, g, b
