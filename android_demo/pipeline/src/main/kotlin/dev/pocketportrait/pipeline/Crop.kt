package dev.pocketportrait.pipeline

import kotlin.math.max
import kotlin.math.min

/** Side of the pictures that the graphs take, in pixels. */
const val SIDE_PX = 256

/** An upright square in source pixels from the top left; parts may lie outside the picture. */
data class SquareCrop(val x: Double, val y: Double, val side: Double)

/** A box around the landmarks of a face, in source pixels. */
data class FaceBox(val left: Double, val top: Double, val right: Double, val bottom: Double)

// The framing of the training pictures, in sides of the landmark box: docs/decisions/0003-face-crop.md.
private const val SCALE = 1.9
private const val TIGHTEST_SCALE = 1.35
private const val RAISE = 0.08
private const val LARGEST_SHIFT = 0.08

// The landmark box seen from the eyes, in distances between the eyes: medians over 2,235 labelled frames that face the camera.
private const val EYES_TO_SIDE = 2.64
private const val EYES_TO_CENTER_DOWN = 0.51

/** Frames one face as the training photos are framed. */
fun cropForFace(box: FaceBox, width: Int, height: Int): SquareCrop {
    val face = max(box.right - box.left, box.bottom - box.top)
    val side = min(SCALE * face, max(min(width, height).toDouble(), TIGHTEST_SCALE * face))
    val x = (box.left + box.right) / 2
    val y = (box.top + box.bottom) / 2 - RAISE * face
    return SquareCrop(movedInside(x - side / 2, side, width), movedInside(y - side / 2, side, height), side)
}

/** Frames a face whose eyes are [distance] apart around the point ([x], [y]), all in source pixels. */
fun cropForEyes(x: Double, y: Double, distance: Double, width: Int, height: Int): SquareCrop {
    val half = EYES_TO_SIDE * distance / 2
    val middle = y + EYES_TO_CENTER_DOWN * distance
    return cropForFace(FaceBox(x - half, middle - half, x + half, middle + half), width, height)
}

/** Returns the largest centred square. */
fun centredCrop(width: Int, height: Int): SquareCrop {
    val side = min(width, height)
    return SquareCrop((width - side) / 2.0, (height - side) / 2.0, side.toDouble())
}

private fun movedInside(start: Double, side: Double, length: Int): Double {
    val inside = if (side <= length) min(max(start, 0.0), length - side) else (length - side) / 2
    val shift = LARGEST_SHIFT * side
    return start + min(max(inside - start, -shift), shift)
}
