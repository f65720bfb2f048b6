package dev.pocketportrait.pipeline

/** The three graphs, in the order in which a photo and a frame pass them. */
val GRAPHS = listOf("appearance", "motion", "render")

const val NCHW = "NCHW"
const val NHWC = "NHWC"
const val NC = "NC"

/**
 * One named tensor; [low] and [high] are inclusive, null means unbounded.
 *
 * [kind] is `tensor`, or `image` for a Core ML image input.
 */
data class TensorSpec(
    val name: String,
    val shape: List<Int>,
    val dtype: String = "float32",
    val layout: String = NCHW,
    val low: Double? = null,
    val high: Double? = null,
    val kind: String = "tensor",
) {
    /** How many numbers the tensor holds. */
    val size: Int get() = shape.fold(1) { product, side -> product * side }

    /** Whether this is an RGB picture with values 0..1. */
    val isImage: Boolean get() = low == 0.0 && high == 1.0

    /**
     * Compares a value with this spec.
     *
     * @throws InputError the count or the range differs, or a value is not finite.
     */
    fun check(value: FloatArray) {
        if (value.size != size) {
            throw InputError("$name: want $size values of shape $shape ($layout), got ${value.size}; resize the picture first")
        }
        var least = Float.POSITIVE_INFINITY
        var most = Float.NEGATIVE_INFINITY
        for (v in value) {
            if (!v.isFinite()) throw InputError("$name: want finite values, got NaN or infinity; check its source")
            least = minOf(least, v)
            most = maxOf(most, v)
        }
        if (least < (low ?: -Double.MAX_VALUE) || most > (high ?: Double.MAX_VALUE)) {
            val hint = if (high == 1.0 && most > 1f) "; pixels are 0..1, not 0..255" else ""
            throw InputError("$name: want values in [$low, $high], got [$least, $most]$hint")
        }
    }
}

/** One exported graph: what it takes and gives. */
data class GraphSpec(val name: String, val inputs: List<TensorSpec>, val outputs: List<TensorSpec>) {
    /** Returns the input of a name. */
    fun input(name: String): TensorSpec = inputs.first { it.name == name }
}

/**
 * Returns values in another layout; [value] itself where the layouts are the same.
 *
 * @param reuse memory that may be overwritten; taken if its size fits.
 * @throws InputError two layouts that cannot be turned into each other.
 */
fun converted(value: FloatArray, from: TensorSpec, to: TensorSpec, reuse: FloatArray? = null): FloatArray {
    if (from.layout == to.layout) return value
    val (channelsFirst, planar) = when {
        from.layout == NCHW && to.layout == NHWC -> from.shape to true
        from.layout == NHWC && to.layout == NCHW -> to.shape to false
        else -> throw InputError("${from.name}: want layouts NCHW and NHWC, got ${from.layout} and ${to.layout}")
    }
    val channels = channelsFirst[1]
    val pixels = channelsFirst[2] * channelsFirst[3]
    val out = reuse?.takeIf { it.size == value.size } ?: FloatArray(value.size)
    for (c in 0 until channels) {
        for (p in 0 until pixels) {
            val first = c * pixels + p
            val last = p * channels + c
            if (planar) out[last] = value[first] else out[first] = value[last]
        }
    }
    return out
}
