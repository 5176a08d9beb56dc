"""A hand that touches the face: its fingers bend until they rest on the skin."""

from dataclasses import dataclass

import numpy as np

from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.geometry import dot, normalise, smoothstep, transform
from face2exp_lib.rendering.hand_mesh import (
    INDEX,
    LITTLE,
    MIDDLE,
    NUM_FINGERS,
    THUMB,
    clearance,
    load_hand,
)
from face2exp_lib.rendering.head import Head
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.noise import noise
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.prop import Prop
from face2exp_lib.rendering.raster import rasterise
from face2exp_lib.rendering.surface import Surface

TEMPLATE_OFFSET = np.array([0, -120, 0], np.float32)
FACE_MAP, FACE_MAP_REACH = 96, 1.6  # pixels; decimetres to each side of the point that is touched
PRESSURE = 0.02  # decimetres by which soft skin gives way
CURL_STEPS = np.linspace(1.0, 0.0, 9)[:-1]  # from bent as far as the pose wants to nearly straight
CURL_DIFFERENCE = 0.25  # a finger's neighbours go along with it: none points on its own
# How far a joint bends, in parts of the finger's bend: knuckle, middle, last.
JOINT_SHARES = (0.75, 1.0, 0.65)
THUMB_SHARES = (0.25, 0.45, 0.6)
RELAXED = 0.12  # radians a finger stays bent by when it is straight
NAIL_LENGTH, NAIL_HALF_WIDTH, NAIL_DEPTH = 0.115, 0.052, 0.01
KNUCKLE_REDNESS = np.array([0.03, -0.09, -0.10], np.float32)  # change of reflectance
SLEEVE_FROM, SLEEVE_TO = 0.45, 1.4  # decimetres from the wrist to the cuff


@dataclass(frozen=True)
class HandPose:
    """Where a left hand touches a face.

    Attributes:
        place: template point that is touched.
        anchor: the point of the hand that touches it: towards thumb and along the fingers.
        fingers, palm: directions in the head's space that fingers and palm point in.
        arm: direction of the forearm from the wrist, in the hand's frame.
        bend: radians that fingers may bend by.
    """

    place: tuple[float, float, float]
    anchor: tuple[float, float]
    fingers: tuple[float, float, float]
    palm: tuple[float, float, float]
    arm: tuple[float, float, float]
    bend: float


HAND_POSES = {
    "hand_mouth": HandPose(
        (0.02, 6.62, 1.57), (0.12, 1.05), (-0.72, 0.68, 0.12), (-0.12, 0.0, -1.0),
        (-0.35, -1.0, -0.1), 0.85,
    ),
    "hand_chin": HandPose(
        (0.0, 6.42, 1.50), (0.12, 1.25), (-0.40, 0.88, -0.25), (0.0, 0.15, -1.0),
        (-0.1, -1.0, -0.05), 1.1,
    ),
    "hand_cheek": HandPose(
        (0.64, 6.80, 0.95), (0.0, 0.80), (0.05, 0.93, -0.30), (-0.93, 0.08, -0.30),
        (0.1, -1.0, -0.25), 0.6,
    ),
    "hand_forehead": HandPose(
        (0.12, 7.76, 1.48), (0.0, 1.05), (-0.80, 0.58, 0.0), (-0.20, -0.1, -1.0),
        (-0.55, -1.0, -0.15), 0.9,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Hand:
    """One of a person's hands on the face.

    Attributes:
        kind: a key of `HAND_POSES`.
        right: whether it is the person's right hand.
        shift: (2,) of the place touched, decimetres to the person's left and up.
        turn: radians about the palm's direction.
        spread: radians between neighbouring fingers beyond those of the packed hand.
        bends: (5,) factor on the pose's bend of each finger.
        sleeve: decimetres from wrist to sleeve.
        nails: (3,) factors on the skin's reflectance, or the colour of nail varnish.
        varnished: which of the two it is.
    """

    kind: str
    right: bool
    shift: tuple[float, float]
    turn: float
    spread: float
    bends: np.ndarray
    sleeve: float
    nails: np.ndarray
    varnished: bool

    def put_on(
        self, head: Head, identity: Identity, rest: np.ndarray, shaped: np.ndarray
    ) -> tuple[np.ndarray, Prop]:
        """The head as it is, and the hand that rests on it."""
        hand, pose = load_hand(), HAND_POSES[self.kind]
        mirror = np.array([-1 if self.right else 1, 1, 1], np.float32)
        body = shaped[: len(head.is_body)] * mirror  # the pose is one of the left hand
        nearest = ((head.vertices * mirror - np.array(pose.place)) ** 2).sum(1)
        nearest[~head.is_body] = np.inf
        place = rest[nearest.argmin()] * mirror + np.array([*self.shift, 0])
        frame = self._frame(pose, hand.handedness)
        size = 0.86 + 0.14 * identity.masculinity

        anchor = np.array([*pose.anchor, 0.0]) * size
        local = transform((body - place).astype(np.float32), frame) + anchor
        skin = self._face_map(head, local, anchor)
        mesh = hand.vertices * np.float32(size)
        held = self._bend_arm(mesh, pose)
        view = np.array([anchor[0], anchor[1], FACE_MAP / (2 * FACE_MAP_REACH)])

        def bend(finger: int, step: float) -> np.ndarray:
            angle = RELAXED + pose.bend * self.bends[finger] * step
            shares = THUMB_SHARES if finger == THUMB else JOINT_SHARES
            fan = 0.0 if finger == THUMB else -self.spread * (MIDDLE + 0.5 - finger)
            return hand.bend_finger(finger, size, fan, angle * np.cumsum(shares))

        # The palm and straight fingers come to rest first, then each finger closes on its own.
        straight = [bend(finger, 0.0) for finger in range(NUM_FINGERS)]
        flat = held.copy()
        for members, moved in zip(hand.members, straight, strict=True):
            flat[members] += moved
        rise = PRESSURE + clearance(flat[mesh[:, 1] > 0], skin, view)
        closed = np.zeros(NUM_FINGERS)
        for finger, members in enumerate(hand.members):
            own = hand.weights[members, finger].sum(1) > 0.5
            for step in CURL_STEPS:
                tried = (mesh[members] + bend(finger, step))[own]
                if clearance(tried, skin, view) + PRESSURE >= rise:
                    closed[finger] = step
                    break
        for finger in (*range(INDEX + 1, NUM_FINGERS), *range(LITTLE - 1, THUMB, -1)):
            beside = closed[max(finger - 1, INDEX)], closed[min(finger + 1, LITTLE)]
            closed[finger] = min(closed[finger], min(beside) + CURL_DIFFERENCE)
        placed = held
        for finger, members in enumerate(hand.members):
            placed[members] += bend(finger, closed[finger])
        placed[:, 2] += rise
        inverse = np.ascontiguousarray(frame.T)
        vertices = (transform((placed - anchor).astype(np.float32), inverse) + place) * mirror
        triangles = hand.triangles[:, ::-1] if self.right else hand.triangles
        return shaped, Prop(
            vertices=vertices.astype(np.float32),
            template=hand.vertices + TEMPLATE_OFFSET,
            triangles=np.ascontiguousarray(triangles),
            triangle_uv=np.stack([hand.redness[triangles], hand.tip[triangles]], 2),
            material=np.full(len(triangles), int(Material.HAND), np.int32),
            lenses=np.empty((0, 3), np.int32),
        )

    def _frame(self, pose: HandPose, handedness: float) -> np.ndarray:
        """(3, 3) rows: towards the thumb, along the fingers and out of the palm, on the head."""
        palm = normalise(np.array(pose.palm))
        fingers = np.array(pose.fingers)
        fingers = normalise(fingers - palm * (fingers * palm).sum())
        thumb = np.cross(fingers, palm) * handedness
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return np.stack([thumb * cos + fingers * sin, fingers * cos - thumb * sin, palm]).astype(
            np.float32
        )

    @staticmethod
    def _face_map(head: Head, local: np.ndarray, anchor: np.ndarray) -> np.ndarray:
        """(n, n) depth of the face as the palm sees it: larger is nearer to the hand."""
        scale = FACE_MAP / (2 * FACE_MAP_REACH)
        points = (local - anchor) * [scale, scale, -1] + [FACE_MAP / 2, FACE_MAP / 2, 0]
        solid = head.triangles[head.material == Material.BODY]
        both_sided = np.zeros(len(solid), np.bool_)
        return rasterise(points.astype(np.float32), solid, both_sided, FACE_MAP, FACE_MAP).depth

    def _bend_arm(self, mesh: np.ndarray, pose: HandPose) -> np.ndarray:
        """The mesh with the wrist bent towards the pose's direction of the forearm."""
        arm = normalise(np.array(pose.arm))
        rest = np.array([0.0, -1.0, 0.0])
        axis = np.cross(rest, arm)
        sine = np.linalg.norm(axis)
        turned = transform(mesh, _rotation(axis / (sine + 1e-9), np.arctan2(sine, -arm[1])))
        part = smoothstep(-mesh[:, 1], -0.15, 0.3)[:, None]
        return mesh * (1 - part) + turned * part

    def paint(self, paint: Paint, surface: Surface, identity: Identity) -> None:
        """Redder knuckles and fingertips, nails, a sleeve."""
        chosen = np.flatnonzero(surface.material == Material.HAND)
        points, (red, tip) = surface.template[chosen] - TEMPLATE_OFFSET, surface.uv[chosen].T
        albedo = paint.albedo[chosen]
        albedo *= 1 + red[:, None] * KNUCKLE_REDNESS
        at_tip = np.flatnonzero(tip > 0)
        nail = _nails(points[at_tip])[:, None]
        varnish = self.nails if self.varnished else albedo[at_tip] * self.nails
        albedo[at_tip] = albedo[at_tip] * (1 - nail) + varnish * nail
        paint.gloss[chosen[at_tip]] += 0.5 * nail[:, 0]
        paint.hardness[chosen[at_tip]] += 30 * nail[:, 0]
        on_arm = np.flatnonzero(points[:, 1] < -self.sleeve)
        cloth = smoothstep(-points[on_arm, 1], self.sleeve, self.sleeve + 0.02)[:, None]
        weave = noise(points[on_arm], 26.0, identity.texture_offset)[:, None]
        colour = identity.clothes_albedo * (1 + 0.1 * weave)
        albedo[on_arm] = albedo[on_arm] * (1 - cloth) + colour * cloth
        paint.gloss[chosen[on_arm]] *= 1 - cloth[:, 0]
        paint.albedo[chosen] = np.clip(albedo, 0, 1)


def _nails(points: np.ndarray) -> np.ndarray:
    """(n,) 1 on the nails, of (n, 3) points in the hand's frame."""
    hand = load_hand()
    nail = np.zeros(len(points), np.float32)
    for (*_, last, tip), across in zip(hand.joints, hand.axes, strict=True):
        along = normalise(tip - last)
        offset = points - (tip - along * 0.5 * NAIL_LENGTH)
        near = (offset**2).sum(1) < NAIL_LENGTH**2
        forth = dot(offset[near], along) / (0.5 * NAIL_LENGTH)
        beside = dot(offset[near], across) / NAIL_HALF_WIDTH
        outside = dot(offset[near], np.cross(along, across)) > NAIL_DEPTH
        nail[near] = (1 - smoothstep(forth**4 + beside**4, 0.7, 1.1)) * outside
    return nail


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3) rotation about a unit vector by an angle in radians (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    cos = np.cos(angle)
    return np.eye(3) * cos + np.sin(angle) * cross + (1 - cos) * axis[:, None] * axis


def sample_hand(generator: np.random.Generator, kind: str) -> Hand:
    """Draw a hand of a kind."""
    rng = generator
    varnished = bool(rng.random() < 0.15)
    varnish = rng.uniform([0.25, 0.01, 0.03], [0.5, 0.2, 0.3])
    return Hand(
        kind=kind,
        right=bool(rng.random() < 0.5),
        shift=(rng.normal(0, 0.05), rng.normal(0, 0.05)),
        turn=rng.normal(0, 0.14),
        spread=rng.uniform(-0.05, 0.03),
        bends=rng.uniform(0.75, 1.15) + rng.normal(0, 0.08, NUM_FINGERS),
        sleeve=rng.uniform(SLEEVE_FROM, SLEEVE_TO),
        nails=varnish if varnished else np.array([1.25, 1.15, 1.12]),
        varnished=varnished,
    )
