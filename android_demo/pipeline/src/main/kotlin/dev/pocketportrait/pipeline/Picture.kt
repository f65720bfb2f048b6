package dev.pocketportrait.pipeline

/** One of 255 levels; a factor and no division, as the Python runtime has it. */
private const val LEVEL = (1.0 / 255.0).toFloat()

/** An RGB picture: 8 bits a channel, rows from the top, [rgb] holds R, G, B of one pixel after another. */
class Picture(val width: Int, val height: Int, val rgb: ByteArray) {
    init {
        require(rgb.size == 3 * width * height) { "want ${3 * width * height} bytes, got ${rgb.size}" }
    }

    /**
     * Returns the picture turned clockwise by 0, 90, 180 or 270 degrees, and then mirrored left to right if asked.
     *
     * @param reuse a picture whose memory may be overwritten; taken if its size fits.
     */
    fun oriented(degrees: Int, mirror: Boolean, reuse: Picture? = null): Picture {
        val turns = Math.floorMod(degrees, 360) / 90
        if (turns == 0 && !mirror) return this
        val out = if (turns % 2 == 0) blank(width, height, reuse) else blank(height, width, reuse)
        // where the first pixel comes from, and how far one to the right and one down are, in pixels of this picture
        var first = when (turns) {
            0 -> 0
            1 -> (height - 1) * width
            2 -> height * width - 1
            else -> width - 1
        }
        val down = when (turns) {
            0 -> width
            1 -> 1
            2 -> -width
            else -> -1
        }
        var right = when (turns) {
            0 -> 1
            1 -> -width
            2 -> -1
            else -> width
        }
        if (mirror) {
            first += (out.width - 1) * right
            right = -right
        }
        var to = 0
        for (y in 0 until out.height) {
            var from = 3 * (first + y * down)
            repeat(out.width) {
                out.rgb[to++] = rgb[from]
                out.rgb[to++] = rgb[from + 1]
                out.rgb[to++] = rgb[from + 2]
                from += 3 * right
            }
        }
        return out
    }

    /**
     * Returns the picture as a tensor, float 0..1.
     *
     * @param reuse memory that may be overwritten; taken if its size fits.
     * @throws InputError the tensor is not one picture of this size.
     */
    fun toTensor(spec: TensorSpec, reuse: FloatArray? = null): FloatArray {
        val want = if (spec.layout == NHWC) listOf(1, height, width, 3) else listOf(1, 3, height, width)
        if (spec.shape != want) throw InputError("${spec.name}: want shape ${spec.shape} (${spec.layout}), got a picture of $width x $height; crop it first")
        val pixels = width * height
        val out = reuse?.takeIf { it.size == 3 * pixels } ?: FloatArray(3 * pixels)
        for (p in 0 until pixels) {
            for (c in 0 until 3) {
                val at = if (spec.layout == NHWC) 3 * p + c else c * pixels + p
                out[at] = (rgb[3 * p + c].toInt() and 0xff) * LEVEL
            }
        }
        return out
    }

    companion object {
        /** Returns a picture of a size: [reuse] if it has that size, with whatever it holds, else a new one. */
        fun blank(width: Int, height: Int, reuse: Picture? = null): Picture =
            reuse?.takeIf { it.width == width && it.height == height } ?: Picture(width, height, ByteArray(3 * width * height))

        /** Returns a picture from a tensor, float 0..1; values outside are clipped. [reuse] as in [blank]. */
        fun ofTensor(values: FloatArray, spec: TensorSpec, reuse: Picture? = null): Picture {
            val (height, width) = if (spec.layout == NHWC) spec.shape[1] to spec.shape[2] else spec.shape[2] to spec.shape[3]
            val pixels = width * height
            val out = blank(width, height, reuse)
            for (p in 0 until pixels) {
                for (c in 0 until 3) {
                    val value = values[if (spec.layout == NHWC) 3 * p + c else c * pixels + p]
                    out.rgb[3 * p + c] = toByte(value * 255.0)
                }
            }
            return out
        }
    }
}

/** Rounds to 0..255; halves go up. What is cut off below zero ends there anyway, so that no floor is needed. */
internal fun toByte(value: Double): Byte = (value + 0.5).toInt().coerceIn(0, 255).toByte()
