package dev.pocketportrait.pipeline

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/** Cuts a square and resizes it, once; frames are cut by a [Cutter] that is kept. */
fun cut(picture: Picture, crop: SquareCrop, side: Int = SIDE_PX): Picture = Cutter(side).cut(picture, crop)

/**
 * Cuts squares and resizes them: area averages down, bicubic up, borders repeated outside.
 *
 * Its memory serves all frames. Not for two threads at a time.
 */
class Cutter(private val side: Int = SIDE_PX) {
    private val rows = Taps(side)
    private val columns = Taps(side)
    private var between = FloatArray(0) // rows resized, columns not yet

    /** Cuts [crop] out of a picture; [reuse] is a picture whose memory may be overwritten, taken if its size fits. */
    fun cut(picture: Picture, crop: SquareCrop, reuse: Picture? = null): Picture {
        rows.lay(crop.y, crop.side, picture.height)
        columns.lay(crop.x, crop.side, picture.width)
        val line = 3 * picture.width
        if (between.size != side * line) between = FloatArray(side * line)
        between.fill(0f)
        for (y in 0 until side) {
            for (tap in rows.from(y) until rows.from(y + 1)) addRow(picture.rgb, line * rows.index(tap), rows.weight(tap), line * y, line)
        }
        val out = Picture.blank(side, side, reuse)
        for (y in 0 until side) cutRow(line * y, out.rgb, 3 * side * y)
        return out
    }

    private fun addRow(source: ByteArray, start: Int, weight: Float, target: Int, length: Int) {
        for (k in 0 until length) between[target + k] += weight * (source[start + k].toInt() and 0xff)
    }

    private fun cutRow(line: Int, out: ByteArray, start: Int) {
        var at = start
        for (x in 0 until side) {
            var red = 0f
            var green = 0f
            var blue = 0f
            for (tap in columns.from(x) until columns.from(x + 1)) {
                val weight = columns.weight(tap)
                val from = line + 3 * columns.index(tap)
                red += weight * between[from]
                green += weight * between[from + 1]
                blue += weight * between[from + 2]
            }
            out[at++] = toByte(red.toDouble())
            out[at++] = toByte(green.toDouble())
            out[at++] = toByte(blue.toDouble())
        }
    }
}

/** The source samples of each of [count] output samples, and how much of each. */
private class Taps(private val count: Int) {
    private val starts = IntArray(count + 1)
    private var indices = IntArray(0)
    private var weights = FloatArray(0)
    private var raw = DoubleArray(0)
    private var start = Double.NaN
    private var length = Double.NaN
    private var size = 0

    /** Where the taps of an output sample begin; those of the one before end there. */
    fun from(output: Int): Int = starts[output]

    /** The source sample of a tap. */
    fun index(tap: Int): Int = indices[tap]

    /** How much of it. */
    fun weight(tap: Int): Float = weights[tap]

    /** Resizes [length] samples from [start] on, of a row of [size]; a crop that stays costs nothing. */
    fun lay(start: Double, length: Double, size: Int) {
        if (start == this.start && length == this.length && size == this.size) return
        this.start = start
        this.length = length
        this.size = size
        val step = length / count
        reserve(max(4, ceil(step).toInt() + 2)) // one for the parts at each end
        for (i in 0 until count) {
            if (step >= 1) average(i, start + i * step, start + (i + 1) * step) else interpolate(i, start + (i + 0.5) * step)
        }
    }

    private fun reserve(most: Int) {
        if (raw.size >= most) return
        raw = DoubleArray(most)
        indices = IntArray(most * count)
        weights = FloatArray(most * count)
    }

    private fun average(output: Int, low: Double, high: Double) {
        val first = floor(low).toInt()
        val taps = max(ceil(high).toInt(), first + 1) - first
        for (k in 0 until taps) raw[k] = min(first + k + 1.0, high) - max((first + k).toDouble(), low)
        store(output, first, taps)
    }

    private fun interpolate(output: Int, center: Double) {
        val first = floor(center - 0.5).toInt() - 1
        for (k in 0 until 4) raw[k] = cubic(first + k + 0.5 - center)
        store(output, first, 4)
    }

    private fun store(output: Int, first: Int, taps: Int) {
        var sum = 0.0
        for (k in 0 until taps) sum += raw[k]
        val at = starts[output]
        for (k in 0 until taps) {
            indices[at + k] = (first + k).coerceIn(0, size - 1)
            weights[at + k] = (raw[k] / sum).toFloat()
        }
        starts[output + 1] = at + taps
    }
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
