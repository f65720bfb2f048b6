package dev.pocketportrait.pipeline

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
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

/** Cuts a square and resizes it: area averages down, bicubic up, borders repeated outside. */
fun cut(picture: Picture, crop: SquareCrop, side: Int = SIDE_PX): Picture {
    val rows = weights(crop.y, crop.side, side, picture.height)
    val columns = weights(crop.x, crop.side, side, picture.width)
    val between = FloatArray(side * picture.width * 3)
    for (y in 0 until side) {
        rows[y].forEach { index, weight ->
            val from = 3 * index * picture.width
            val to = 3 * y * picture.width
            for (k in 0 until 3 * picture.width) between[to + k] += weight * (picture.rgb[from + k].toInt() and 0xff)
        }
    }
    val out = ByteArray(3 * side * side)
    val sum = FloatArray(3)
    for (y in 0 until side) {
        for (x in 0 until side) {
            sum.fill(0f)
            columns[x].forEach { index, weight ->
                val from = 3 * (y * picture.width + index)
                for (c in 0 until 3) sum[c] += weight * between[from + c]
            }
            for (c in 0 until 3) out[3 * (y * side + x) + c] = toByte(sum[c].toDouble())
        }
    }
    return Picture(side, side, out)
}

/** The source samples of one output sample, and how much of each. */
private class Taps(val indices: IntArray, val weights: FloatArray) {
    inline fun forEach(each: (Int, Float) -> Unit) {
        for (k in indices.indices) each(indices[k], weights[k])
    }
}

private fun weights(start: Double, length: Double, count: Int, size: Int): List<Taps> {
    val step = length / count
    return List(count) { i ->
        if (step >= 1) averaged(start + i * step, start + (i + 1) * step, size) else bicubic(start + (i + 0.5) * step, size)
    }
}

private fun averaged(low: Double, high: Double, size: Int): Taps {
    val first = floor(low).toInt()
    val last = max(ceil(high).toInt(), first + 1)
    val raw = DoubleArray(last - first) { min(first + it + 1.0, high) - max((first + it).toDouble(), low) }
    return taps(first, raw, size)
}

private fun bicubic(center: Double, size: Int): Taps {
    val first = floor(center - 0.5).toInt() - 1
    return taps(first, DoubleArray(4) { cubic(first + it + 0.5 - center) }, size)
}

private fun taps(first: Int, raw: DoubleArray, size: Int): Taps {
    val sum = raw.sum()
    return Taps(IntArray(raw.size) { (first + it).coerceIn(0, size - 1) }, FloatArray(raw.size) { (raw[it] / sum).toFloat() })
}

/** Keys' cubic with a = -0.5, as Pillow's. */
private fun cubic(distance: Double): Double {
    val x = abs(distance)
    return when {
        x < 1 -> (1.5 * x - 2.5) * x * x + 1
        x < 2 -> ((-0.5 * x + 2.5) * x - 4) * x + 2
        else -> 0.0
    }
}
