package dev.pocketportrait.pipeline

import kotlin.math.floor

/** One of 255 levels; a factor and no division, as the Python runtime has it. */
private const val LEVEL = (1.0 / 255.0).toFloat()

/** An RGB picture: 8 bits a channel, rows from the top, [rgb] holds R, G, B of one pixel after another. */
class Picture(val width: Int, val height: Int, val rgb: ByteArray) {
    init {
        require(rgb.size == 3 * width * height) { "want ${3 * width * height} bytes, got ${rgb.size}" }
    }

    /** Returns the picture turned clockwise by 0, 90, 180 or 270 degrees, and then mirrored left to right if asked. */
    fun oriented(degrees: Int, mirror: Boolean): Picture {
        val turns = Math.floorMod(degrees, 360) / 90
        if (turns == 0 && !mirror) return this
        val (outWidth, outHeight) = if (turns % 2 == 0) width to height else height to width
        val out = ByteArray(rgb.size)
        for (y in 0 until outHeight) {
            for (x in 0 until outWidth) {
                val u = if (mirror) outWidth - 1 - x else x
                val (sx, sy) = when (turns) {
                    0 -> u to y
                    1 -> y to height - 1 - u
                    2 -> width - 1 - u to height - 1 - y
                    else -> width - 1 - y to u
                }
                System.arraycopy(rgb, 3 * (sy * width + sx), out, 3 * (y * outWidth + x), 3)
            }
        }
        return Picture(outWidth, outHeight, out)
    }

    /**
     * Returns the picture as a tensor, float 0..1.
     *
     * @throws InputError the tensor is not one picture of this size.
     */
    fun toTensor(spec: TensorSpec): FloatArray {
        val want = if (spec.layout == NHWC) listOf(1, height, width, 3) else listOf(1, 3, height, width)
        if (spec.shape != want) throw InputError("${spec.name}: want shape ${spec.shape} (${spec.layout}), got a picture of $width x $height; crop it first")
        val pixels = width * height
        val out = FloatArray(3 * pixels)
        for (p in 0 until pixels) {
            for (c in 0 until 3) {
                val at = if (spec.layout == NHWC) 3 * p + c else c * pixels + p
                out[at] = (rgb[3 * p + c].toInt() and 0xff) * LEVEL
            }
        }
        return out
    }

    companion object {
        /** Returns a picture from a tensor, float 0..1; values outside are clipped. */
        fun ofTensor(values: FloatArray, spec: TensorSpec): Picture {
            val (height, width) = if (spec.layout == NHWC) spec.shape[1] to spec.shape[2] else spec.shape[2] to spec.shape[3]
            val pixels = width * height
            val out = ByteArray(3 * pixels)
            for (p in 0 until pixels) {
                for (c in 0 until 3) {
                    val value = values[if (spec.layout == NHWC) 3 * p + c else c * pixels + p]
                    out[3 * p + c] = toByte(value * 255.0)
                }
            }
            return Picture(width, height, out)
        }
    }
}

/** Rounds to 0..255; halves go up. */
internal fun toByte(value: Double): Byte = floor(value + 0.5).coerceIn(0.0, 255.0).toInt().toByte()
