package dev.pocketportrait.pipeline

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

// The gates of the Python package: validation/tolerance.py says why they are what they are.
private const val FLOAT32_CEILING = 1e-4
private const val NOISE_MARGIN = 16
private const val LEAST_FLOAT32 = 2e-6
private const val FLOAT16_PSNR_DB = 50.0
private const val QUANTIZED_PSNR_DB = 20.0

/** What a variant computes in. */
enum class Arithmetic { FLOAT32, FLOAT16, QUANTIZED }

/** The gate of one tensor: an upper bound of max abs or a lower bound of the PSNR. */
data class Tolerance(val maxAbs: Double = Double.POSITIVE_INFINITY, val psnrDb: Double = Double.NEGATIVE_INFINITY) {
    /** Returns what is wrong with a parity; empty if it passes. */
    fun complaint(parity: Parity): String = when {
        parity.maxAbs == Double.POSITIVE_INFINITY -> "the output holds NaN or infinity"
        parity.maxAbs > maxAbs -> "max abs ${parity.maxAbs} is above $maxAbs"
        parity.psnrDb < psnrDb -> "PSNR ${parity.psnrDb} dB is below $psnrDb dB"
        else -> ""
    }
}

/** Returns which rule a variant falls under; the standard names bind, whatever else it says. */
fun arithmeticOf(precision: String, variant: Variant): Arithmetic {
    val said = setOf(variant.weights, variant.activations)
    return when {
        precision == "fp32" || said == setOf("float32") -> Arithmetic.FLOAT32
        precision == "fp16" || setOf("float32", "float16").containsAll(said) -> Arithmetic.FLOAT16
        else -> Arithmetic.QUANTIZED
    }
}

/**
 * Returns the gate of one output.
 *
 * @param reference the reference values that the ceiling scales with.
 * @param noiseFloor largest |float32 - float64| on the golden vectors, null if nobody measured.
 */
fun toleranceFor(arithmetic: Arithmetic, spec: TensorSpec, reference: DoubleArray, noiseFloor: Double?): Tolerance {
    if (arithmetic == Arithmetic.QUANTIZED) return Tolerance(psnrDb = QUANTIZED_PSNR_DB)
    if (arithmetic == Arithmetic.FLOAT16) return Tolerance(psnrDb = FLOAT16_PSNR_DB)
    val scale = if (spec.isImage) 1.0 else max(1.0, reference.maxOf { abs(it) })
    val ceiling = FLOAT32_CEILING * scale
    if (noiseFloor == null) return Tolerance(maxAbs = ceiling)
    return Tolerance(maxAbs = min(ceiling, max(NOISE_MARGIN * noiseFloor, LEAST_FLOAT32 * scale)))
}
